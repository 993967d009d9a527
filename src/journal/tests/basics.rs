//! Appending, reading, acknowledging; bounds; restarts; locks; queries from outside.

use super::both;
use std::time::Duration;

use futures_util::FutureExt;
use rusqlite::Connection;

use super::*;
use crate::journal::shared::lock_store;
use crate::journal::{Journal, JournalState, Position, Rejection};

#[test]
fn rows_come_out_as_packets_went_in() {
    let folder = tempfile::tempdir().unwrap();
    for config in [
        file_config(folder.path(), 1000),
        config(JournalPath::Memory, 1000),
    ] {
        let mut bench = Bench::open(&config);
        let packets = vec![packet(1, 3), packet(2, 1), packet(3, 2)];
        bench.append(packets.clone());
        let rows = bench.cursor(&SinkId::mqtt()).read(100).unwrap();
        assert_eq!(rows.len(), 3);
        let mut total = 0;
        for (index, (row, packet)) in rows.iter().zip(&packets).enumerate() {
            total += packet.readings.len() as u64;
            assert_eq!((row.sequence, row.total), (index as u64 + 1, total));
            assert_eq!(
                (row.received, row.event_time),
                (packet.received, packet.event_time)
            );
            assert_eq!(row.readings, packet.readings);
        }
    }
}

#[test]
fn a_read_takes_whole_rows_and_at_least_one() {
    let mut bench = Bench::open(&config(JournalPath::Memory, 1000));
    bench.append((1..=4).map(|id| packet(id, 5)).collect());
    let mut cursor = bench.cursor(&SinkId::mqtt());
    assert_eq!(ids(&cursor.read(3).unwrap()), [1]);
    assert_eq!(ids(&cursor.read(14).unwrap()), [2, 3]);
    assert_eq!(ids(&cursor.read(14).unwrap()), [4]);
    assert_eq!(ids(&cursor.read(14).unwrap()), [0; 0]);
    cursor.rewind();
    assert_eq!(ids(&cursor.read(100).unwrap()), [1, 2, 3, 4]);
}

#[test]
fn acknowledgements_survive_a_crash_and_a_close() {
    let folder = tempfile::tempdir().unwrap();
    let config = file_config(folder.path(), 1000);
    let mut bench = Bench::open(&config);
    bench.append_ids(1..11);
    let mut cursor = bench.cursor(&SinkId::mqtt());
    let rows = cursor.read(100).unwrap();
    cursor.acknowledge(rows[3].end());
    assert_eq!(cursor.unjournaled(), 10);
    bench.step();
    assert_eq!(cursor.unjournaled(), 6);
    // Given to the writer, and never committed.
    cursor.acknowledge(rows[5].end());
    cursor.acknowledge(rows[6].end());
    drop((bench, cursor));

    let bench = Bench::open(&config);
    assert_eq!(
        (
            bench.depth(&SinkId::mqtt()),
            bench.depth(&SinkId::influxdb())
        ),
        (3, 10)
    );
    let mut cursor = bench.cursor(&SinkId::mqtt());
    let rows = cursor.read(100).unwrap();
    assert_eq!(ids(&rows), [8, 9, 10]);
    cursor.acknowledge(rows[0].end());
    drop(cursor);
    bench.give(vec![packet(11, 1)]);
    bench.close().unwrap();
    assert!(!folder.path().join("journal.db-wal").exists());

    let mut bench = Bench::open(&config);
    let mut cursor = bench.cursor(&SinkId::mqtt());
    assert_eq!(drain(&mut bench, &mut cursor), [9, 10, 11]);
    assert_eq!(bench.dropped(&SinkId::mqtt()), 0);
}

#[test]
fn an_acknowledgement_is_not_known_before_what_was_refused() {
    let folder = tempfile::tempdir().unwrap();
    let config = file_config(folder.path(), 1000);
    let mut bench = Bench::open(&config);
    bench.append_ids(1..11);
    let mut cursor = bench.cursor(&SinkId::influxdb());
    let rows = cursor.read(100).unwrap();
    let refuse = |cursor: &mut Cursor, row: &Row| {
        cursor.reject(vec![Rejection {
            sink: SinkId::influxdb(),
            source: "source".into(),
            sequence: row.sequence,
            event_time: row.event_time,
            reading: row.readings[0].clone(),
            reason: "no".to_owned(),
        }]);
        cursor.acknowledge(row.end());
    };
    refuse(&mut cursor, &rows[0]);
    bench.step();
    cursor.acknowledge(rows[1].end());
    refuse(&mut cursor, &rows[2]);
    cursor.acknowledge(rows[3].end());
    drop((bench, cursor));

    // The first refusal was committed, the second one is to be made again.
    let bench = Bench::open(&config);
    let mut cursor = bench.cursor(&SinkId::influxdb());
    assert_eq!(ids(&cursor.read(2).unwrap()), [3, 4]);
}

