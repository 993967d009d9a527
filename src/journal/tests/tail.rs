//! What waits in the tail: nothing of it is lost or twice, wherever a process or the power ends.

use std::fs;

use super::*;
use crate::journal::{self, Archive, JournalState, Position};
use crate::monitor::{HistoryQuery, RewindTo};
use crate::telemetry::{RejectReason, SetAside};

const INTERVAL: Durability = Durability::Interval(Duration::from_nanos(1));

fn durable(folder: &Path, durability: Durability) -> config::Journal {
    config::Journal {
        durability,
        ..file_config(folder, 100_000)
    }
}

/// An empty journal in a folder of its own.
fn begin(durability: Durability) -> (tempfile::TempDir, config::Journal, Bench) {
    let folder = tempfile::tempdir().unwrap();
    let config = durable(folder.path(), durability);
    let bench = Bench::open(&config);
    (folder, config, bench)
}

fn tail(folder: &Path) -> PathBuf {
    folder.join("journal.db-tail")
}

/// Packets one by one, as boards send them.
fn append_each(bench: &mut Bench, ids: std::ops::Range<u32>) {
    for id in ids {
        bench.append(vec![packet(id, 1)]);
    }
}

fn rows_in_file(bench: &Bench) -> i64 {
    let file = bench.writer.file.as_ref().unwrap().connection();
    file.query_row("SELECT count(*) FROM packets", [], |row| row.get(0))
        .unwrap()
}

/// Has the disk be full, or have room again.
fn limit_pages(bench: &Bench, pages: u32) {
    bench.writer.file.as_ref().unwrap().limit_pages(pages);
}

/// The journal as it is on the disk, in another folder.
fn copy(folder: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if !path.to_string_lossy().ends_with("-shm") {
            fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
        }
    }
    copy
}

/// The packets that each sink still gets.
fn left(config: &config::Journal) -> [Vec<u32>; 2] {
    let mut bench = Bench::open(config);
    let left = both().map(|sink| {
        let mut cursor = bench.cursor(&sink);
        assert_eq!(bench.dropped(&sink), 0);
        drain(&mut bench, &mut cursor)
    });
    bench.close().unwrap();
    left
}

fn all(ids: std::ops::Range<u32>) -> Vec<u32> {
    ids.collect()
}

#[test]
fn what_comes_one_by_one_is_in_the_tail_until_it_is_settled() {
    for durability in [Durability::Full, INTERVAL] {
        let (folder, config, mut bench) = begin(durability);
        append_each(&mut bench, 1..6);
        assert_eq!(bench.status().state, JournalState::File);
        let mut mqtt = bench.cursor(&SinkId::mqtt());
        assert_eq!(drain(&mut bench, &mut mqtt), all(1..6));
        assert_eq!((rows_in_file(&bench), mqtt.unjournaled()), (0, 0));
        bench.writer.settle();
        append_each(&mut bench, 6..8);
        assert_eq!(rows_in_file(&bench), 5);
        // Many at once are no matter for it.
        bench.append_ids(8..40);
        append_each(&mut bench, 40..42);
        assert_eq!(rows_in_file(&bench), 41);
        drop((mqtt, bench));
        assert_eq!(left(&config), [all(6..42), all(1..42)]);
        assert!(!tail(folder.path()).exists());
    }
}

/// A settlement for each of them would cost more than the tail spares.
#[test]
fn beside_what_is_set_aside_packets_go_into_the_file() {
    let (_folder, _, mut bench) = begin(Durability::Full);
    append_each(&mut bench, 1..3);
    let entry = SetAside {
        received: Timestamp(3),
        event_time: None,
        reason: RejectReason::Syntax,
        detail: "no".to_owned(),
        frame: b"{"[..].into(),
        reading: None,
    };
    let source = "source".into();
    let inbox = &bench.writer.shared().inbox;
    inbox
        .set_aside(&source, vec![entry])
        .now_or_never()
        .unwrap()
        .unwrap();
    append_each(&mut bench, 3..6);
    assert_eq!(rows_in_file(&bench), 5);
}

#[test]
fn a_gateway_that_is_killed_anywhere_loses_nothing_and_repeats_nothing() {
    for durability in [Durability::Full, INTERVAL] {
        let (folder, _, mut bench) = begin(durability);
        let mut mqtt = bench.cursor(&SinkId::mqtt());
        let mut next = 1;
        // Full three times, and settled in between.
        for round in 1..1_500 {
            bench.append(vec![packet(next, 1)]);
            next += 1;
            if round % 7 == 0 {
                drain(&mut bench, &mut mqtt);
            }
            if round % 700 == 0 {
                bench.append_ids(next..next + 20);
                next += 20;
            }
            if round % 60 == 0 {
                bench.writer.settle();
            }
            if round % 45 == 0 {
                let copy = copy(folder.path());
                let config = durable(copy.path(), durability);
                let acknowledged = u32::try_from(mqtt.acknowledged().sequence).unwrap();
                assert_eq!(left(&config), [all(acknowledged + 1..next), all(1..next)]);
            }
        }
    }
}

