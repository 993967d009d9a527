use proptest::prelude::*;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::layout::{Position, Size};

use super::*;
use crate::monitor::{LinkId, Order, Sight, Snapshot};
use crate::tui::action::{Action, Direction};
use crate::tui::testing::{self, app, fill_charts, on_page};
use crate::tui::theme::Depth;

const SIZES: [(u16, u16); 5] = [(40, 12), (60, 20), (80, 24), (120, 40), (200, 60)];

fn frame(app: &App) -> Terminal<TestBackend> {
    frame_of(app, app.size)
}

fn frame_of(app: &App, Size { width, height }: Size) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, app)).unwrap();
    terminal
}

fn text(app: &App) -> String {
    frame(app).backend().to_string()
}

fn assert_frames(name: &str, make: impl Fn(u16, u16) -> App) {
    for (width, height) in SIZES {
        let text = text(&make(width, height));
        insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!(format!("{name}_{width}x{height}"), text);
        });
    }
}

#[test]
fn overview_in_the_states_that_matter() {
    let states: [(&str, Vec<Snapshot>); 6] = [
        ("nothing_yet", Vec::new()),
        ("all_well", vec![testing::healthy()]),
        ("broker_away", vec![testing::broker_away()]),
        ("draining", testing::draining().into()),
        ("refused", vec![testing::refused()]),
        ("silent_nodes", vec![testing::silent()]),
    ];
    for (name, seen) in states {
        assert_frames(&format!("overview_{name}"), |width, height| {
            on_page(app(width, height, seen.clone()), Page::Overview)
        });
    }
}

#[test]
fn every_other_page() {
    for page in &Page::ALL[1..] {
        let name = page.name().to_lowercase();
        assert_frames(&name, |width, height| {
            let mut app = app(width, height, [testing::healthy()]);
            for steps in [0, 2, 2] {
                for _ in 0..steps {
                    app.apply(Action::Move(Direction::Down));
                }
                app.apply(Action::Pick);
            }
            app.notice = None;
            on_page(app, *page)
        });
        assert_frames(&format!("{name}_nothing_yet"), |width, height| {
            on_page(app(width, height, []), *page)
        });
    }
}

#[test]
fn traffic_as_it_is_talked_to() {
    for (width, height) in [(80, 24), (200, 60)] {
        let mut hex = on_page(app(width, height, [testing::healthy()]), Page::Traffic);
        hex.apply(Action::Hex);
        let text = text(&hex);
        assert!(text.contains("as hex  silent for 4s"), "{text}");
        assert!(
            text.contains("▲ sent     6c 65 64 20 6f 6e 0d 0a"),
            "{text}"
        );
    }
    assert_frames("traffic_detail_as_hex", |width, height| {
        let mut app = on_page(app(width, height, [testing::healthy()]), Page::Traffic);
        app.apply(Action::Hex);
        app.apply(Action::Open);
        app
    });
    assert_frames("traffic_send", |width, height| {
        let mut app = on_page(app(width, height, [testing::healthy()]), Page::Traffic);
        app.apply(Action::Send);
        let text = "set wifi name of the network that is long enough for no terminal ";
        text.chars()
            .cycle()
            .take(190)
            .for_each(|character| app.line.insert(character));
        for _ in 0..30 {
            app.line.go(Direction::Left);
        }
        app
    });
}

#[test]
fn what_lies_over_a_page() {
    assert_frames("help", |width, height| {
        let mut app = app(width, height, [testing::healthy()]);
        app.apply(Action::Help);
        app
    });
    assert_frames("problems", |width, height| {
        let mut app = app(width, height, [testing::troubled()]);
        app.apply(Action::Problems);
        app.apply(Action::Move(crate::tui::action::Direction::Down));
        app
    });
    assert_frames("stopping", |width, height| {
        app(width, height, [testing::stopping()])
    });
    assert_frames("link_detail", |width, height| {
        let mut app = app(width, height, [testing::broker_away()]);
        app.focus = crate::tui::state::Focus::Link(LinkId::mqtt());
        app.apply(Action::Open);
        app
    });
    assert_frames("quit_question", |width, height| {
        let mut app = app(width, height, [testing::broker_away()]);
        assert!(app.apply(Action::Quit).is_empty());
        app
    });
    assert_frames("frozen", |width, height| {
        let mut app = app(width, height, [testing::healthy()]);
        app.apply(Action::Freeze);
        app.notice = None;
        app.tick(testing::NOW.plus_millis(65_000));
        app
    });
}

