use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::layout::Size;

use super::*;
use crate::monitor::{Command, LinkId, Order, Sight, Snapshot};
use crate::tui::action::{Action, Direction};
use crate::tui::testing::{self, app, on_page};
use crate::tui::theme::Depth;

const SIZES: [(u16, u16); 3] = [(80, 24), (120, 40), (200, 60)];

fn frame(app: &App) -> Terminal<TestBackend> {
    let Size { width, height } = app.size;
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
            app(width, height, seen.clone())
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
    assert_frames("ascii", |width, height| {
        let mut app = app(width, height, [testing::broker_away()]);
        app.theme = Theme::new(false, Depth::Monochrome, true);
        app
    });
}

#[test]
fn no_terminal_is_too_small_to_be_drawn_on() {
    let mut apps = vec![
        app(1, 1, []),
        app(1, 1, [testing::healthy()]),
        app(1, 1, [testing::stopping()]),
    ];
    let mut with_overlays = app(1, 1, [testing::broker_away()]);
    with_overlays.overlay = Some(crate::tui::state::Overlay::WhichLink {
        order: Order::Hold,
        among: None,
    });
    apps.push(with_overlays.clone());
    with_overlays.overlay = Some(crate::tui::state::Overlay::Help { scroll: 99 });
    apps.push(with_overlays.clone());
    with_overlays.overlay = Some(crate::tui::state::Overlay::Confirm {
        question: "sure? ".repeat(99),
        commands: vec![Command::Quit],
        done: String::new(),
    });
    apps.push(with_overlays);
    let sizes = (1..=30).flat_map(|height| (1..=100).step_by(3).map(move |width| (width, height)));
    for (width, height) in sizes {
        for page in Page::ALL {
            for app in &apps {
                let mut app = on_page(app.clone(), page);
                app.size = Size::new(width, height);
                app.apply(Action::Move(Direction::Up));
                app.apply(Action::Move(Direction::PageDown));
                frame(&app);
            }
        }
    }
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
    let coloured = app(120, 40, [testing::broker_away()]);
    let mut plain = coloured.clone();
    plain.theme = Theme::new(false, Depth::Monochrome, false);
    assert_eq!(text(&coloured), text(&plain));
    for cell in frame(&plain).backend().buffer().content() {
        use ratatui::style::Color;
        assert_eq!((cell.fg, cell.bg), (Color::Reset, Color::Reset));
    }
}

#[test]
fn the_quality_of_the_line_stands_on_the_card_of_the_source() {
    let mut damaged = testing::healthy();
    damaged.telemetry.line_damaged_ratio = 0.062;
    damaged.telemetry.packets_missed = 500;
    damaged.telemetry.frames_rejected[0].1 = 12;
    damaged.telemetry.readings_rejected[1].1 = 3;
    for (width, height) in SIZES {
        let mut app = app(width, height, [damaged.clone()]);
        let card = text(&app);
        let clean = text(&testing::app(width, height, [testing::healthy()]));
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
        app.focus = crate::tui::state::Focus::Link(LinkId::source());
        app.apply(Action::Open);
        let detail = text(&app);
        assert!(detail.contains("6.2% of the last 200 frames"), "{detail}");
        damaged.source.last_error = Some("serial port /dev/ttyACM0 was lost".to_owned());
        damaged.source.state = LinkState::Connecting;
        let lost = text(&testing::app(width, height, [damaged.clone()]));
        assert!(lost.contains("serial port"), "{lost}");
        damaged.source = testing::healthy().source;
    }
}
