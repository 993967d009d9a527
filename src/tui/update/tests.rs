use std::sync::Arc;

use crossterm::event::{
    Event, KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind,
};

use super::*;
use crate::monitor::{Command, LinkId, LogLevel, Order, ProblemKind, Sight};
use crate::tui::testing::{self, NOW, ago, app};

fn press(app: &mut App, keys: &str) -> Vec<Effect> {
    let mut effects = Vec::new();
    for key in keys.chars() {
        let code = match key {
            '⏎' => KeyCode::Enter,
            '⎋' => KeyCode::Esc,
            '↑' => KeyCode::Up,
            '↓' => KeyCode::Down,
            '←' => KeyCode::Left,
            '→' => KeyCode::Right,
            key => KeyCode::Char(key),
        };
        let event = KeyEvent::new(code, KeyModifiers::NONE);
        effects.extend(app.on_event(&Event::Key(event)));
    }
    effects
}

fn click(app: &mut App, column: u16, row: u16) {
    let event = MouseEvent {
        kind: MouseEventKind::Down(MouseButton::Left),
        column,
        row,
        modifiers: KeyModifiers::NONE,
    };
    assert!(app.on_event(&Event::Mouse(event)).is_empty());
}

fn notice(app: &App) -> &str {
    app.notice.as_ref().map_or("", |notice| &notice.text)
}

#[test]
fn a_command_goes_to_the_link_in_focus_or_to_the_one_that_is_named() {
    let mut app = app(80, 24, [testing::healthy()]);
    assert!(press(&mut app, "h").is_empty());
    assert_eq!(
        app.overlay,
        Some(Overlay::WhichLink {
            asked: Asked::Order(Order::Hold),
            among: None
        })
    );
    let hold = Effect::Command(Command::To(Order::Hold, LinkId::influxdb()));
    assert_eq!(press(&mut app, "i"), [hold]);
    assert!(notice(&app).starts_with("InfluxDB is held"));

    assert!(press(&mut app, "r⎋").is_empty());
    assert_eq!(notice(&app), "Nothing was done.");

    press(&mut app, "↑→");
    assert_eq!(app.focus, Focus::Link(LinkId::mqtt()));
    let reconnect = Effect::Command(Command::To(Order::Reconnect, LinkId::mqtt()));
    assert_eq!(press(&mut app, "r"), [reconnect]);
    let flush = Effect::Command(Command::To(Order::Flush, LinkId::mqtt()));
    assert_eq!(press(&mut app, "f"), [flush]);
    assert_eq!(notice(&app), "Nothing waits for MQTT.");
}

#[test]
fn all_is_asked_of_those_that_can() {
    let mut app = app(80, 24, [testing::healthy()]);
    let effects = press(&mut app, "fa");
    assert_eq!(effects.len(), 2, "the source has nothing to flush");
    let mut without = testing::healthy();
    without.sinks[1].link.state = crate::monitor::LinkState::Disabled;
    let mut app = testing::app(80, 24, [without]);
    assert!(press(&mut app, "hi").is_empty());
    assert_eq!(notice(&app), "InfluxDB is not configured.");
}

#[test]
fn a_held_link_is_released_by_the_same_key() {
    let mut held = testing::healthy();
    held.sinks[0].link.state = crate::monitor::LinkState::Held;
    let mut app = app(80, 24, [held]);
    let release = Effect::Command(Command::To(Order::Release, LinkId::mqtt()));
    assert_eq!(press(&mut app, "hm"), [release]);
    assert!(press(&mut app, "rm").is_empty());
    assert!(notice(&app).contains("release it first"));
}

#[test]
fn quitting_asks_only_while_data_waits_that_nobody_can_take() {
    let quit = [Effect::Command(Command::Quit)];
    assert_eq!(press(&mut app(80, 24, [testing::healthy()]), "q"), quit);
    assert_eq!(press(&mut app(80, 24, testing::draining()), "q"), quit);

    let mut app = app(80, 24, [testing::broker_away()]);
    assert!(press(&mut app, "qn").is_empty());
    assert_eq!(app.overlay, None);
    assert_eq!(press(&mut app, "qy"), quit);

    let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(app.on_event(&Event::Key(interrupt)), quit);
}

#[test]
fn once_it_stops_q_asks_no_more() {
    let mut app = app(80, 24, [testing::stopping()]);
    assert_eq!(press(&mut app, "q"), [Effect::Command(Command::Quit)]);
}

