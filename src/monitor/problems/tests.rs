use super::*;
use crate::monitor::{
    JournalState, JournalStatus, LatestValue, LinkId, LinkKind, LinkState, Monitor, NodeSignal,
    NodeState, NodeStatus, Position, Storage,
};
use crate::telemetry::RejectReason;

/// The time of day at which a test begins.
const START: Timestamp = Timestamp(1_800_000_000_000_000_000);

/// A gateway that is well, looked at again and again.
struct Bench {
    snapshot: Snapshot,
    problems: Problems,
    now: Duration,
    /// Whether nothing comes from the source.
    is_silent: bool,
}

impl Bench {
    fn new() -> Self {
        let journal = JournalStatus {
            state: JournalState::File,
            since: START,
            notice: None,
            end: Position::default(),
            stored: 0,
            max_messages: 10_000,
            rejected_dropped: 0,
            write_bytes: Some(0),
            sinks: Vec::new(),
        };
        let mut snapshot = Monitor::default().snapshot(journal);
        snapshot.taken = START;
        let source = &mut snapshot.sources[0];
        source.telemetry.packets_processed = 1_000;
        source.link.heard = Some(START);
        source.telemetry.last_packet = Some(START);
        source.link.since = START;
        source.link.state = LinkState::Up;
        for sink in &mut snapshot.sinks {
            sink.link.state = LinkState::Up;
        }
        Self {
            snapshot,
            problems: Problems::default(),
            now: Duration::ZERO,
            is_silent: false,
        }
    }

    /// Looks twice a second for so long, and says what began and ended.
    fn look(&mut self, seconds: f64) -> Vec<String> {
        let until = self.now + Duration::from_secs_f64(seconds);
        let mut changes = Vec::new();
        while self.now < until {
            self.now += Duration::from_millis(500);
            self.snapshot.taken = START.plus(self.now);
            if !self.is_silent {
                let source = &mut self.snapshot.sources[0];
                source.link.heard = Some(self.snapshot.taken);
                source.telemetry.last_packet = Some(self.snapshot.taken);
            }
            for change in self.problems.look(&self.snapshot, self.now) {
                let (sign, it) = match change {
                    ProblemChange::Begins(it) => ('+', it),
                    ProblemChange::Ends(it) => ('-', it),
                };
                changes.push(format!("{sign}{} {}", it.kind.name(), it.concerns));
            }
        }
        changes
    }

    fn only(&self) -> Problem {
        let mut all = self.problems.all();
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }
}

fn backing_off(reason: &str) -> LinkState {
    LinkState::BackingOff {
        until: START,
        reason: reason.to_owned(),
    }
}

fn node(name: &str, state: NodeState) -> NodeStatus {
    NodeStatus {
        node: name.into(),
        state,
        since: START,
        first_heard: START,
        last_heard: START,
        interval: Some(10.0),
        packets: 3,
        missed: 0,
        misses_known: true,
        signal: NodeSignal::default(),
    }
}

const NOTHING: [&str; 0] = [];

#[test]
fn a_link_that_comes_and_goes_is_one_problem() {
    let mut bench = Bench::new();
    assert_eq!(bench.look(30.0), NOTHING);
    bench.snapshot.sinks[0].link.state = backing_off("connection refused");
    assert_eq!(bench.look(1.0), NOTHING);
    assert_eq!(bench.look(2.0), ["+link_down mqtt"]);
    let problem = bench.only();
    assert!(problem.sentence.contains("connection refused"));
    assert_eq!(problem.since, START.plus_millis(30_500));
    for _ in 0..3 {
        bench.snapshot.sinks[0].link.state = LinkState::Connecting;
        bench.snapshot.sinks[0].link.since = bench.snapshot.taken;
        assert_eq!(bench.look(3.0), NOTHING);
        bench.snapshot.sinks[0].link.state = LinkState::Up;
        assert_eq!(bench.look(1.0), NOTHING);
        bench.snapshot.sinks[0].link.state = backing_off("connection refused");
        assert_eq!(bench.look(2.0), NOTHING);
    }
    bench.snapshot.sinks[0].link.state = LinkState::Up;
    assert_eq!(bench.look(3.0), ["-link_down mqtt"]);
    assert_eq!(bench.problems.all(), []);
}

