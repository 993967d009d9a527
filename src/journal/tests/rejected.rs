//! What is set aside, names that are known, and journals of version 1.

use super::both;
use rusqlite::Connection;

use super::*;
use crate::journal::shared::lock_store;
use crate::journal::{RejectedTable, names};
use crate::telemetry::{KnownName, RejectReason, SetAside};

/// The tables as version 1 made them.
const VERSION_1: &str = "
PRAGMA auto_vacuum = INCREMENTAL;
CREATE TABLE packets (
    sequence INTEGER PRIMARY KEY,
    total INTEGER NOT NULL,
    count INTEGER NOT NULL,
    received INTEGER NOT NULL,
    event_time INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    source TEXT NOT NULL,
    readings TEXT NOT NULL
) STRICT;
CREATE TABLE cursors (
    sink TEXT PRIMARY KEY,
    sequence INTEGER NOT NULL,
    total INTEGER NOT NULL,
    enabled INTEGER NOT NULL,
    checksum INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE rejected (
    id INTEGER PRIMARY KEY,
    rejected_at INTEGER NOT NULL,
    sink TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    event_time INTEGER NOT NULL,
    node TEXT NOT NULL,
    metric TEXT NOT NULL,
    value REAL NOT NULL,
    reason TEXT NOT NULL
) STRICT;
CREATE VIEW readings AS
    SELECT sequence, received, event_time, node.key AS node, metric.key AS metric, metric.value AS value
    FROM packets, json_each(packets.readings) AS node, json_each(node.value) AS metric;
PRAGMA application_id = 0x66676a6c;
PRAGMA user_version = 0x10001;
INSERT INTO rejected VALUES (7, 100, 'mqtt', 3, 50, 'node1', 'temperature', 27.5, 'too large');
INSERT INTO rejected VALUES (9, 101, 'influxdb', 4, 51, 'node2', 'pressure', 1.5, 'type conflict');
";

fn entry(id: i64, reading: Option<&str>) -> SetAside {
    SetAside {
        received: Timestamp(id),
        event_time: reading.map(|_| Timestamp(id - 1)),
        reading: reading.map(|metric| Reading {
            node: "node1".into(),
            metric: metric.into(),
            value: 8_400.0,
        }),
        reason: RejectReason::Syntax,
        detail: if reading.is_some() {
            "a detail".to_owned()
        } else {
            String::new()
        },
        frame: (*b"{\"ts\":\xff").into(),
    }
}

fn set_aside(bench: &mut Bench, entries: Vec<SetAside>) {
    let inbox = &bench.writer.shared().inbox;
    inbox
        .set_aside(&"source".into(), entries)
        .now_or_never()
        .unwrap()
        .unwrap();
    bench.step();
}

fn name(node: &str, metric: Option<&str>) -> KnownName {
    KnownName {
        node: node.to_owned(),
        metric: metric.map(str::to_owned),
    }
}

/// A line for each entry: sink, times, reading, reason, bytes.
fn listed(connection: &Connection) -> Vec<String> {
    let sql = "SELECT concat_ws('|', id, ifnull(sink, '-'), ifnull(received, '-'),
        ifnull(event_time, '-'), ifnull(node, '-'), ifnull(metric, '-'), ifnull(value, '-'),
        reason_name, reason, hex(frame)) FROM rejected ORDER BY id";
    let mut statement = connection.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| row.get(0)).unwrap();
    rows.collect::<Result<_, _>>().unwrap()
}

fn file(folder: &Path) -> Connection {
    Connection::open(folder.join("journal.db")).unwrap()
}

const TWO_ENTRIES: [&str; 2] = [
    "1|-|11|-|-|-|-|syntax|cannot be read from here on|7B227473223AFF",
    "2|-|12|11|node1|gas|8400.0|syntax|cannot be read from here on: a detail|7B227473223AFF",
];