#[test]
fn a_gateway_elsewhere_is_asked_about_first_and_left_by_q() {
    let mut app = app(80, 24, []);
    let mut observation = testing::observation(testing::healthy());
    observation.sight = Sight::Connected {
        peer: "pi:8080".to_owned(),
    };
    app.observe(observation, NOW);
    assert!(press(&mut app, "hm").is_empty());
    let Some(Overlay::Confirm { question, .. }) = &app.overlay else {
        panic!("nothing is asked");
    };
    assert!(question.contains("pi:8080"), "{question}");
    let hold = Effect::Command(Command::To(Order::Hold, LinkId::mqtt()));
    assert_eq!(press(&mut app, "y"), [hold]);
    assert!(notice(&app).starts_with("MQTT is held"), "{}", notice(&app));
    app.refuse(
        &Command::To(Order::Hold, LinkId::mqtt()),
        "no answer for 5s",
    );
    assert_eq!(notice(&app), "Cannot hold MQTT: no answer for 5s");
    assert_eq!(press(&mut app, "q"), [Effect::Leave]);
}

#[test]
fn a_line_is_typed_sent_and_sent_again() {
    let mut app = app(80, 24, [testing::healthy()]);
    let send = |text: &str| Effect::Command(Command::Send(LinkId::source(), text.to_owned()));
    assert!(press(&mut app, "4iled on q").is_empty());
    assert_eq!(press(&mut app, "←←x⏎"), [send("led onx q")]);
    assert_eq!(app.overlay, None);
    assert_eq!(press(&mut app, "i↑⏎"), [send("led onx q")]);
    assert_eq!(press(&mut app, "i⏎"), [send("")]);
    app.refuse(
        &Command::Send(LinkId::source(), "a".into()),
        "the source is not open",
    );
    assert_eq!(notice(&app), "Cannot send \"a\": the source is not open");

    // What is typed is no command, and stays when the line is closed.
    assert!(press(&mut app, "irh⎋").is_empty());
    assert_eq!(app.overlay, None);
    app.apply(Action::Send);
    app.on_event(&Event::Paste("s\te\nt".to_owned()));
    assert_eq!(app.line.parts(), ("rhset", ""));
    assert_eq!(press(&mut app, "⏎"), [send("rhset")]);
}

#[test]
fn a_board_is_reset_and_bytes_are_shown_as_hex_on_the_page_traffic_alone() {
    let mut app = app(80, 24, [testing::healthy()]);
    assert!(press(&mut app, "Rix").is_empty());
    assert_eq!((&app.overlay, app.traffic_as_hex), (&None, false));
    let reset = Effect::Command(Command::Reset(LinkId::source()));
    assert_eq!(press(&mut app, "4R"), [reset]);
    press(&mut app, "x");
    assert!(app.traffic_as_hex);
    press(&mut app, "⏎x⎋");
    assert!(!app.traffic_as_hex);
}

#[test]
fn a_frozen_display_shows_what_was_until_it_goes_on() {
    let mut app = app(80, 24, [testing::healthy()]);
    press(&mut app, " ");
    let later = NOW.plus_millis(9_000);
    app.tick(later);
    app.observe(testing::observation(testing::broker_away()), later);
    assert_eq!(app.snapshot().unwrap().sinks[0].queue_depth, 0);
    assert_eq!(app.now, NOW);
    press(&mut app, " ");
    app.observe(testing::observation(testing::broker_away()), later);
    assert_eq!(app.snapshot().unwrap().sinks[0].queue_depth, 1_234_567);
    assert_eq!(app.now, later);
}

#[test]
fn only_what_is_new_is_drawn() {
    let mut app = app(80, 24, [testing::healthy()]);
    app.is_changed = false;
    let mut same = testing::observation(testing::healthy());
    same.traffic.clear();
    same.deliveries.clear();
    same.log.clear();
    let mut later = testing::healthy();
    later.taken = NOW.plus_millis(300);
    same.snapshot = Some(Arc::new(later));
    app.observe(same.clone(), NOW.plus_millis(300));
    app.tick(NOW.plus_millis(300));
    assert!(!app.is_changed);
    app.tick(NOW.plus_millis(1_000));
    assert!(app.is_changed, "ages changed");
    app.is_changed = false;
    same.snapshot = Some(Arc::new(testing::broker_away()));
    app.observe(same, NOW.plus_millis(1_100));
    assert!(app.is_changed);
}