/// A walk with a node that has been heard for a while.
fn walking(width: u16, height: u16) -> App {
    let heard = (0..40_u32).map(|packet| {
        let mut snapshot = testing::healthy();
        let node = &mut snapshot.nodes[0];
        node.packets += u64::from(packet);
        node.last_heard = testing::ago([31, 4][packet as usize % 2]);
        let wave = (f64::from(packet) / 5.0).sin();
        if let (Some(rssi), Some(snr)) = (&mut node.signal.rssi, &mut node.signal.snr) {
            (rssi.last, snr.last) = ((-104.0 + wave * 9.0).round(), -2.0 + wave * 4.0);
        }
        snapshot
    });
    let mut app = app(width, height, heard);
    app.apply(Action::Show(Page::Nodes));
    app.nodes.selected = Some("greenhouse-north-bench-7".into());
    app.apply(Action::Walk);
    let mut later = testing::healthy();
    later.nodes[0] = app.snapshot().unwrap().nodes[0].clone();
    later.nodes[0].packets += 12;
    later.nodes[0].missed += 3;
    let mut seen = testing::observation(later);
    let mut line = seen.log.swap_remove(0);
    line.number = 9;
    line.entry.at = testing::ago(4);
    line.entry.target = "fieldgate::pipeline::lookout".to_owned();
    line.entry.message = "Node is heard again. node=greenhouse-north-bench-7".to_owned();
    seen.log = vec![line];
    app.observe(seen, testing::NOW.plus_millis(1_000));
    app.tick(testing::NOW.plus_millis(2_000));
    app
}

#[test]
fn a_node_in_full_and_the_walk_with_it() {
    assert_frames("walk", walking);
    assert_frames("node", |width, height| {
        let mut app = walking(width, height);
        app.apply(Action::Back);
        app.nodes.opened = Some("greenhouse-north-bench-7".into());
        fill_charts(&mut app);
        app
    });
    assert_frames("nodes_in_trouble", |width, height| {
        on_page(app(width, height, [testing::troubled()]), Page::Nodes)
    });
}

#[test]
fn several_sources_are_told_apart() {
    assert_frames("nodes_of_two_sources", |width, height| {
        on_page(app(width, height, [testing::two_sources()]), Page::Nodes)
    });
    assert_frames("overview_of_two_sources", |width, height| {
        app(width, height, [testing::two_sources()])
    });
    assert_frames("overview_of_many_links", |width, height| {
        app(width, height, [testing::many_links()])
    });
    assert_frames("delivery_of_many_links", |width, height| {
        on_page(app(width, height, [testing::many_links()]), Page::Delivery)
    });
    assert_frames("traffic_of_two_sources", |width, height| {
        let mut app = app(width, height, []);
        let mut seen = testing::observation(testing::two_sources());
        for (index, piece) in seen.traffic.iter_mut().enumerate() {
            let name = ["north", "south"][index % 5 / 3];
            piece.entry.source = name.into();
        }
        app.observe(seen, testing::NOW);
        on_page(app, Page::Traffic)
    });
}

#[test]
fn several_gateways_in_a_list() {
    assert_frames("fleet", |width, height| {
        let mut app = app(width, height, []);
        app.list_gateways(4);
        let peer = |name: &str| format!("http://{name}.local:8787");
        let lost = Sight::Lost {
            peer: peer("attic"),
            reason: "cannot connect: connection refused".to_owned(),
            next_try: testing::NOW.plus_millis(8_000),
        };
        let connected = |name| Sight::Connected { peer: peer(name) };
        let members = [
            (connected("barn"), Some(testing::healthy())),
            (connected("greenhouse"), Some(testing::troubled())),
            (lost, None),
            (connected("cellar"), None),
        ];
        for (member, (sight, snapshot)) in members.into_iter().enumerate() {
            let seen = (sight, snapshot.map(std::sync::Arc::new));
            app.observe_member(member, seen, testing::NOW);
        }
        app.apply(Action::Move(Direction::Down));
        app
    });
}