#[test]
fn a_record_that_is_torn_ends_the_tail() {
    let (folder, _, mut bench) = begin(Durability::Full);
    append_each(&mut bench, 1..4);
    let before = fs::read(tail(folder.path())).unwrap();
    bench.append(vec![packet(4, 1)]);
    let after = fs::read(tail(folder.path())).unwrap();
    let differs = |index: &usize| before[*index] != after[*index];
    let written = (0..after.len()).filter(differs);
    let (first, last) = (written.clone().min().unwrap(), written.max().unwrap());
    for end in first..=last {
        let copy = copy(folder.path());
        let torn = [&after[..end], &before[end..]].concat();
        fs::write(tail(copy.path()), torn).unwrap();
        let config = durable(copy.path(), Durability::Full);
        let mut bench = Bench::open(&config);
        assert_eq!(bench.status().end.sequence, 3, "{end}");
        // Its number goes to what comes next.
        bench.append(vec![packet(5, 1)]);
        drop(bench);
        assert_eq!(left(&config)[0], [1, 2, 3, 5]);
    }
}

#[test]
fn a_power_cut_costs_nothing_that_was_on_the_disk() {
    let (folder, _, mut bench) = begin(INTERVAL);
    append_each(&mut bench, 1..6);
    bench.keep_house();
    let synced = fs::read(tail(folder.path())).unwrap();
    append_each(&mut bench, 6..9);
    let copy = copy(folder.path());
    fs::write(tail(copy.path()), &synced).unwrap();
    assert_eq!(left(&durable(copy.path(), INTERVAL))[0], all(1..6));
    // What was settled outlives that its tail is written anew.
    bench.writer.settle();
    let settled = self::copy(folder.path());
    append_each(&mut bench, 9..11);
    fs::copy(tail(folder.path()), tail(settled.path())).unwrap();
    assert_eq!(left(&durable(settled.path(), INTERVAL))[0], all(1..11));
}

#[test]
fn an_old_tail_changes_nothing() {
    let (folder, config, mut bench) = begin(Durability::Full);
    append_each(&mut bench, 1..6);
    let mut mqtt = bench.cursor(&SinkId::mqtt());
    let rows = mqtt.read(2).unwrap();
    mqtt.acknowledge(rows[1].end());
    bench.step();
    let old = fs::read(tail(folder.path())).unwrap();
    bench.writer.settle();
    drain(&mut bench, &mut mqtt);
    bench.append_ids(6..30);
    drain(&mut bench, &mut mqtt);
    drop((mqtt, bench));
    fs::write(tail(folder.path()), old).unwrap();
    fs::remove_file(folder.path().join("journal.db.lock")).unwrap();
    assert_eq!(left(&config), [vec![], all(1..30)]);
}

#[test]
fn the_tail_of_another_journal_is_not_believed() {
    let [folder, other] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    for (folder, first) in [(&folder, 1), (&other, 101)] {
        let mut bench = Bench::open(&durable(folder.path(), Durability::Full));
        bench.append_ids(first..first + 20);
        bench.writer.settle();
        bench.close().unwrap();
        let mut bench = Bench::open(&durable(folder.path(), Durability::Full));
        append_each(&mut bench, first + 20..first + 22);
    }
    fs::copy(tail(other.path()), tail(folder.path())).unwrap();
    let config = durable(folder.path(), Durability::Full);
    assert_eq!(left(&config)[0], all(1..21));
}

#[test]
fn a_disk_that_is_full_at_a_settlement_costs_nothing() {
    let (folder, config, mut bench) = begin(Durability::Full);
    append_each(&mut bench, 1..30);
    limit_pages(&bench, 1);
    bench.writer.settle();
    assert!(matches!(
        bench.status().state,
        JournalState::Fallback { ref reason } if reason == "disk full"
    ));
    let killed = copy(folder.path());
    assert_eq!(
        left(&durable(killed.path(), Durability::Full))[0],
        all(1..30)
    );
    append_each(&mut bench, 30..32);
    let mut mqtt = bench.cursor(&SinkId::mqtt());
    assert_eq!(drain(&mut bench, &mut mqtt), all(1..32));
    limit_pages(&bench, u32::MAX - 1);
    bench.writer.retry_now();
    bench.step();
    assert_eq!(bench.status().state, JournalState::File);
    append_each(&mut bench, 32..34);
    assert_eq!(rows_in_file(&bench), 31);
    drop((mqtt, bench));
    assert_eq!(left(&config), [all(32..34), all(1..34)]);
}