#[test]
fn what_is_set_aside_is_kept_with_its_reason_bytes_and_times() {
    let folder = tempfile::tempdir().unwrap();
    let mut bench = Bench::open(&file_config(folder.path(), 1000));
    set_aside(&mut bench, vec![entry(11, None), entry(12, Some("gas"))]);
    assert_eq!(listed(&file(folder.path())), TWO_ENTRIES);
    drop(bench);
    let bench = Bench::open(&file_config(folder.path(), 1000));
    assert_eq!(listed(&file(folder.path())), TWO_ENTRIES);
    drop(bench);
}

#[test]
fn what_is_set_aside_and_learned_on_a_full_disk_is_in_the_file_later() {
    let folder = tempfile::tempdir().unwrap();
    let mut bench = Bench::open(&file_config(folder.path(), 1000));
    bench.writer.file.as_ref().unwrap().limit_pages(1);
    let mut large = entry(10, None);
    large.frame = vec![0; 100_000].into();
    set_aside(&mut bench, vec![large]);
    set_aside(&mut bench, vec![entry(11, None), entry(12, Some("gas"))]);
    bench
        .writer
        .shared()
        .inbox
        .learn(&"source".into(), vec![name("n7", None)]);
    bench.step();
    assert_eq!(
        names::known(bench.writer.shared(), &"source".into()),
        [name("n7", None)],
        "in memory"
    );
    assert_eq!(listed(&file(folder.path())), [""; 0]);
    let store = bench.writer.file.as_ref().unwrap();
    store.limit_pages(u32::MAX - 1);
    bench.writer.retry_now();
    bench.step();
    let kept = listed(&file(folder.path()));
    assert_eq!(kept.len(), 3);
    assert_eq!(kept[1][1..], TWO_ENTRIES[0][1..]);
    assert_eq!(kept[2][1..], TWO_ENTRIES[1][1..]);
    drop(bench);
    let bench = Bench::open(&file_config(folder.path(), 1000));
    assert_eq!(
        names::known(bench.writer.shared(), &"source".into()),
        [name("n7", None)]
    );
}

#[test]
fn what_is_set_aside_is_bounded_by_number_and_by_size() {
    for (entries, size, kept) in [(25_000, 0, 10_000), (5_000, 4_000, 2_000)] {
        let mut bench = Bench::open(&config(JournalPath::Memory, 100_000));
        for first in (0..entries).step_by(500) {
            let block = first..first + 500;
            let with_frame = |id| SetAside {
                frame: vec![b'x'; size].into(),
                ..entry(id, None)
            };
            set_aside(&mut bench, block.map(with_frame).collect());
        }
        let tiers = bench.writer.shared().tiers();
        let mut store = lock_store(tiers.memory.as_ref().unwrap());
        let sql = "SELECT count(*), min(received), max(received) FROM rejected";
        let (count, first, last) = store
            .connection()
            .query_row(sql, [], |row| {
                Ok((
                    row.get::<_, i64>(0)?,
                    row.get::<_, i64>(1)?,
                    row.get::<_, i64>(2)?,
                ))
            })
            .unwrap();
        assert_eq!(last, entries - 1);
        assert_eq!(last - first + 1, count);
        assert!((kept..=kept + kept / 20).contains(&count), "{count}");
        assert_eq!(
            store.take_forgotten(),
            u64::try_from(entries - count).unwrap()
        );
    }
}

#[test]
fn what_is_older_than_the_history_is_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let mut bench = Bench::open(&file_config(folder.path(), 1000));
    set_aside(&mut bench, vec![entry(11, None), entry(12, Some("gas"))]);
    bench.keep_house();
    assert_eq!(listed(&file(folder.path())).len(), 2);
    let long_ago = "UPDATE rejected SET rejected_at = 5 WHERE id = 1";
    file(folder.path()).execute(long_ago, []).unwrap();
    bench.keep_house();
    assert_eq!(listed(&file(folder.path())), TWO_ENTRIES[1..]);
}

