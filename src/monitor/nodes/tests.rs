use super::*;
use crate::telemetry::Signal;

/// The time of day at which a test begins.
const START: Timestamp = Timestamp(1_800_000_000_000_000_000);

fn at(seconds: f64) -> (Duration, Timestamp) {
    let time = Duration::from_secs_f64(seconds);
    (time, START.plus(time))
}

fn hearing(names: &[&str], seconds: f64) -> Hearing {
    let (_, wall) = at(seconds);
    let remote = names.iter().filter(|name| **name != "node2");
    let remote: Vec<_> = remote.map(|name| Name::new(name)).collect();
    Hearing {
        received: wall,
        event_time: wall,
        board: "N2".into(),
        nodes: names.iter().map(|name| Name::new(name)).collect(),
        remote: match &remote[..] {
            [] => Remote::Nobody,
            [node] => Remote::Node(node.clone()),
            _ => Remote::Unclear,
        },
        signal: Signal {
            rssi: Some(-40.0 - seconds),
            snr: Some(9.0),
        },
        is_numbered: true,
    }
}

fn hear(nodes: &mut Nodes, names: &[&str], seconds: f64) {
    nodes.hear(&hearing(names, seconds), at(seconds).0);
}

/// What changes until then, as `node1 heard→stale`.
fn changes(nodes: &mut Nodes, seconds: f64) -> Vec<String> {
    let (now, wall) = at(seconds);
    let changes = nodes.advance(now, wall).into_iter();
    let text = |change: NodeChange| {
        let before = change.before.map_or("new", NodeState::word);
        format!("{} {before}→{}", change.node, change.now.word())
    };
    changes.map(text).collect()
}

fn state(nodes: &Nodes, name: &str) -> NodeState {
    let all = nodes.all();
    all.iter()
        .find(|it| it.node.as_str() == name)
        .unwrap()
        .state
}

#[test]
fn a_silent_node_is_stale_then_offline_by_its_own_interval() {
    let mut nodes = Nodes::default();
    for second in 0..=6 {
        hear(&mut nodes, &["node1"], f64::from(second) * 10.0);
    }
    hear(&mut nodes, &["node7"], 60.0);
    assert_eq!(
        changes(&mut nodes, 60.0),
        ["node1 new→heard", "node7 new→heard"]
    );
    assert_eq!(changes(&mut nodes, 89.9), [] as [&str; 0]);
    assert_eq!(changes(&mut nodes, 90.1), ["node1 heard→stale"]);
    assert_eq!(changes(&mut nodes, 159.0), [] as [&str; 0]);
    assert_eq!(changes(&mut nodes, 160.1), ["node1 stale→offline"]);
    // Of the other one nothing is known but that it was there.
    assert_eq!(state(&nodes, "node7"), NodeState::Heard);
    assert_eq!(changes(&mut nodes, 240.1), ["node7 heard→stale"]);
    hear(&mut nodes, &["node1"], 250.0);
    assert_eq!(changes(&mut nodes, 250.0), ["node1 offline→heard"]);
    let status = &nodes.all()[0];
    assert_eq!(status.interval, Some(10.0));
    assert_eq!(status.since, at(250.0).1);
    assert_eq!((status.first_heard, status.packets), (START, 8));
}

#[test]
fn a_configured_interval_is_not_learnt_and_multiples_can_be_chosen() {
    let intervals = [(Name::new("node1"), Duration::from_mins(15))];
    let mut nodes = Nodes::new(NodeRules {
        stale_after: 1.5,
        offline_after: 2.0,
        intervals: intervals.into_iter().collect(),
    });
    for second in 0..20 {
        hear(&mut nodes, &["node1"], f64::from(second));
    }
    changes(&mut nodes, 19.0);
    assert_eq!(changes(&mut nodes, 19.0 + 1_349.0), [] as [&str; 0]);
    assert_eq!(changes(&mut nodes, 19.0 + 1_351.0), ["node1 heard→stale"]);
    assert_eq!(changes(&mut nodes, 19.0 + 1_801.0), ["node1 stale→offline"]);
}

#[test]
fn what_waited_somewhere_teaches_its_own_pace() {
    let mut nodes = Nodes::default();
    for second in 0..20 {
        let measured = hearing(&["node1"], f64::from(second) * 10.0);
        nodes.hear(&measured, at(200.0).0);
    }
    assert_eq!(nodes.all()[0].interval, Some(10.0));
}

#[test]
fn a_clock_that_is_set_makes_nobody_silent() {
    let mut nodes = Nodes::default();
    for second in 0..5 {
        hear(&mut nodes, &["node1"], f64::from(second));
    }
    changes(&mut nodes, 4.0);
    let (now, wall) = (at(4.5).0, at(3_604.5).1);
    assert_eq!(nodes.advance(now, wall), []);
    let status = &nodes.all()[0];
    assert_eq!(status.last_heard, at(3_604.0).1);
    assert_eq!(status.first_heard, at(3_600.0).1);
}