#[test]
fn marks_of_another_journal_are_not_believed() {
    let folder = tempfile::tempdir().unwrap();
    let (config, other) = (folder.path().join("one"), folder.path().join("two"));
    let mut locks = Vec::new();
    for (folder, first, acknowledged) in [(&config, 1, 2), (&other, 101, 8)] {
        let mut bench = Bench::open(&file_config(folder, 1000));
        bench.append_ids(first..first + 10);
        let mut cursor = bench.cursor(&SinkId::mqtt());
        let rows = cursor.read(100).unwrap();
        cursor.acknowledge(rows[acknowledged - 1].end());
        locks.push(folder.join("journal.db.lock"));
    }
    std::fs::copy(&locks[1], &locks[0]).unwrap();
    let bench = Bench::open(&file_config(&config, 1000));
    assert_eq!(
        ids(&bench.cursor(&SinkId::mqtt()).read(100).unwrap()).len(),
        10
    );
}

#[test]
fn sequences_go_on_though_everything_was_delivered_and_pruned() {
    let folder = tempfile::tempdir().unwrap();
    let config = config::Journal {
        history: Duration::ZERO,
        ..file_config(folder.path(), 1000)
    };
    let mut end = Position::default();
    for sinks in [&[SinkId::mqtt()][..], &[], &both()] {
        let mut bench = Bench::open_for(&config, sinks).unwrap();
        assert_eq!(bench.status().end, end);
        bench.append_ids(1..21);
        for sink in sinks {
            let mut cursor = bench.cursor(sink);
            drain(&mut bench, &mut cursor);
        }
        bench.keep_house();
        assert_eq!(bench.status().stored, 1);
        end = bench.status().end;
        bench.close().unwrap();
    }
    assert_eq!((end.sequence, end.total), (60, 60));
}

#[test]
fn a_sink_that_was_disabled_begins_with_what_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = file_config(folder.path(), 1000);
    let mut bench = Bench::open(&config);
    bench.append_ids(1..11);
    drop(bench);
    // Without it, nobody needs the rows.
    config.history = Duration::ZERO;
    let mut bench = Bench::open_for(&config, &[SinkId::mqtt()]).unwrap();
    let mut cursor = bench.cursor(&SinkId::mqtt());
    assert_eq!(drain(&mut bench, &mut cursor).len(), 10);
    bench.keep_house();
    drop((bench, cursor));

    let mut bench = Bench::open(&config);
    assert_eq!(bench.dropped(&SinkId::influxdb()), 0);
    let mut cursor = bench.cursor(&SinkId::influxdb());
    assert_eq!(drain(&mut bench, &mut cursor), [10]);
    assert_eq!(bench.dropped(&SinkId::influxdb()), 0);
}

#[test]
fn a_full_journal_drops_the_oldest_and_counts_each_message() {
    let mut bench = Bench::open(&config(JournalPath::Memory, 10));
    let mut mqtt = bench.cursor(&SinkId::mqtt());
    bench.append((1..=4).map(|id| packet(id, 2)).collect());
    let in_flight = mqtt.read(4).unwrap();
    assert_eq!(ids(&in_flight), [1, 2]);
    // Rows 1 to 5 go: two are in the sink's hands, three it never saw.
    bench.append((5..=10).map(|id| packet(id, 2)).collect());
    assert_eq!(
        (
            bench.dropped(&SinkId::mqtt()),
            bench.dropped(&SinkId::influxdb())
        ),
        (6, 10)
    );
    assert_eq!(
        (
            bench.depth(&SinkId::mqtt()),
            bench.depth(&SinkId::influxdb())
        ),
        (10, 10)
    );
    assert_eq!(bench.status().stored, 10);
    // The first is delivered after all, the second is lost with the connection.
    mqtt.acknowledge(in_flight[0].end());
    mqtt.rewind();
    assert_eq!(
        (bench.dropped(&SinkId::mqtt()), bench.depth(&SinkId::mqtt())),
        (8, 10)
    );
    assert_eq!(drain(&mut bench, &mut mqtt), [6, 7, 8, 9, 10]);
    assert_eq!(
        (bench.dropped(&SinkId::mqtt()), bench.depth(&SinkId::mqtt())),
        (8, 0)
    );
    assert_eq!(mqtt.unjournaled(), 0);
}