#[test]
fn rates_and_the_time_left_follow_from_two_looks() {
    let app = app(80, 24, testing::draining());
    let mqtt = crate::monitor::SinkId::mqtt();
    assert!((app.observed.flow(&mqtt).outward - 20_000.0).abs() < 1.0);
    let sink = app.snapshot().unwrap().sink(&mqtt).unwrap();
    assert_eq!(app.observed.time_left(sink).unwrap().as_secs(), 60);
}

#[test]
fn a_metric_is_charted_out_of_the_journal() {
    let mut app = app(80, 24, [testing::healthy()]);
    let effects = press(&mut app, "↓c");
    assert!(
        effects
            .iter()
            .all(|effect| matches!(effect, Effect::History(..)))
    );
    let key: MetricKey = ("greenhouse-north-bench-7".into(), "humidity".into());
    assert_eq!(app.charts.picked, [key]);
    press(&mut app, "⏎");
    assert_eq!(app.page, Page::Charts);
    press(&mut app, "+++");
    assert_eq!(app.charts.span(), Duration::from_hours(3));
    press(&mut app, "h");
    assert!(app.charts.cursor.is_some());
    press(&mut app, "⎋⎋");
    assert_eq!((app.page, app.charts.cursor), (Page::Overview, None));
    press(&mut app, "c");
    assert!(app.charts.picked.is_empty());
}

#[test]
fn with_nothing_picked_the_first_metric_of_each_unit_is_charted() {
    let mut app = app(80, 24, [testing::healthy()]);
    let charted = |app: &App| -> Vec<String> {
        let all = app.charted().into_iter();
        all.map(|(node, metric)| format!("{node} {metric}"))
            .collect()
    };
    let first = charted(&app);
    assert_eq!(first.len(), 7, "{first:?}");
    assert_eq!(first[2], "greenhouse-north-bench-7 temperature");
    press(&mut app, "G↑c");
    assert_eq!(charted(&app), ["stats crc_errors"]);
}

#[test]
fn a_node_is_charted_with_all_its_metrics() {
    let mut app = app(80, 24, [testing::healthy()]);
    press(&mut app, "v↓");
    let nodes: Vec<&str> = app.rows().iter().map(|row| row.node.as_str()).collect();
    assert_eq!(
        nodes,
        ["greenhouse-north-bench-7", "node2", "signal", "stats"]
    );
    press(&mut app, "c");
    assert_eq!(
        notice(&app),
        "All of node2 is charted (2 in all); 3: charts."
    );
    press(&mut app, "v");
    assert_eq!(app.selected_keys(), [("node2".into(), "pressure".into())]);
    press(&mut app, "vc");
    assert!(app.charts.picked.is_empty());
}

#[test]
fn the_chart_beside_the_table_is_of_what_is_chosen_there() {
    let mut app = app(200, 60, []);
    let effects = app.observe(testing::observation(testing::healthy()), NOW);
    let asked = |effects: &[Effect]| -> Vec<String> {
        let charted = effects.iter().filter_map(|effect| match effect {
            Effect::History(Purpose::Chart, (_, metric), _) => Some(metric.to_string()),
            _ => None,
        });
        charted.collect()
    };
    assert_eq!(asked(&effects), ["gas_resistance"]);
    press(&mut app, "↓");
    let later = NOW.plus_millis(100);
    let effects = app.observe(testing::observation(testing::healthy()), later);
    assert_eq!(asked(&effects), ["humidity"]);
}

#[test]
fn lists_are_filtered_chosen_and_opened() {
    let mut app = app(80, 24, [testing::healthy()]);
    press(&mut app, "5/REFUSED⏎");
    assert_eq!(
        app.log.shown().len(),
        1 + 1,
        "connection refused, and refused for good"
    );
    press(&mut app, "⎋←←←");
    assert_eq!(app.log.choice, LogLevel::Warn);
    assert_eq!(app.log.shown().len(), 2);
    press(&mut app, "↑⏎");
    assert!(matches!(
        app.overlay,
        Some(Overlay::Detail {
            detail: Detail::Log(_),
            ..
        })
    ));
    press(&mut app, "⎋4→");
    assert_eq!(app.traffic.shown().len(), 2, "accepted frames");
    press(&mut app, "l");
    assert_eq!(app.traffic.shown().len(), 1, "text, line ends apart");
    press(&mut app, "6/iiot⏎");
    assert_eq!(app.deliveries.shown().len(), 1);
    press(&mut app, "⎋/timed out⏎");
    assert_eq!(
        app.deliveries.shown().len(),
        1,
        "the reason is shown, so it is searched"
    );
}