#[test]
fn a_refusal_has_the_words_of_the_server_and_a_hold_the_way_out() {
    let mut bench = Bench::new();
    bench.snapshot.sinks[1].link.state = LinkState::Refused {
        until: START,
        reason: "token rejected, set influxdb.token".to_owned(),
    };
    assert_eq!(bench.look(0.5), ["+link_refused influxdb"]);
    assert!(bench.only().sentence.contains("token rejected"));
    bench.snapshot.sinks[1].link.state = LinkState::Held;
    let changes = bench.look(2.0);
    assert_eq!(changes, ["+link_held influxdb", "-link_refused influxdb"]);
    assert_eq!(bench.only().fix, "release it: `fieldgate release influxdb`");
}

#[test]
fn a_silent_node_is_its_own_problem_unless_nothing_comes_at_all() {
    let mut bench = Bench::new();
    bench.snapshot.nodes = vec![
        node("node1", NodeState::Stale),
        node("node2", NodeState::Heard),
    ];
    assert_eq!(bench.look(1.0), ["+node_silent node1"]);
    assert_eq!(bench.only().severity, Severity::Warning);
    bench.snapshot.nodes[0].state = NodeState::Offline;
    assert_eq!(bench.look(1.0), NOTHING);
    assert_eq!(bench.only().severity, Severity::Error);
    // The other one falls silent as well: it is the board.
    bench.is_silent = true;
    bench.look(3.0);
    bench.snapshot.nodes[1].state = NodeState::Stale;
    let changes = bench.look(3.0);
    assert_eq!(changes, ["+source_silent source", "-node_silent node1"]);
    assert!(bench.only().sentence.contains("nothing comes"));
    bench.is_silent = false;
    bench.snapshot.nodes[1].state = NodeState::Heard;
    let changes = bench.look(0.5);
    assert_eq!(changes, ["+node_silent node1", "-source_silent source"]);
}

#[test]
fn a_source_of_which_nothing_is_known_is_given_a_minute() {
    let mut bench = Bench::new();
    bench.is_silent = true;
    assert_eq!(bench.look(59.0), NOTHING);
    bench.snapshot.sources[0].link.heard = Some(START.plus_millis(59_500));
    assert_eq!(bench.look(2.0), ["+source_silent source"]);
    assert!(bench.only().sentence.contains("nothing of it is telemetry"));
    bench.snapshot.sources[0].link.state = LinkState::Ended;
    assert_eq!(bench.look(1.0), ["-source_silent source"]);
}

#[test]
fn a_value_has_to_come_back_a_little_further_than_its_limit() {
    let mut bench = Bench::new();
    bench.snapshot.latest = vec![LatestValue {
        source: "source".into(),
        node: "node1".into(),
        metric: "temperature".into(),
        unit: "°C".to_owned(),
        min: Some(0.0),
        max: Some(40.0),
        value: 40.5,
        event_time: START,
        received: START,
        smallest: 0.0,
        largest: 41.0,
        count: 3,
    }];
    let concerns = "value_beyond_limits node1 temperature";
    assert_eq!(bench.look(1.0), [format!("+{concerns}")]);
    let problem = bench.only();
    assert_eq!(problem.sentence, "node1 temperature is 40.5 °C, above 40");
    bench.snapshot.latest[0].value = 39.8;
    assert_eq!(bench.look(20.0), NOTHING);
    bench.snapshot.latest[0].value = 39.0;
    assert_eq!(bench.look(1.0), [format!("-{concerns}")]);
    bench.snapshot.latest[0].value = 39.8;
    assert_eq!(bench.look(1.0), NOTHING);
}

#[test]
fn a_line_is_bad_from_one_share_on_and_good_below_another() {
    let mut bench = Bench::new();
    for (ratio, expected) in [
        (0.04, None),
        (0.06, Some("+line_damaged source")),
        (0.03, None),
        (0.01, Some("-line_damaged source")),
        (0.03, None),
    ] {
        bench.snapshot.sources[0].telemetry.line_damaged_ratio = ratio;
        assert_eq!(bench.look(0.5), Vec::from_iter(expected), "{ratio}");
    }
}