#[test]
fn a_gateway_elsewhere_that_is_out_of_reach() {
    assert_frames("lost", |width, height| {
        let mut app = app(width, height, [testing::healthy()]);
        let mut observation = testing::observation(testing::healthy());
        observation.sight = Sight::Lost {
            peer: "pi.local:8080".to_owned(),
            reason: "no answer for 5s".to_owned(),
            next_try: testing::NOW.plus_millis(8_000),
        };
        app.observe(observation, testing::NOW);
        app
    });
}

#[test]
fn only_ascii_where_nothing_else_can_be_shown() {
    let states = [
        testing::healthy(),
        testing::broker_away(),
        testing::silent(),
    ];
    for (page, snapshot) in Page::ALL.into_iter().zip(states.into_iter().cycle()) {
        for (width, height) in SIZES {
            let mut app = on_page(app(width, height, [snapshot.clone()]), page);
            app.theme = Theme::new(false, Depth::Ansi16, true);
            let text = text(&app);
            assert!(text.is_ascii(), "{page:?}:\n{text}");
            assert!(!text.contains('?') || text.contains("? help"), "{text}");
        }
    }
    assert_frames("ascii_walk", |width, height| {
        let mut app = walking(width, height);
        app.theme = Theme::new(false, Depth::Monochrome, true);
        app
    });
    assert_frames("ascii", |width, height| {
        let mut app = app(width, height, [testing::broker_away()]);
        app.theme = Theme::new(false, Depth::Monochrome, true);
        app
    });
}

/// All that somebody can do before the terminal gets another size.
fn actions() -> impl Strategy<Value = Action> {
    use Direction::{Down, First, Last, Left, PageDown, PageUp, Right, Up};
    let moves = [Up, Down, Left, Right, PageUp, PageDown, First, Last].map(Action::Move);
    let others = [
        Action::NextPage,
        Action::Help,
        Action::Open,
        Action::Back,
        Action::Pick,
        Action::Longer,
        Action::TurnTable,
        Action::Filter,
        Action::Type('1'),
        Action::Freeze,
        Action::Quit,
        Action::Operate(Order::Hold),
        Action::Walk,
        Action::Send,
        Action::Reset,
        Action::TurnSource,
        Action::Click(Position::new(30, 5)),
    ];
    proptest::sample::select([&moves[..], &others[..]].concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// The state is told of a new size after the terminal has it, so that a frame may be drawn for
    /// another size than the last action saw.
    #[test]
    fn no_size_and_no_change_of_it_is_too_much(
        page in proptest::sample::select(&Page::ALL[..]),
        state in 0..8_usize,
        sizes in proptest::collection::vec((0..=210_u16, 0..=70_u16), 1..4),
        done in proptest::collection::vec(actions(), 0..8),
    ) {
        let seen = match state {
            0 => Vec::new(),
            1 => vec![testing::healthy()],
            2 => vec![testing::broker_away()],
            3 => testing::draining().into(),
            4 => vec![testing::stopping()],
            5 => vec![testing::two_sources()],
            6 => vec![testing::many_links()],
            _ => vec![testing::with_incidents()],
        };
        let mut app = on_page(app(100, 30, seen), page);
        for size in sizes {
            let drawn = frame_of(&app, Size::from(size));
            prop_assert_eq!(drawn.backend().buffer().area.as_size(), Size::from(size));
            app.size = size.into();
            for action in &done {
                app.apply(*action);
                frame(&app);
            }
        }
    }
}

#[test]
fn a_small_terminal_shows_the_links_in_rows_and_one_of_them_in_full() {
    let mut app = app(40, 12, [testing::broker_away()]);
    let rows = text(&app);
    for shown in ["Source up", "MQTT backing off", "InfluxDB up", "gas_r"] {
        assert!(rows.contains(shown), "{shown}:\n{rows}");
    }
    app.apply(Action::Move(Direction::Right));
    let card = text(&app);
    assert!(card.contains("▸ MQTT"), "{card}");
    assert!(card.contains("connection refused"), "{card}");
    assert!(!card.contains("gas_r"), "{card}");
    app.apply(Action::Move(Direction::Down));
    assert_eq!(text(&app), rows);
}

#[test]
fn all_of_the_help_and_of_a_detail_can_be_read_on_a_small_terminal() {
    let read = |mut app: App, wanted: &[&str]| {
        let mut seen = String::new();
        for _ in 0..80 {
            seen += &text(&app);
            app.apply(Action::Move(Direction::Down));
        }
        for text in wanted {
            assert!(seen.contains(text), "{text}");
        }
    };
    let mut help = app(40, 12, [testing::healthy()]);
    help.apply(Action::Help);
    read(
        help,
        &[
            "chart",
            "freeze the display",
            "draw the screen anew",
            "suspend this program",
        ],
    );
    let mut detail = app(40, 12, [testing::broker_away()]);
    detail.apply(Action::Move(Direction::Right));
    detail.apply(Action::Open);
    read(
        detail,
        &["12 (each tried again)", "1,234,567", "connection refused"],
    );
}

#[test]
fn a_row_of_the_table_can_be_a_node() {
    assert_frames("overview_by_node", |width, height| {
        let mut app = app(width, height, [testing::silent()]);
        app.apply(Action::TurnTable);
        app.apply(Action::Move(Direction::Down));
        app.notice = None;
        app
    });
}

#[test]
fn charts_mark_what_happened() {
    assert_frames("charts_marked", |width, height| {
        let mut app = app(width, height, [testing::with_incidents()]);
        for node in ["node2", "greenhouse-north-bench-7"] {
            app.charts.toggle((node.into(), "temperature".into()));
        }
        app.charts.toggle(("signal".into(), "rssi".into()));
        on_page(app, Page::Charts)
    });
}

#[test]
fn a_small_terminal_is_told_what_is_needed() {
    let app = app(30, 5, [testing::healthy()]);
    insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!("tiny_30x5", text(&app));
    });
}