#[test]
fn a_pasted_text_is_no_command() {
    let mut app = app(80, 24, [testing::healthy()]);
    let paste = Event::Paste("qy\n".to_owned());
    assert!(app.on_event(&paste).is_empty());
    press(&mut app, "/");
    app.on_event(&paste);
    assert_eq!(app.table.filter, "qy");
}

#[test]
fn the_mouse_picks_scrolls_and_switches_pages() {
    let mut app = app(80, 24, [testing::healthy()]);
    click(&mut app, 40, 3);
    assert_eq!(app.focus, Focus::Link(LinkId::mqtt()));
    click(&mut app, 5, 12);
    assert_eq!(app.focus, Focus::Table);
    let row = app.selected_row(&app.rows());
    assert_eq!(row, Some(2));
    let wheel = Event::Mouse(MouseEvent {
        kind: MouseEventKind::ScrollDown,
        column: 5,
        row: 12,
        modifiers: KeyModifiers::NONE,
    });
    app.on_event(&wheel);
    assert_eq!(app.selected_row(&app.rows()), Some(5));
    click(&mut app, 40, 0);
    assert_eq!(app.page, Page::Traffic);
    click(&mut app, 5, 3);
    assert_eq!(app.traffic.view.selected, Some(1));
}

#[test]
fn a_recording_is_asked_for_and_told_of() {
    let mut app = app(80, 24, [testing::healthy()]);
    assert_eq!(
        press(&mut app, "4w"),
        [Effect::Command(Command::StartRecording(None))]
    );
    let mut recording = testing::healthy();
    recording.recording = Recording::On {
        path: "/tmp/a.raw".to_owned(),
        bytes: 0,
    };
    app.observe(testing::observation(recording), NOW);
    assert_eq!(notice(&app), "Recording to /tmp/a.raw; w: stop.");
    assert_eq!(
        press(&mut app, "w"),
        [Effect::Command(Command::StopRecording(None))]
    );
}

#[test]
fn a_notice_goes_after_a_while() {
    let mut app = app(80, 24, [testing::healthy()]);
    press(&mut app, " ");
    app.tick(NOW.plus_millis(7_000));
    assert!(app.notice.is_some());
    app.tick(NOW.plus_millis(9_000));
    assert!(app.notice.is_none());
}

#[test]
fn what_is_asked_while_the_display_is_frozen_is_asked_of_the_gateway_as_it_is() {
    let mut app = app(80, 24, [testing::healthy()]);
    press(&mut app, " ");
    let later = NOW.plus_millis(9_000);
    app.observe(testing::observation(testing::broker_away()), later);
    assert!(press(&mut app, "q").is_empty(), "data waits by now");
    press(&mut app, "n");
    let mut held = testing::broker_away();
    held.sinks[0].link.state = crate::monitor::LinkState::Held;
    held.recording = Recording::On {
        path: "/tmp/a.raw".to_owned(),
        bytes: 0,
    };
    app.observe(testing::observation(held), later);
    assert_eq!(notice(&app), "Recording to /tmp/a.raw; w: stop.");
    let release = Effect::Command(Command::To(Order::Release, LinkId::mqtt()));
    assert_eq!(press(&mut app, "hm"), [release]);
    assert_eq!(app.snapshot().unwrap().sinks[0].queue_depth, 0);

    app.observe(testing::observation(testing::stopping()), later);
    assert_eq!(app.frozen, None, "the end must not pass unseen");
}

#[test]
fn a_frozen_display_reads_the_history_of_what_it_shows() {
    let mut app = app(80, 24, [testing::healthy()]);
    press(&mut app, " ");
    let effects = press(&mut app, "3");
    assert_eq!(effects.len(), 7, "one for each unit");
    for effect in effects {
        let Effect::History(Purpose::Chart, _, query) = effect else {
            panic!("{effect:?}");
        };
        assert_eq!(NOW.since(query.from), Duration::from_mins(5));
    }
}

fn connected(snapshot: crate::monitor::Snapshot) -> Observation {
    Observation {
        sight: Sight::Connected {
            peer: "pi:8787".to_owned(),
        },
        ..testing::observation(snapshot)
    }
}