#[test]
fn what_the_tail_does_not_take_goes_into_the_file() {
    let (_folder, config, mut bench) = begin(Durability::Full);
    append_each(&mut bench, 1..6);
    bench.writer.spoil_tail();
    append_each(&mut bench, 6..7);
    assert_eq!(rows_in_file(&bench), 6);
    // Both refuse.
    limit_pages(&bench, 1);
    append_each(&mut bench, 7..30);
    assert!(matches!(
        bench.status().state,
        JournalState::Fallback { .. }
    ));
    limit_pages(&bench, u32::MAX - 1);
    bench.writer.retry_now();
    append_each(&mut bench, 30..32);
    // The tail began anew.
    assert_eq!(rows_in_file(&bench), 29);
    drop(bench);
    assert_eq!(left(&config)[0], all(1..32));
}

#[test]
fn a_stop_on_a_full_disk_leaves_what_is_in_the_tail_there() {
    let (_folder, config, mut bench) = begin(Durability::Full);
    append_each(&mut bench, 1..30);
    limit_pages(&bench, 1);
    bench.close().unwrap();
    assert_eq!(left(&config)[0], all(1..30));
}

#[test]
fn a_damaged_file_has_its_tail_behind_its_successor() {
    let (folder, config, mut bench) = begin(Durability::Full);
    bench.append_ids(1..20);
    bench.close().unwrap();
    let mut bench = Bench::open(&config);
    append_each(&mut bench, 20..25);
    drop(bench);
    fs::write(folder.path().join("journal.db"), [7; 9_000]).unwrap();
    let mut bench = Bench::open(&config);
    let mut mqtt = bench.cursor(&SinkId::mqtt());
    assert_eq!(drain(&mut bench, &mut mqtt), all(20..25));
    assert_eq!(damaged_files(folder.path()).len(), 1);
}

#[test]
fn a_tail_that_is_deleted_is_noticed_and_nothing_of_it_is_lost() {
    let (folder, config, mut bench) = begin(Durability::Full);
    append_each(&mut bench, 1..6);
    fs::remove_file(tail(folder.path())).unwrap();
    bench.keep_house();
    bench.writer.retry_now();
    bench.keep_house();
    assert_eq!(bench.status().state, JournalState::File);
    append_each(&mut bench, 6..8);
    drop(bench);
    assert_eq!(left(&config)[0], all(1..8));
}

#[test]
fn who_reads_a_journal_without_a_gateway_sees_its_tail() {
    let (folder, config, mut bench) = begin(Durability::Full);
    bench.append_ids(1..20);
    bench.close().unwrap();
    let mut bench = Bench::open(&config);
    append_each(&mut bench, 20..25);
    let mut mqtt = bench.cursor(&SinkId::mqtt());
    let rows = mqtt.read(22).unwrap();
    mqtt.acknowledge(rows[21].end());
    bench.step();
    let path = folder.path().join("journal.db");
    // Beside a gateway, and while it settles.
    let mut beside = Archive::open(&path).unwrap();
    bench.writer.settle();
    assert_eq!(ids(&beside.read().unwrap()), all(1..25));
    append_each(&mut bench, 25..28);
    drop((mqtt, bench));

    let mut archive = Archive::open_still(&path).unwrap();
    assert_eq!(archive.sequences().unwrap(), Some((1, 27)));
    assert_eq!(ids(&archive.read().unwrap()), all(1..28));
    assert_eq!(archive.read().unwrap(), []);
    let query = HistoryQuery {
        source: None,
        node: "node1".into(),
        metric: "metric0".into(),
        from: Timestamp(0),
        to: Timestamp(1_000),
        points: 1,
    };
    for archive in [&archive, &beside] {
        let points = archive.history(&query).unwrap();
        assert_eq!(
            points[0].count,
            if archive.sequences().unwrap() == Some((1, 27)) {
                27
            } else {
                24
            }
        );
    }
    let mut seen = Vec::new();
    let visited = archive.visit(Timestamp(7)..Timestamp(1_000), |row| {
        seen.push(id(row));
        row.sequence < 26
    });
    visited.unwrap();
    assert_eq!(seen, all(1..27));
    let acknowledged: Vec<Position> = archive.acknowledged().into_iter().map(|it| it.1).collect();
    assert_eq!(acknowledged[1].sequence, 22);

    let again = journal::take_back(&path, &SinkId::mqtt(), RewindTo::Oldest).unwrap();
    assert_eq!(again, 22);
    assert_eq!(left(&config), [all(1..28), all(1..28)]);
}

#[test]
fn a_sink_that_is_forgotten_does_not_come_back_out_of_the_tail() {
    let (folder, config, mut bench) = begin(Durability::Full);
    append_each(&mut bench, 1..6);
    let mut mqtt = bench.cursor(&SinkId::mqtt());
    drain(&mut bench, &mut mqtt);
    append_each(&mut bench, 6..7);
    drop((mqtt, bench));
    let path = folder.path().join("journal.db");
    let forgotten = journal::forget(&path, &[SinkId::mqtt()]).unwrap();
    assert_eq!(forgotten, journal::Forgotten::Done);
    // It begins as a new one.
    assert_eq!(left(&config), [all(1..7), all(1..7)]);
}