#[test]
fn a_growing_backlog_says_when_the_journal_is_full() {
    let mut bench = Bench::new();
    bench.snapshot.sinks[0].link.state = LinkState::Held;
    assert_eq!(bench.look(1.0), ["+link_held mqtt"]);
    let mut changes = Vec::new();
    for _ in 0..20 {
        bench.snapshot.sinks[0].queue_depth += 10;
        changes.extend(bench.look(1.0));
    }
    assert_eq!(changes, ["+backlog_grows mqtt"]);
    let all = bench.problems.all();
    let backlog = all.iter().find(|it| it.kind == ProblemKind::BacklogGrows);
    let backlog = backlog.unwrap();
    // 10,000 messages at 10 a second.
    assert!(
        backlog.sentence.ends_with("full in 16m"),
        "{}",
        backlog.sentence
    );
    assert_eq!(backlog.severity, Severity::Error);
    assert_eq!(bench.look(60.0), ["-backlog_grows mqtt"]);
}

#[test]
fn a_queue_that_is_worked_through_is_no_problem() {
    let mut bench = Bench::new();
    for round in 0..100 {
        bench.snapshot.sinks[0].queue_depth = 10 + round;
        assert_eq!(bench.look(1.0), NOTHING);
    }
}

#[test]
fn what_is_lost_or_set_aside_is_a_problem_for_five_minutes() {
    let mut bench = Bench::new();
    bench.look(10.0);
    bench.snapshot.sinks[0].dropped = 7;
    bench.snapshot.sinks[1].rejected = 2;
    bench.snapshot.sources[0].telemetry.readings_rejected = vec![(RejectReason::Spike, 3)];
    let mut changes = bench.look(1.0);
    changes.sort();
    let expected = [
        "+readings_dropped mqtt",
        "+readings_set_aside influxdb",
        "+readings_set_aside telemetry",
    ];
    assert_eq!(changes, expected);
    assert!(bench.problems.all()[0].sentence.contains("7 readings"));
    assert_eq!(bench.look(280.0), NOTHING);
    assert_eq!(bench.look(40.0).len(), 3);
}

#[test]
fn the_machine_has_problems_too() {
    let mut bench = Bench::new();
    let storage = Storage {
        journal_bytes: 1 << 20,
        log_bytes: 4 << 20,
        max_bytes: None,
        free_bytes: 20 << 30,
        disk_bytes: 32 << 30,
        is_card: false,
    };
    bench.snapshot.storage = Some(storage);
    assert_eq!(bench.look(5.0), NOTHING);
    bench.snapshot.storage = Some(Storage {
        free_bytes: 100 << 20,
        log_bytes: 20 << 20,
        ..storage
    });
    let changes = bench.look(5.0);
    assert_eq!(
        changes,
        ["+disk_nearly_full journal", "+journal_log_grows journal"]
    );
    bench.snapshot.storage = Some(storage);
    assert_eq!(bench.look(6.0).len(), 2);
    bench.snapshot.journal.state = JournalState::Fallback {
        reason: "no space left".to_owned(),
    };
    bench.snapshot.clock_unsynchronised = true;
    let changes = bench.look(1.0);
    assert_eq!(
        changes,
        ["+journal_in_memory journal", "+clock_wrong clock"]
    );
    assert!(bench.problems.all()[0].sentence.contains("no space left"));
}

#[test]
fn a_card_that_wears_is_a_problem_after_an_hour() {
    let mut bench = Bench::new();
    // Bytes that are written each second.
    let mut write_for_an_hour = |is_card, bytes: u64| {
        bench.snapshot.storage = Some(Storage {
            journal_bytes: 1 << 20,
            log_bytes: 4 << 20,
            max_bytes: None,
            free_bytes: 20 << 30,
            disk_bytes: 32 << 30,
            is_card,
        });
        let mut changes = Vec::new();
        for _ in 0..62 {
            let written = &mut bench.snapshot.journal.write_bytes;
            *written = written.map(|written| written + 60 * bytes);
            changes.extend(bench.look(60.0));
        }
        changes
    };
    assert_eq!(write_for_an_hour(true, 5_000), NOTHING);
    assert_eq!(write_for_an_hour(false, 30_000), NOTHING);
    assert_eq!(write_for_an_hour(true, 30_000), ["+card_wears journal"]);
    // 1.6 GiB a day begin nothing and end nothing.
    assert_eq!(write_for_an_hour(true, 20_000), NOTHING);
    assert_eq!(write_for_an_hour(true, 15_000), ["-card_wears journal"]);
    assert_eq!(write_for_an_hour(true, 20_000), NOTHING);
}