#[test]
fn ages_are_told_by_the_clock_of_a_gateway_elsewhere() {
    for behind in [-3_600_000, -500, 0, 700, 3_600_000] {
        let mut app = app(80, 24, []);
        let here = NOW.plus_millis(behind);
        app.observe(connected(testing::healthy()), here.plus_millis(80));
        let mut next = testing::healthy();
        next.taken = NOW.plus_millis(1_000);
        app.observe(connected(next), here.plus_millis(1_020));
        app.tick(here.plus_millis(2_000));
        let late = NOW.plus_millis(2_000).since(app.now);
        assert_eq!(late, Duration::from_millis(20), "{behind}");
    }
}

#[test]
fn rates_of_a_gateway_elsewhere_fall_to_nothing_when_it_sends_nothing_new() {
    let mut app = app(80, 24, []);
    let [before, now] = testing::draining();
    let mqtt = crate::monitor::SinkId::mqtt();
    app.observe(connected(before), ago(1));
    app.observe(connected(now.clone()), NOW);
    assert!(app.observed.flow(&mqtt).outward > 1_000.0);
    for second in 1..=30 {
        app.observe(connected(now.clone()), NOW.plus_millis(second * 1_000));
    }
    assert!(app.observed.flow(&mqtt).outward < 1.0);
}

#[test]
fn nothing_goes_out_over_a_link_that_is_down() {
    let [before, mut now] = testing::draining();
    now.sinks[0].link = testing::link(crate::monitor::LinkState::Held, "mqtt://x", 0);
    let app = app(80, 24, [before, now]);
    let flow = app.observed.flow(&crate::monitor::SinkId::mqtt());
    assert!(flow.outward.abs() < f64::EPSILON, "{flow:?}");
}

#[test]
fn nodes_stand_in_the_order_in_which_people_count() {
    let mut snapshot = testing::healthy();
    for (latest, node) in snapshot
        .latest
        .iter_mut()
        .zip(["node10", "node9", "b", "a2b"])
    {
        latest.node = node.into();
    }
    snapshot.latest.truncate(4);
    let app = app(80, 24, [snapshot]);
    let nodes: Vec<&str> = app.rows().iter().map(|row| row.node.as_str()).collect();
    assert_eq!(nodes, ["a2b", "b", "node9", "node10"]);
}

#[test]
fn the_help_ends_where_its_keys_end() {
    let mut app = app(80, 24, [testing::healthy()]);
    press(&mut app, "?");
    press(&mut app, &"↓".repeat(200));
    let Some(Overlay::Help { scroll: last }) = app.overlay else {
        panic!("no help");
    };
    assert!(last > 0 && last < 60, "{last}");
    press(&mut app, "↑");
    assert_eq!(app.overlay, Some(Overlay::Help { scroll: last - 1 }));
    press(&mut app, "g");
    assert_eq!(app.overlay, Some(Overlay::Help { scroll: 0 }));
    press(&mut app, "G");
    assert_eq!(app.overlay, Some(Overlay::Help { scroll: last }));
}

#[test]
fn what_an_earlier_run_of_a_gateway_sent_goes_and_does_not_come_again() {
    let mut app = app(80, 24, [testing::healthy()]);
    let next = app.traffic.entries.next_number();
    assert!(next > 0 && !app.traffic.shown().is_empty());
    let mut restarted = testing::observation(testing::healthy());
    let mut snapshot = testing::healthy();
    snapshot.started = ago(1);
    restarted.snapshot = Some(Arc::new(snapshot));
    restarted.traffic.clear();
    app.observe(restarted, NOW);
    assert!(app.traffic.shown().is_empty());
    assert_eq!(app.traffic.entries.next_number(), next);
}

#[test]
fn a_problem_leads_to_the_page_that_it_is_about() {
    let mut app = app(80, 24, [testing::troubled()]);
    app.apply(Action::Show(Page::Log));
    press(&mut app, "!");
    app.apply(Action::Open);
    assert_eq!((app.page, &app.overlay), (Page::Overview, &None));
    assert_eq!(app.focus, Focus::Link(LinkId::mqtt()));
    press(&mut app, "!↓");
    app.apply(Action::Open);
    let chosen = app.table.selected.clone();
    assert_eq!(chosen, Some(("node2".into(), "temperature".into())));
    press(&mut app, "!G");
    assert_eq!(app.overlay, Some(Overlay::Problems { selected: 2 }));
    app.apply(Action::Open);
    assert_eq!((app.page, &app.overlay), (Page::Nodes, &None));
    assert_eq!(app.nodes.selected, Some("node2".into()));
}