#[test]
fn a_gap_that_is_read_again_is_counted_once() {
    let mut bench = Bench::open(&config(JournalPath::Memory, 5));
    let mut mqtt = bench.cursor(&SinkId::mqtt());
    bench.append_ids(1..11);
    for _ in 0..3 {
        assert_eq!(ids(&mqtt.read(100).unwrap()), [6, 7, 8, 9, 10]);
        assert_eq!(bench.dropped(&SinkId::mqtt()), 5);
        assert_eq!(mqtt.unjournaled(), 5);
        mqtt.rewind();
    }
}

#[test]
fn the_size_in_bytes_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let config = config::Journal {
        max_bytes: Some(200_000),
        ..file_config(folder.path(), u64::MAX)
    };
    let mut bench = Bench::open(&config);
    for chunk in 0..100 {
        bench.append((0..50).map(|index| packet(chunk * 50 + index, 5)).collect());
        let stored = bench.status().stored;
        assert!(
            chunk < 50 || (2_000..10_000).contains(&stored),
            "{stored} at {chunk}"
        );
    }
    bench.close().unwrap();
    let length = folder.path().join("journal.db").metadata().unwrap().len();
    assert!(length < 300_000, "{length}");
}

#[test]
fn history_stays_until_it_is_old_and_only_delivered_rows_go() {
    let mut config = config(JournalPath::Memory, 1000);
    let mut bench = Bench::open(&config);
    let mut mqtt = bench.cursor(&SinkId::mqtt());
    bench.append(vec![Packet {
        received: Timestamp::now(),
        ..packet(1, 1)
    }]);
    drain_any(&mut bench, &mut mqtt);
    bench.keep_house();
    assert_eq!(bench.status().stored, 1);

    config.history = Duration::ZERO;
    let mut bench = Bench::open(&config);
    let (mut mqtt, mut influxdb) = (
        bench.cursor(&SinkId::mqtt()),
        bench.cursor(&SinkId::influxdb()),
    );
    bench.append_ids(1..2000);
    drain_any(&mut bench, &mut mqtt);
    bench.keep_house();
    assert_eq!(bench.status().stored, 1000);
    let rows = influxdb.read(300).unwrap();
    influxdb.acknowledge(rows.last().unwrap().end());
    // Not before the file knows of it.
    bench.keep_house();
    assert_eq!(bench.status().stored, 1000);
    bench.step();
    bench.keep_house();
    assert_eq!(bench.status().stored, 700);
    assert_eq!(
        bench.dropped(&SinkId::mqtt()) + bench.dropped(&SinkId::influxdb()),
        2 * 999
    );
}

fn drain_any(bench: &mut Bench, cursor: &mut Cursor) {
    while let Some(last) = cursor.read(100).unwrap().last() {
        cursor.acknowledge(last.end());
        bench.step();
    }
}

#[test]
fn the_file_shrinks_after_a_backlog() {
    let folder = tempfile::tempdir().unwrap();
    let config = config::Journal {
        history: Duration::ZERO,
        ..file_config(folder.path(), 1_000_000)
    };
    let path = folder.path().join("journal.db");
    let mut bench = Bench::open_for(&config, &[SinkId::mqtt()]).unwrap();
    for chunk in 0..30 {
        bench.append(
            (0..1000)
                .map(|index| packet(chunk * 1000 + index, 10))
                .collect(),
        );
    }
    let mut cursor = bench.cursor(&SinkId::mqtt());
    drain_any(&mut bench, &mut cursor);
    for _ in 0..100 {
        bench.keep_house();
    }
    bench.close().unwrap();
    let length = path.metadata().unwrap().len();
    assert!(length < 5_000_000, "{length}");
}