#[test]
fn names_are_kept_once_and_the_oldest_go_first() {
    let folder = tempfile::tempdir().unwrap();
    for config in [
        file_config(folder.path(), 1000),
        config(JournalPath::Memory, 1000),
    ] {
        let mut bench = Bench::open(&config);
        assert_eq!(names::known(bench.writer.shared(), &"source".into()), []);
        let three = [
            name("n7", None),
            name("n7", Some("")),
            name("n7", Some("x")),
        ];
        for _ in 0..2 {
            bench
                .writer
                .shared()
                .inbox
                .learn(&"source".into(), three.to_vec());
            bench.step();
        }
        assert_eq!(names::known(bench.writer.shared(), &"source".into()), three);
        for block in 0..5 {
            let made_up = |number: i32| name("n7", Some(&format!("made up {block} {number}")));
            let made_up = (0..1_000).map(made_up).collect();
            bench.writer.shared().inbox.learn(&"source".into(), made_up);
            bench.step();
        }
        let kept = names::known(bench.writer.shared(), &"source".into());
        assert_eq!(kept.len(), 4_096);
        assert_eq!(kept.last(), Some(&name("n7", Some("made up 4 999"))));
    }
}

#[test]
fn a_name_is_confirmed_at_its_own_source() {
    let folder = tempfile::tempdir().unwrap();
    let config = file_config(folder.path(), 1000);
    let mut bench = Bench::open(&config);
    let (north, south) = ("north".into(), "south".into());
    for (source, metric) in [(&north, "x"), (&south, "x"), (&south, "y")] {
        let name = vec![name("n7", Some(metric))];
        bench.writer.shared().inbox.learn(source, name);
        bench.step();
    }
    let known = |bench: &Bench, source| names::known(bench.writer.shared(), source).len();
    assert_eq!([&north, &south].map(|it| known(&bench, it)), [1, 2]);
    let sources = |bench: &Bench| names::sources(bench.writer.shared());
    assert_eq!(sources(&bench), [north.clone(), south.clone()]);
    bench.close().unwrap();
    // As an earlier version had them: what is known there stays known, to every source.
    let old = file(folder.path());
    let as_before = "ALTER TABLE known_names RENAME TO newer;
        CREATE TABLE known_names
            (id INTEGER PRIMARY KEY, node TEXT NOT NULL, metric TEXT, UNIQUE (node, metric)) STRICT;
        INSERT INTO known_names (node, metric) SELECT node, metric FROM newer WHERE source = 'south';
        DROP TABLE newer;";
    old.execute_batch(as_before).unwrap();
    drop(old);
    let mut bench = Bench::open(&config);
    assert_eq!([&north, &south].map(|it| known(&bench, it)), [2, 2]);
    let name = vec![name("n7", Some("x")), name("n8", None)];
    bench.writer.shared().inbox.learn(&north, name);
    bench.step();
    assert_eq!([&north, &south].map(|it| known(&bench, it)), [3, 2]);
    assert_eq!(sources(&bench), [north]);
}

#[test]
fn a_journal_of_version_1_goes_on_with_what_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let config = file_config(folder.path(), 1000);
    // Rows and cursors are as they were.
    let mut bench = Bench::open(&config);
    bench.append_ids(1..11);
    let mut cursor = bench.cursor(&SinkId::mqtt());
    let rows = cursor.read(100).unwrap();
    cursor.acknowledge(rows[3].end());
    drop(cursor);
    bench.close().unwrap();
    let new = file(folder.path());
    let old = Connection::open(folder.path().join("old.db")).unwrap();
    old.execute_batch(VERSION_1).unwrap();
    drop(old);
    let attach = format!(
        "ATTACH '{0}/old.db' AS old;
         INSERT INTO old.packets SELECT * FROM packets;
         INSERT INTO old.cursors SELECT sink, sequence, total, enabled, checksum FROM cursors;
         DETACH old;",
        folder.path().display()
    );
    new.execute_batch(&attach).unwrap();
    drop(new);
    std::fs::rename(
        folder.path().join("old.db"),
        folder.path().join("journal.db"),
    )
    .unwrap();

    let mut bench = Bench::open(&config);
    assert_eq!(bench.status().notice, None);
    assert_eq!(
        (
            bench.depth(&SinkId::mqtt()),
            bench.depth(&SinkId::influxdb())
        ),
        (6, 10)
    );
    set_aside(&mut bench, vec![entry(11, None)]);
    bench.append_ids(11..12);
    let mut cursor = bench.cursor(&SinkId::mqtt());
    assert_eq!(drain(&mut bench, &mut cursor), [5, 6, 7, 8, 9, 10, 11]);
    assert_eq!(
        listed(&file(folder.path())),
        [
            "7|mqtt|-|50|node1|temperature|27.5|refused|too large|",
            "9|influxdb|-|51|node2|pressure|1.5|refused|type conflict|",
            "10|-|11|-|-|-|-|syntax|cannot be read from here on|7B227473223AFF",
        ]
    );
    drop((bench, cursor));
    let bench = Bench::open(&config);
    assert_eq!(bench.depth(&SinkId::mqtt()), 0);
}