#[test]
fn a_problem_with_one_of_several_sources_leads_to_its_row_whatever_the_table_showed() {
    let mut snapshot = testing::two_sources();
    let problem = |kind, concerns: &str| crate::monitor::Problem {
        kind,
        concerns: concerns.to_owned(),
        ..testing::troubled().problems[1].clone()
    };
    snapshot.problems = vec![
        problem(ProblemKind::ValueBeyondLimits, "south node1 temperature"),
        problem(ProblemKind::LineDamaged, "source south"),
        problem(ProblemKind::ReadingsSetAside, "influxdb"),
    ];
    let mut app = app(80, 24, [snapshot]);
    press(&mut app, "/north⏎!⏎");
    let chosen = |app: &App| app.selected_keys();
    let temperature = ("south node1".into(), "temperature".into());
    assert_eq!(chosen(&app), [temperature]);
    press(&mut app, "gv!⏎");
    assert_eq!(chosen(&app)[0].0, "south node1".into());
    press(&mut app, "!↓⏎");
    assert_eq!(app.page, Page::Traffic);
    assert_eq!(app.traffic.choice.words(), "everything of south");
    press(&mut app, "!G⏎");
    assert_eq!(app.page, Page::Delivery);
}

#[test]
fn a_line_and_a_reset_go_to_the_source_that_is_shown_or_to_the_one_that_is_named() {
    let mut app = app(80, 24, [testing::two_sources()]);
    let south = LinkId::new(crate::monitor::LinkKind::Source, "south");
    assert!(press(&mut app, "4R").is_empty());
    let reset = [Effect::Command(Command::Reset(south.clone()))];
    assert_eq!(press(&mut app, "1"), reset);
    assert!(press(&mut app, "i⎋").is_empty());
    assert_eq!(app.overlay, None, "nothing was named");
    press(&mut app, "i9a");
    assert!(
        app.overlay.is_some(),
        "there is no ninth, and no line for all"
    );
    press(&mut app, "1");
    assert_eq!(app.overlay, Some(Overlay::Send(south.clone())));
    press(&mut app, "⎋s");
    assert_eq!(notice(&app), "Shown: everything of south.");
    assert_eq!(press(&mut app, "R"), reset);
    let line = Effect::Command(Command::Send(south, "on".to_owned()));
    assert_eq!(press(&mut app, "ion⏎"), [line]);
}

#[test]
fn the_values_of_a_node_are_those_of_its_own_source() {
    let app = app(80, 24, [testing::two_sources()]);
    for node in &app.snapshot().unwrap().nodes {
        let metrics = app.metrics_of(&node.node);
        assert_eq!(metrics.len(), 2, "{}", node.node);
        assert!(metrics.iter().all(|latest| latest.node == node.node));
    }
}

#[test]
fn a_node_is_looked_into_and_walked_with() {
    let mut app = app(120, 40, [testing::silent()]);
    press(&mut app, "2");
    assert_eq!(app.page, Page::Nodes);
    let names = |app: &App| app.node_rows()[0].node.to_string();
    assert_eq!(names(&app), "node2", "who is late comes first");
    let asked = press(&mut app, "↓⏎");
    assert_eq!(app.nodes.opened, Some("greenhouse-north-bench-7".into()));
    assert_eq!(asked.len(), 3, "a chart for each of its metrics");
    press(&mut app, "t");
    assert!(app.nodes.walk.is_some());
    press(&mut app, "→b");
    assert_eq!(app.nodes.factor.name(), "SF8");

    let heard = |packets| {
        let mut snapshot = testing::silent();
        snapshot.nodes[0].packets = packets;
        testing::observation(snapshot)
    };
    let rings = |effects: Vec<Effect>| effects.contains(&Effect::Bell);
    assert!(!rings(app.observe(heard(738), NOW)), "it is not heard anew");
    assert!(rings(app.observe(heard(739), NOW)));
    press(&mut app, "b");
    assert!(!rings(app.observe(heard(740), NOW)), "the bell is off");
    press(&mut app, "⎋");
    assert!(app.nodes.walk.is_none() && app.nodes.opened.is_some());
    press(&mut app, "←⎋");
    assert!(app.nodes.opened.is_some(), "the cursor goes first");
    press(&mut app, "⎋");
    assert_eq!((app.page, &app.nodes.opened), (Page::Nodes, &None));
    press(&mut app, "/NODE2⏎");
    assert_eq!(app.node_rows().len(), 1);
}
