//! A disk that is full, a file that cannot be replaced.

use super::*;
use crate::journal::{JournalState, Rejection};

/// A packet that fills a page.
fn large(id: u32) -> Packet {
    packet(id, 200)
}

fn fill(bench: &Bench) {
    bench.writer.file.as_ref().unwrap().limit_pages(1);
}

fn make_room(bench: &mut Bench) {
    bench
        .writer
        .file
        .as_ref()
        .unwrap()
        .limit_pages(u32::MAX - 1);
    bench.writer.retry_now();
    bench.step();
}

fn is_fallback(bench: &Bench) -> bool {
    matches!(bench.status().state, JournalState::Fallback { ref reason } if reason == "disk full")
}

#[test]
fn on_a_full_disk_everything_goes_on_in_memory_and_into_the_file_later() {
    let folder = tempfile::tempdir().unwrap();
    let config = file_config(folder.path(), 100_000);
    let mut bench = Bench::open(&config);
    bench.append((1..=10).map(large).collect());
    let mut mqtt = bench.cursor(&SinkId::mqtt());
    assert_eq!(ids(&mqtt.read(1000).unwrap()), [1, 2, 3, 4, 5]);
    fill(&bench);
    bench.append((11..=20).map(large).collect());
    assert!(is_fallback(&bench));
    assert!(
        bench
            .status()
            .notice
            .unwrap()
            .contains("journal.db: disk full")
    );
    bench.append((21..=22).map(large).collect());
    // From the file into memory without a seam.
    assert_eq!(ids(&mqtt.read(2000).unwrap()), (6..=15).collect::<Vec<_>>());
    let rows = mqtt.read(800).unwrap();
    assert_eq!(ids(&rows), [16, 17, 18, 19]);
    mqtt.acknowledge(rows[1].end());
    bench.step();
    assert_eq!(mqtt.unjournaled(), 400);
    assert_eq!(
        (
            bench.depth(&SinkId::mqtt()),
            bench.depth(&SinkId::influxdb())
        ),
        (1000, 4400)
    );
    make_room(&mut bench);
    assert_eq!(bench.status().state, JournalState::File);
    bench.append(vec![large(23)]);
    assert_eq!(drain(&mut bench, &mut mqtt), [20, 21, 22, 23]);
    drop((bench, mqtt));

    let mut bench = Bench::open(&config);
    let mut influxdb = bench.cursor(&SinkId::influxdb());
    assert_eq!(
        drain(&mut bench, &mut influxdb),
        (1..=23).collect::<Vec<_>>()
    );
    assert_eq!(
        (
            bench.dropped(&SinkId::influxdb()),
            bench.depth(&SinkId::mqtt())
        ),
        (0, 0)
    );
}

#[test]
fn rejections_on_a_full_disk_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let mut bench = Bench::open(&file_config(folder.path(), 100_000));
    fill(&bench);
    bench.append((1..=3).map(large).collect());
    let mut cursor = bench.cursor(&SinkId::influxdb());
    let rows = cursor.read(200).unwrap();
    let rejection = |reading: &Reading| Rejection {
        sink: SinkId::influxdb(),
        source: "source".into(),
        sequence: rows[0].sequence,
        event_time: rows[0].event_time,
        reading: reading.clone(),
        reason: "no".to_owned(),
    };
    cursor.reject(rows[0].readings.iter().map(rejection).collect());
    bench.step();
    make_room(&mut bench);
    let file = bench.writer.file.as_ref().unwrap();
    let count: i64 = file
        .connection()
        .query_row("SELECT count(*) FROM rejected", [], |row| row.get(0))
        .unwrap();
    assert_eq!(count, 200);
}