#[test]
fn words_are_renewed_once_a_minute_at_most() {
    let mut bench = Bench::new();
    bench.snapshot.sinks[0].link.state = backing_off("first");
    bench.look(2.0);
    bench.snapshot.sinks[0].link.state = backing_off("second");
    bench.look(50.0);
    assert!(bench.only().sentence.contains("first"));
    bench.look(12.0);
    assert!(bench.only().sentence.contains("second"));
}

/// A gateway with a second source, `south`, of which nothing comes.
fn with_a_second_source() -> Bench {
    let mut bench = Bench::new();
    let mut second = bench.snapshot.sources[0].clone();
    bench.snapshot.sources[0].source = LinkId::new(LinkKind::Source, "north");
    second.source = LinkId::new(LinkKind::Source, "south");
    second.link.peer = "/dev/south".to_owned();
    bench.snapshot.sources.push(second);
    bench.snapshot.nodes = vec![
        node("north node1", NodeState::Heard),
        node("south node1", NodeState::Stale),
    ];
    bench
}

#[test]
fn a_problem_of_a_source_is_its_own() {
    let mut bench = with_a_second_source();
    // Its only node is late, and so nothing comes of it at all.
    let before = Timestamp(START.0 - 10_000_000_000);
    let south = &mut bench.snapshot.sources[1];
    south.link.since = before;
    south.link.heard = Some(before);
    south.telemetry.last_packet = Some(before);
    assert_eq!(bench.look(5.0), ["+source_silent source south"]);
    assert!(bench.only().sentence.starts_with("/dev/south"));
    bench.snapshot.nodes[0].state = NodeState::Offline;
    bench
        .snapshot
        .nodes
        .push(node("north node2", NodeState::Heard));
    assert_eq!(bench.look(1.0), ["+node_silent north node1"]);
    bench.snapshot.nodes[0].state = NodeState::Heard;
    bench.snapshot.sources[1].link.state = backing_off("no such device");
    let changes = bench.look(3.0);
    let expected = [
        "-source_silent source south",
        "-node_silent north node1",
        "+link_down source south",
    ];
    assert_eq!(changes, expected);
    bench.snapshot.sources[1].link.state = LinkState::Held;
    let changes = bench.look(3.0);
    assert_eq!(
        changes,
        ["+link_held source south", "-link_down source south"]
    );
    let fix = "release it: `fieldgate release \"source south\"`";
    assert_eq!(bench.only().fix, fix);
}

#[test]
fn each_source_has_its_own_line_clock_and_readings_set_aside() {
    let mut bench = with_a_second_source();
    bench.snapshot.nodes.clear();
    assert_eq!(bench.look(10.0), NOTHING);
    let south = &mut bench.snapshot.sources[1].telemetry;
    south.line_damaged_ratio = 0.5;
    south.readings_rejected = vec![(RejectReason::Spike, 3)];
    south.clock_drifts = 1;
    let mut changes = bench.look(1.0);
    changes.sort();
    let expected = [
        "+clock_wrong source south",
        "+line_damaged source south",
        "+readings_set_aside source south",
    ];
    assert_eq!(changes, expected);
    // The same of the other one is another problem.
    bench.snapshot.sources[0].telemetry.line_damaged_ratio = 0.5;
    assert_eq!(bench.look(1.0), ["+line_damaged source north"]);
    bench.snapshot.sources[1].telemetry.line_damaged_ratio = 0.0;
    assert_eq!(bench.look(1.0), ["-line_damaged source south"]);
}

#[test]
fn values_of_nodes_of_the_same_name_are_two_problems() {
    let mut bench = with_a_second_source();
    bench.snapshot.nodes.clear();
    let latest = |source: &str, value| LatestValue {
        source: source.into(),
        node: "node1".into(),
        metric: "temperature".into(),
        unit: "°C".to_owned(),
        min: None,
        max: Some(40.0),
        value,
        event_time: START,
        received: START,
        smallest: 0.0,
        largest: value,
        count: 3,
    };
    bench.snapshot.latest = vec![latest("north", 20.0), latest("south", 41.0)];
    let concerns = "value_beyond_limits south node1 temperature";
    assert_eq!(bench.look(1.0), [format!("+{concerns}")]);
    bench.snapshot.latest[1].value = 20.0;
    assert_eq!(bench.look(1.0), [format!("-{concerns}")]);
}