#[test]
fn two_processes_cannot_share_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let config = file_config(folder.path(), 1000);
    let bench = Bench::open(&config);
    let message = Bench::try_open(&config).err().unwrap().to_string();
    assert!(
        message.contains("journal.db is in use by another fieldgate"),
        "{message}"
    );
    #[cfg(unix)]
    {
        let link = folder.path().join("link.db");
        std::os::unix::fs::symlink(folder.path().join("journal.db"), &link).unwrap();
        let linked = super::config(JournalPath::File(link), 1000);
        assert!(matches!(
            Bench::try_open(&linked),
            Err(JournalError::InUse { .. })
        ));
    }
    drop(bench);
    Bench::open(&config);
}

#[test]
fn databases_of_others_and_of_later_versions_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    let config = file_config(folder.path(), 1000);
    Connection::open(&path)
        .unwrap()
        .execute_batch("CREATE TABLE t (x)")
        .unwrap();
    let before = std::fs::read(&path).unwrap();
    assert!(matches!(
        Bench::try_open(&config),
        Err(JournalError::Foreign { .. })
    ));
    assert_eq!(std::fs::read(&path).unwrap(), before);

    std::fs::remove_file(&path).unwrap();
    Bench::open(&config).close().unwrap();
    Connection::open(&path)
        .unwrap()
        .execute_batch("PRAGMA user_version = 196611")
        .unwrap();
    let newer = Bench::try_open(&config).err().unwrap();
    assert!(matches!(
        newer,
        JournalError::Newer {
            found: 3,
            known: 2,
            ..
        }
    ));
    assert!(damaged_files(folder.path()).is_empty());
}

#[test]
fn what_is_missing_is_made_and_what_cannot_be_made_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let deep = folder.path().join("a/b/journal.db");
    let bench = Bench::open(&config(JournalPath::File(deep.clone()), 10));
    assert_eq!(bench.status().state, JournalState::File);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(deep.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
    let below_a_file = config(JournalPath::File(deep.join("journal.db")), 10);
    let message = Bench::try_open(&below_a_file).err().unwrap().to_string();
    assert!(message.contains("a/b/journal.db"), "{message}");
}

#[test]
fn anyone_can_query_readings_and_rejections() {
    let folder = tempfile::tempdir().unwrap();
    let mut bench = Bench::open(&file_config(folder.path(), 1000));
    bench.append(vec![packet(1, 2), packet(2, 1)]);
    let mut cursor = bench.cursor(&SinkId::influxdb());
    let rows = cursor.read(100).unwrap();
    cursor.reject(vec![Rejection {
        sink: SinkId::influxdb(),
        source: "source".into(),
        sequence: rows[0].sequence,
        event_time: rows[0].event_time,
        reading: rows[0].readings[1].clone(),
        reason: "field type conflict".to_owned(),
    }]);
    cursor.acknowledge(rows[0].end());
    bench.step();
    let database = Connection::open(folder.path().join("journal.db")).unwrap();
    let text = |sql: &str| -> String { database.query_row(sql, [], |row| row.get(0)).unwrap() };
    let readings = text(
        "SELECT group_concat(sequence || node || metric || value || received || event_time, ' ')
         FROM readings",
    );
    assert_eq!(
        readings,
        "1node1metric01.018 1node1metric11.018 2node1metric02.029"
    );
    let rejected = text(
        "SELECT sink || sequence || event_time || node || metric || value || reason FROM rejected",
    );
    assert_eq!(rejected, "influxdb18node1metric11.0field type conflict");
    assert_eq!(text("SELECT source FROM packets"), "source");
}

#[test]
fn rejections_are_bounded_as_messages_are() {
    let mut bench = Bench::open(&config(JournalPath::Memory, 30));
    bench.append(vec![packet(1, 20)]);
    let mut cursor = bench.cursor(&SinkId::influxdb());
    let rows = cursor.read(100).unwrap();
    for _ in 0..3 {
        let rejection = |reading: &Reading| Rejection {
            sink: SinkId::influxdb(),
            source: "source".into(),
            sequence: 1,
            event_time: rows[0].event_time,
            reading: reading.clone(),
            reason: "no".to_owned(),
        };
        cursor.reject(rows[0].readings.iter().map(rejection).collect());
        bench.step();
    }
    let tiers = bench.writer.shared().tiers();
    let store = lock_store(tiers.memory.as_ref().unwrap());
    let sql = "SELECT min(id) || '-' || max(id) FROM rejected";
    let kept: String = store
        .connection()
        .query_row(sql, [], |row| row.get(0))
        .unwrap();
    assert_eq!(kept, "31-60");
}