#[test]
fn what_memory_cannot_hold_is_counted_between_file_and_memory() {
    let folder = tempfile::tempdir().unwrap();
    let mut bench = Bench::open(&file_config(folder.path(), 1000));
    bench.append((1..=4).map(large).collect());
    let mut mqtt = bench.cursor(&SinkId::mqtt());
    assert_eq!(ids(&mqtt.read(400).unwrap()), [1, 2]);
    fill(&bench);
    for id in 5..=20 {
        bench.append(vec![large(id)]);
    }
    assert!(is_fallback(&bench));
    // In the file 1 to 4, in memory 16 to 20.
    assert_eq!(
        (
            bench.dropped(&SinkId::mqtt()),
            bench.dropped(&SinkId::influxdb())
        ),
        (2200, 2200)
    );
    assert_eq!(
        (
            bench.depth(&SinkId::mqtt()),
            bench.depth(&SinkId::influxdb())
        ),
        (1800, 1800)
    );
    assert_eq!(ids(&mqtt.read(10_000).unwrap()), [3, 4, 16, 17, 18, 19, 20]);
    assert_eq!(bench.dropped(&SinkId::mqtt()), 2200);
    mqtt.rewind();
    assert_eq!(bench.dropped(&SinkId::mqtt()), 2200);
    make_room(&mut bench);
    assert_eq!(bench.status().stored, 1000);
    assert_eq!(
        (bench.dropped(&SinkId::mqtt()), bench.depth(&SinkId::mqtt())),
        (3000, 1000)
    );
    assert_eq!(drain(&mut bench, &mut mqtt), [16, 17, 18, 19, 20]);
    assert_eq!(
        (bench.dropped(&SinkId::mqtt()), bench.depth(&SinkId::mqtt())),
        (3000, 0)
    );
}

#[test]
fn delivered_history_makes_room_on_a_full_disk() {
    let folder = tempfile::tempdir().unwrap();
    let config = config::Journal {
        history: 100_000 * DAY,
        ..file_config(folder.path(), 100_000)
    };
    let mut bench = Bench::open_for(&config, &[SinkId::mqtt()]).unwrap();
    bench.append((1..=30).map(large).collect());
    let mut mqtt = bench.cursor(&SinkId::mqtt());
    assert_eq!(drain(&mut bench, &mut mqtt).len(), 30);
    fill(&bench);
    bench.append((31..=40).map(large).collect());
    assert!(is_fallback(&bench));
    for _ in 0..2 {
        bench.writer.retry_now();
        bench.step();
    }
    assert_eq!(bench.status().state, JournalState::File);
    assert_eq!(drain(&mut bench, &mut mqtt), (31..=40).collect::<Vec<_>>());
    assert_eq!(bench.dropped(&SinkId::mqtt()), 0);
}

#[test]
fn closing_on_a_full_disk_says_what_is_lost_and_sequences_are_not_used_again() {
    let folder = tempfile::tempdir().unwrap();
    let config = file_config(folder.path(), 100_000);
    let mut bench = Bench::open(&config);
    fill(&bench);
    bench.append((1..=10).map(large).collect());
    let mut mqtt = bench.cursor(&SinkId::mqtt());
    let rows = mqtt.read(1000).unwrap();
    mqtt.acknowledge(rows.last().unwrap().end());
    drop(mqtt);
    let message = bench.close().unwrap_err().to_string();
    assert!(
        message.starts_with("2000 messages could not be written"),
        "{message}"
    );

    let mut bench = Bench::open(&config);
    assert_eq!(bench.status().end.sequence, 10);
    bench.append(vec![large(11)]);
    let (mut mqtt, mut influxdb) = (
        bench.cursor(&SinkId::mqtt()),
        bench.cursor(&SinkId::influxdb()),
    );
    assert_eq!(drain(&mut bench, &mut mqtt), [11]);
    assert_eq!(drain(&mut bench, &mut influxdb), [11]);
    assert_eq!(
        (
            bench.dropped(&SinkId::mqtt()),
            bench.dropped(&SinkId::influxdb())
        ),
        (1000, 2000)
    );
}

/// Rows that never reached the file leave a cursor with an end that it cannot read up to.
#[test]
fn a_cursor_does_not_wait_for_rows_that_are_lost() {
    use futures_util::FutureExt;
    let folder = tempfile::tempdir().unwrap();
    let config = file_config(folder.path(), 100_000);
    let mut bench = Bench::open(&config);
    fill(&bench);
    bench.append(vec![large(1), large(2)]);
    let mut mqtt = bench.cursor(&SinkId::mqtt());
    let rows = mqtt.read(1000).unwrap();
    mqtt.acknowledge(rows[1].end());
    drop(mqtt);
    bench.close().unwrap_err();

    let bench = Bench::open(&config);
    let mut influxdb = bench.cursor(&SinkId::influxdb());
    assert_eq!(influxdb.read(1000).unwrap(), []);
    assert!(influxdb.available().now_or_never().is_none());
    assert_eq!(
        (
            bench.dropped(&SinkId::influxdb()),
            bench.depth(&SinkId::influxdb())
        ),
        (400, 0)
    );
    assert_eq!(influxdb.unjournaled(), 0);
}