/// What the servers get when entries are asked for again and again, over crashes.
#[test]
fn what_is_asked_for_is_sent_on_once() {
    let folder = tempfile::tempdir().unwrap();
    let config = file_config(folder.path(), 1000);
    let mut bench = Bench::open(&config);
    bench.append_ids(1..4);
    let entries = (11..15).map(|id| entry(id, Some("gas"))).collect();
    set_aside(&mut bench, entries);
    let table = RejectedTable::open_to_ask(&folder.path().join("journal.db")).unwrap();
    let reading = packet(4, 1).readings;
    // Seven after it was received, as all packets here.
    let ask = |id| table.ask(id, Timestamp(11), &reading).unwrap();
    assert!(ask(2));
    assert!(!ask(2), "it is asked for twice");
    assert!(!ask(77), "there is no such entry");
    assert!(table.find(2).unwrap().unwrap().is_requested);
    bench.keep_house();
    assert!(!ask(2), "it was sent on before");
    drop(bench);
    // A gateway that is stopped takes it up at its next start.
    assert!(ask(3));
    for _ in 0..2 {
        let mut bench = Bench::open(&config);
        bench.keep_house();
    }
    let mut bench = Bench::open(&config);
    assert_eq!(bench.status().end.sequence, 5);
    let sent_on: Vec<bool> = (1..5)
        .map(|id| table.find(id).unwrap().unwrap().delivered_at.is_some())
        .collect();
    assert_eq!(sent_on, [false, true, true, false]);
    for sink in both() {
        let mut cursor = bench.cursor(&sink);
        let rows = cursor.read(100).unwrap();
        assert_eq!(rows.len(), 5);
        for row in &rows[3..] {
            assert_eq!((row.event_time, &row.readings), (Timestamp(11), &reading));
        }
        cursor.acknowledge(rows[4].end());
        bench.step();
    }
    assert_eq!(
        (
            bench.depth(&SinkId::mqtt()),
            bench.depth(&SinkId::influxdb())
        ),
        (0, 0)
    );
}

#[test]
fn what_was_set_aside_and_learned_outlives_a_damaged_row() {
    let folder = tempfile::tempdir().unwrap();
    let config = file_config(folder.path(), 1000);
    let mut bench = Bench::open(&config);
    bench.append_ids(1..4);
    set_aside(&mut bench, vec![entry(11, None), entry(12, Some("gas"))]);
    bench
        .writer
        .shared()
        .inbox
        .learn(&"source".into(), vec![name("n7", None)]);
    bench.step();
    bench.close().unwrap();
    let damage = "UPDATE packets SET readings = '{}' WHERE sequence = 2";
    file(folder.path()).execute(damage, []).unwrap();
    let bench = Bench::open(&config);
    assert!(bench.status().notice.unwrap().contains("was damaged"));
    assert_eq!(listed(&file(folder.path())), TWO_ENTRIES);
    assert_eq!(
        names::known(bench.writer.shared(), &"source".into()),
        [name("n7", None)]
    );
}
