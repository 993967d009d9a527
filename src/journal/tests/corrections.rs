//! Times that were taken from a clock which was set since.

use std::time::Duration;

use super::*;
use crate::telemetry::TimeShift;

const HOUR: i64 = 3_600_000_000_000;

const FORWARD: TimeShift = TimeShift {
    received: HOUR,
    arrival: HOUR,
    event_time: HOUR,
};

/// Sequences and times of all rows that a cursor has before it.
fn times(cursor: &mut Cursor) -> Vec<(u64, i64, i64)> {
    let rows = cursor.read(1_000).unwrap();
    rows.iter()
        .map(|row| (row.sequence, row.received.0, row.event_time.0))
        .collect()
}

fn expected(ids: std::ops::RangeInclusive<i64>, moved: i64) -> Vec<(u64, i64, i64)> {
    ids.map(|id| (id.unsigned_abs(), id + moved, id + 7 + moved))
        .collect()
}

#[test]
fn what_this_run_took_in_before_moves_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    for path in [
        JournalPath::Memory,
        JournalPath::File(folder.path().join("journal.db")),
    ] {
        let is_file = path != JournalPath::Memory;
        let config = config(path, 10_000);
        let mut earlier = 0;
        if is_file {
            let mut bench = Bench::open(&config);
            bench.append_ids(1..4);
            bench.close().unwrap();
            earlier = 3;
        }
        let first = earlier + 1;
        let mut bench = Bench::open(&config);
        // More than are moved at once, the last of them not yet written, and what comes after.
        bench.append_ids(first..1_300);
        bench.give(vec![packet(1_300, 1)]);
        bench
            .writer
            .shared()
            .inbox
            .correct(&"source".into(), FORWARD);
        bench.give(vec![packet(1_301, 1)]);
        bench.step();
        let mut cursor = bench.cursor(&SinkId::mqtt());
        let mut all = times(&mut cursor);
        all.extend(times(&mut cursor));
        let mut wanted = expected(1..=i64::from(earlier), 0);
        wanted.extend(expected(i64::from(first)..=1_300, HOUR));
        wanted.extend(expected(1_301..=1_301, 0));
        assert_eq!(all, wanted);
    }
}

#[test]
fn a_sink_gets_other_times_for_what_it_reads_again() {
    let mut bench = Bench::open(&config(JournalPath::Memory, 1_000));
    bench.append_ids(1..5);
    let (mut fast, mut slow) = (
        bench.cursor(&SinkId::mqtt()),
        bench.cursor(&SinkId::influxdb()),
    );
    let rows = fast.read(100).unwrap();
    fast.acknowledge(rows[1].end());
    assert_eq!(times(&mut slow).len(), 4);
    bench.step();
    bench
        .writer
        .shared()
        .inbox
        .correct(&"source".into(), FORWARD);
    bench
        .writer
        .shared()
        .inbox
        .correct(&"source".into(), TimeShift::of_reception(1));
    bench.step();
    fast.rewind();
    slow.rewind();
    let moved = |ids| {
        let rows = expected(ids, HOUR);
        rows.into_iter()
            .map(|(row, received, time)| (row, received + 1, time))
            .collect::<Vec<_>>()
    };
    assert_eq!(times(&mut fast), moved(3..=4));
    assert_eq!(times(&mut slow), moved(1..=4));
}

#[test]
fn acknowledgements_stay_where_they_are_through_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let config = file_config(folder.path(), 1_000);
    let mut bench = Bench::open(&config);
    bench.append_ids(1..11);
    let mut cursor = bench.cursor(&SinkId::mqtt());
    let rows = cursor.read(100).unwrap();
    cursor.acknowledge(rows[4].end());
    bench.step();
    bench
        .writer
        .shared()
        .inbox
        .correct(&"source".into(), FORWARD);
    bench.step();
    drop((cursor, bench));
    let bench = Bench::open(&config);
    let mut cursor = bench.cursor(&SinkId::mqtt());
    assert_eq!(times(&mut cursor), expected(6..=10, HOUR));
}

#[test]
fn a_file_that_cannot_be_written_is_corrected_when_it_can() {
    let folder = tempfile::tempdir().unwrap();
    let config = file_config(folder.path(), 100_000);
    let mut bench = Bench::open(&config);
    bench.append_ids(1..11);
    bench.writer.file.as_ref().unwrap().limit_pages(1);
    let mut last = 11;
    while bench.status().state == crate::journal::JournalState::File {
        bench.append_ids(last..last + 100);
        last += 100;
    }
    bench
        .writer
        .shared()
        .inbox
        .correct(&"source".into(), FORWARD);
    bench.step();
    bench.writer.file.as_ref().unwrap().limit_pages(1_000_000);
    bench.writer.retry_now();
    bench.append_ids(last..last + 1);
    bench.keep_house();
    let mut cursor = bench.cursor(&SinkId::mqtt());
    let mut all = Vec::new();
    loop {
        let rows = times(&mut cursor);
        if rows.is_empty() {
            break;
        }
        all.extend(rows);
    }
    let mut wanted = expected(1..=i64::from(last) - 1, HOUR);
    wanted.extend(expected(i64::from(last)..=i64::from(last), 0));
    assert_eq!(all, wanted);
}

#[test]
fn nothing_is_pruned_while_times_wait_for_the_clock() {
    let mut config = config(JournalPath::Memory, 1_000);
    config.history = Duration::from_hours(1);
    let mut bench = Bench::open_for(&config, &[]).unwrap();
    let now = Timestamp::now();
    let mut recent = packet(1, 1);
    // By a clock that was an hour and a half behind when it was read.
    recent.received = now.plus_millis(-5_400_000);
    bench.append(vec![recent, packet(2, 1)]);
    bench.writer.distrusted_until = Some(Instant::now() + DAY);
    bench.keep_house();
    assert_eq!(bench.status().stored, 2);
    bench
        .writer
        .shared()
        .inbox
        .correct(&"source".into(), TimeShift::of_reception(5_400_000_000_000));
    bench.step();
    bench.keep_house();
    assert_eq!(bench.status().stored, 2);
    bench.writer.shared().inbox.correct(
        &"source".into(),
        TimeShift::of_reception(-5_400_000_000_000),
    );
    bench.step();
    bench.keep_house();
    assert_eq!(bench.status().stored, 1);
}

#[test]
fn a_time_that_was_told_stays_where_the_time_of_arrival_moves() {
    let folder = tempfile::tempdir().unwrap();
    let mut bench = Bench::open(&file_config(folder.path(), 1_000));
    let [mut arrived, mut told, mut waits] = [1, 2, 3].map(|id| packet(id, 1));
    for packet in [&mut arrived, &mut told, &mut waits] {
        packet.received = Timestamp(5 * HOUR);
        packet.event_time = packet.received;
    }
    told.event_time = Timestamp(4 * HOUR);
    bench.append(vec![arrived, told]);
    bench.give(vec![waits]);
    let back = TimeShift::of_arrivals(-HOUR);
    bench.writer.shared().inbox.correct(&"source".into(), back);
    bench.step();
    let hours = |at: i64| at / HOUR;
    let moved = times(&mut bench.cursor(&SinkId::mqtt()));
    let moved: Vec<_> = moved
        .into_iter()
        .map(|(row, received, time)| (row, hours(received), hours(time)))
        .collect();
    assert_eq!(moved, [(1, 4, 4), (2, 4, 4), (3, 4, 4)]);
}