#[test]
fn a_small_terminal_asks_what_keys_ask_elsewhere() {
    let mut app = app(30, 5, [testing::broker_away()]);
    app.apply(Action::Quit);
    let asked = text(&app);
    assert!(asked.contains("1,234,567 waiting for MQTT"), "{asked}");
    assert!(asked.contains("y yes, n no"), "{asked}");
    app.apply(Action::Confirm(false));
    app.apply(Action::Operate(Order::Hold));
    let asked = text(&app);
    assert!(asked.contains("Hold or release which?"), "{asked}");
}

/// Whatever has a colour has a word or a glyph too: without colours, nothing is lost.
#[test]
fn frames_read_the_same_without_colours() {
    for (width, height) in SIZES {
        let pages = Page::ALL.map(|page| on_page(app(width, height, [testing::troubled()]), page));
        for coloured in pages.into_iter().chain([walking(width, height)]) {
            let mut plain = coloured.clone();
            plain.theme = Theme::new(false, Depth::Monochrome, false);
            assert_eq!(text(&coloured), text(&plain));
            for cell in frame(&plain).backend().buffer().content() {
                use ratatui::style::Color;
                assert_eq!((cell.fg, cell.bg), (Color::Reset, Color::Reset));
            }
        }
    }
}

#[test]
fn the_quality_of_the_line_stands_on_the_card_of_the_source() {
    let mut damaged = testing::healthy();
    damaged.telemetry.line_damaged_ratio = 0.062;
    damaged.telemetry.packets_missed = 500;
    damaged.telemetry.frames_rejected[0].1 = 12;
    damaged.telemetry.readings_rejected[1].1 = 3;
    let of = |width, height, snapshot: &Snapshot| {
        let mut app = app(width, height, [snapshot.clone()]);
        app.focus = crate::tui::state::Focus::Link(LinkId::source());
        app
    };
    for (width, height) in SIZES.into_iter().filter(|(_, height)| *height >= 20) {
        let mut app = of(width, height, &damaged);
        let card = text(&app);
        let clean = text(&of(width, height, &testing::healthy()));
        for (number, what) in [
            ("▲ 6.2%", "damaged"),
            ("▲ 500", "missed"),
            ("▲ 12", "rejected"),
            ("▲ 3", "set aside"),
        ] {
            let mut lines = card.lines();
            assert!(
                lines.any(|line| line.contains(number) && line.contains(what)),
                "{number} {what}:\n{card}"
            );
            assert!(!clean.contains(number), "{clean}");
        }
        app.apply(Action::Open);
        let detail = text(&app);
        assert!(detail.contains("6.2% of the last 200 frames"), "{detail}");
        damaged.source.last_error = Some("serial port /dev/ttyACM0 was lost".to_owned());
        damaged.source.state = LinkState::Connecting;
        let lost = text(&of(width, height, &damaged));
        assert!(lost.contains("serial port"), "{lost}");
        damaged.source = testing::healthy().source;
    }
}