#[test]
fn a_restart_knows_who_is_missing_and_counts_silence_anew() {
    let mut nodes = Nodes::default();
    for second in 0..5 {
        hear(&mut nodes, &["node1", "node2"], f64::from(second) * 10.0);
    }
    hear(&mut nodes, &["node3"], 0.0);
    changes(&mut nodes, 700.0);
    hear(&mut nodes, &["node1"], 700.0);
    changes(&mut nodes, 700.0);
    let known = nodes.known();
    let mut nodes = Nodes::default();
    let (now, wall) = (at(1.0).0, at(5_000.0).1);
    nodes.restore(known, now, wall);
    assert_eq!(nodes.advance(at(2.0).0, at(5_001.0).1), []);
    let states: Vec<_> = nodes.all().iter().map(|it| it.state).collect();
    assert_eq!(
        states,
        [NodeState::Heard, NodeState::Offline, NodeState::Offline]
    );
    assert_eq!(nodes.all()[0].last_heard, at(700.0).1);
    let later = nodes.advance(at(32.0).0, at(5_031.0).1);
    assert_eq!((later.len(), later[0].now), (1, NodeState::Stale));
    // Its interval was learnt before; the first pause of this run is none of it.
    hear(&mut nodes, &["node1"], 33.0);
    assert_eq!(nodes.all()[0].interval, Some(10.0));
}

#[test]
fn the_signal_is_of_the_only_remote_node() {
    let mut nodes = Nodes::default();
    hear(&mut nodes, &["node1", "node2"], 0.0);
    hear(&mut nodes, &["node1", "node2"], 1.0);
    hear(&mut nodes, &["node1", "node3", "node2"], 2.0);
    let all = nodes.all();
    let rssi = all[0].signal.rssi.unwrap();
    let expected = Spread {
        last: -41.0,
        lowest: -41.0,
        mean: -40.5,
        highest: -40.0,
    };
    assert_eq!(rssi, expected);
    assert_eq!(all[0].signal.at, Some(at(1.0).1));
    for other in &all[1..] {
        assert_eq!(other.signal, NodeSignal::default());
    }
}

#[test]
fn misses_are_those_of_the_only_node_that_a_board_hears() {
    let mut nodes = Nodes::default();
    hear(&mut nodes, &["node1", "node2"], 0.0);
    nodes.miss("N2", 3);
    nodes.miss("elsewhere", 5);
    assert_eq!(nodes.all()[0].missed, 3);
    assert!((nodes.all()[0].missed_ratio() - 0.75).abs() < 1e-9);
    hear(&mut nodes, &["node3"], 1.0);
    nodes.miss("N2", 3);
    let missed: Vec<u64> = nodes.all().iter().map(|it| it.missed).collect();
    assert_eq!(missed, [3, 0, 0]);
}

#[test]
fn it_is_told_of_which_node_misses_can_be_known() {
    let known = |nodes: &Nodes| -> Vec<bool> {
        let all = nodes.all();
        all.iter().map(|it| it.misses_known).collect()
    };
    let mut nodes = Nodes::default();
    let mut sensor = hearing(&["node7"], 0.0);
    (sensor.board, sensor.remote, sensor.is_numbered) = ("7".into(), Remote::Nobody, false);
    nodes.hear(&sensor, at(0.0).0);
    nodes.miss("7", 1);
    assert_eq!((known(&nodes), nodes.all()[0].missed), (vec![false], 0));
    // One that numbers its own packets.
    sensor.is_numbered = true;
    nodes.hear(&sensor, at(1.0).0);
    nodes.miss("7", 2);
    assert_eq!((known(&nodes), nodes.all()[0].missed), (vec![true], 2));
    // A board beside it: with one other node, then with two.
    hear(&mut nodes, &["node1", "node2"], 2.0);
    assert_eq!(known(&nodes), [true, false, true]);
    hear(&mut nodes, &["node3", "node2"], 3.0);
    assert_eq!(known(&nodes), [false, false, false, true]);
    nodes.qualify("north");
    assert_eq!(known(&nodes), [false, false, false, true]);
    nodes.miss("north 7", 1);
    assert_eq!(nodes.all()[3].missed, 3);
}

#[test]
fn nodes_are_bounded_and_forgotten_in_the_end() {
    let mut nodes = Nodes::default();
    for number in 0..2 * MAX_NODES {
        hear(&mut nodes, &[&format!("node{number}")], 0.0);
    }
    assert_eq!(nodes.all().len(), MAX_NODES);
    changes(&mut nodes, 31.0 * 86_400.0);
    assert_eq!(nodes.all(), []);
}