#[test]
fn a_cursor_wakes_for_rows_and_for_committed_acknowledgements() {
    let mut bench = Bench::open(&config(JournalPath::Memory, 1000));
    let mut cursor = bench.cursor(&SinkId::mqtt());
    assert!(cursor.available().now_or_never().is_none());
    bench.give(vec![packet(1, 1)]);
    assert!(cursor.available().now_or_never().is_none());
    bench.step();
    assert!(cursor.available().now_or_never().is_some());
    let rows = cursor.read(10).unwrap();
    assert!(cursor.available().now_or_never().is_none());
    cursor.acknowledge(rows[0].end());
    assert!(cursor.acknowledgement_committed().now_or_never().is_none());
    bench.step();
    assert!(cursor.acknowledgement_committed().now_or_never().is_some());
    assert!(cursor.acknowledgement_committed().now_or_never().is_none());
}

#[test]
fn a_sink_has_one_cursor_at_a_time() {
    let bench = Bench::open_for(&config(JournalPath::Memory, 10), &[SinkId::mqtt()]).unwrap();
    let open = |sink: SinkId| Cursor::open(Arc::clone(bench.writer.shared()), &sink);
    assert!(matches!(
        open(SinkId::influxdb()),
        Err(JournalError::NotEnabled(sink)) if sink == SinkId::influxdb()
    ));
    let cursor = open(SinkId::mqtt()).unwrap();
    assert!(
        matches!(open(SinkId::mqtt()), Err(JournalError::CursorInUse(sink)) if sink == SinkId::mqtt())
    );
    drop(cursor);
    open(SinkId::mqtt()).unwrap();
}

#[tokio::test]
async fn everything_appended_is_in_the_file_after_close() {
    let folder = tempfile::tempdir().unwrap();
    let config = config::Journal {
        durability: Durability::Full,
        ..file_config(folder.path(), 1_000_000)
    };
    let journal = Journal::open(&config, &from_oldest(&[SinkId::mqtt()])).unwrap();
    let other = journal.clone();
    for id in 0..500 {
        journal
            .append(&"source".into(), vec![packet(id, 2), packet(id, 0)])
            .await
            .unwrap();
    }
    let end = journal.settle().await;
    assert_eq!((end.sequence, end.total), (500, 1000));
    journal
        .append(&"source".into(), vec![packet(500, 2)])
        .await
        .unwrap();
    journal.close().await.unwrap();
    assert!(matches!(
        other.append(&"source".into(), vec![packet(1, 1)]).await,
        Err(JournalError::Closed)
    ));
    assert_eq!(other.status().state, JournalState::Closed);
    let bench = Bench::open_for(&config, &[SinkId::mqtt()]).unwrap();
    assert_eq!(bench.depth(&SinkId::mqtt()), 1002);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_journal_in_memory_works_under_load_and_stays_small() {
    let journal = Journal::open(&config(JournalPath::Memory, 1000), &from_oldest(&both())).unwrap();
    let mut mqtt = journal.cursor(&SinkId::mqtt()).unwrap();
    let reader = tokio::spawn(async move {
        let mut delivered = 0;
        let mut last = 0;
        while last < 60_000 {
            mqtt.available().await;
            for row in mqtt.read(100).unwrap() {
                assert!(row.sequence > last);
                assert_eq!(u64::from(id(&row)), row.sequence);
                last = row.sequence;
                delivered += row.readings.len() as u64;
                mqtt.acknowledge(row.end());
            }
        }
        delivered
    });
    for first in (1..=60_000).step_by(10) {
        let packets = (first..first + 10).map(|id| packet(id, 1)).collect();
        journal.append(&"source".into(), packets).await.unwrap();
        assert!(journal.status().stored <= 1000);
    }
    assert_eq!(journal.settle().await.total, 60_000);
    let delivered = reader.await.unwrap();
    let status = journal.status();
    let (mqtt, influxdb) = (
        status.sink(&SinkId::mqtt()).unwrap(),
        status.sink(&SinkId::influxdb()).unwrap(),
    );
    assert_eq!((mqtt.depth, mqtt.dropped), (0, 60_000 - delivered));
    assert_eq!((influxdb.depth, influxdb.dropped), (1000, 59_000));
    journal.close().await.unwrap();
}
