//! Going back: what was delivered is delivered again, once, whatever happens in between.

use super::*;
use crate::journal::{self, Position};
use crate::monitor::RewindTo;

/// The place before the packet with this id; each has one reading.
fn before(id: u32) -> Position {
    let place = u64::from(id) - 1;
    Position {
        sequence: place,
        total: place,
    }
}

fn again(bench: &Bench, sink: &SinkId) -> u64 {
    bench.status().sink(sink).unwrap().again
}

#[test]
fn a_sink_that_goes_back_delivers_again_in_order_and_the_others_notice_nothing() {
    for path in [None, Some(JournalPath::Memory)] {
        let folder = tempfile::tempdir().unwrap();
        let config = path.map_or_else(
            || file_config(folder.path(), 1_000),
            |path| config(path, 1_000),
        );
        let mut bench = Bench::open(&config);
        let [mqtt, influxdb] = both();
        let (mut broker, mut database) = (bench.cursor(&mqtt), bench.cursor(&influxdb));
        bench.append_ids(1..11);
        drain(&mut bench, &mut broker);
        drain(&mut bench, &mut database);
        // Something is under way, and something is new.
        bench.append_ids(11..13);
        assert_eq!(ids(&database.read(50).unwrap()), [11, 12]);
        database.take_back(1, before(4));
        bench.step();
        assert_eq!(database.taken_back(), 1);
        assert_eq!((again(&bench, &influxdb), bench.depth(&influxdb)), (7, 9));
        assert_eq!((again(&bench, &mqtt), bench.depth(&mqtt)), (0, 2));
        // Nothing that waits to be sent again leaves for its age.
        bench.keep_house();
        assert_eq!(
            drain(&mut bench, &mut database),
            (4..13).collect::<Vec<_>>()
        );
        assert_eq!((again(&bench, &influxdb), bench.depth(&influxdb)), (0, 0));
        assert_eq!((bench.dropped(&influxdb), bench.dropped(&mqtt)), (0, 0));
    }
}

#[test]
fn going_back_outlives_a_crash_once_it_is_committed() {
    let folder = tempfile::tempdir().unwrap();
    let config = file_config(folder.path(), 1_000);
    let [_, influxdb] = both();
    let mut bench = Bench::open(&config);
    let mut cursor = bench.cursor(&influxdb);
    bench.append_ids(1..11);
    drain(&mut bench, &mut cursor);
    // A mark is further on than the database knows.
    bench.append_ids(11..12);
    let row = cursor.read(1).unwrap().remove(0);
    cursor.acknowledge(row.end());
    cursor.take_back(1, before(3));
    bench.step();
    drop((cursor, bench));
    let mut bench = Bench::open(&config);
    assert_eq!(bench.depth(&influxdb), 9);
    let mut cursor = bench.cursor(&influxdb);
    assert_eq!(drain(&mut bench, &mut cursor), (3..12).collect::<Vec<_>>());
}

#[test]
fn what_was_lost_is_counted_once_however_often_a_sink_goes_back() {
    let mut bench = Bench::open(&config(JournalPath::Memory, 10));
    let [mqtt, _] = both();
    let mut cursor = bench.cursor(&mqtt);
    bench.append_ids(1..21);
    assert_eq!(bench.dropped(&mqtt), 10);
    assert_eq!(drain(&mut bench, &mut cursor), (11..21).collect::<Vec<_>>());
    for number in 1..4 {
        // Further back than what is there.
        cursor.take_back(number, before(5));
        bench.step();
        assert_eq!((bench.dropped(&mqtt), again(&bench, &mqtt)), (10, 10));
        assert_eq!(drain(&mut bench, &mut cursor), (11..21).collect::<Vec<_>>());
        assert_eq!((bench.dropped(&mqtt), again(&bench, &mqtt)), (10, 0));
    }
}

#[test]
fn a_journal_without_a_gateway_is_taken_back_as_one_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let config = file_config(folder.path(), 10);
    let path = folder.path().join("journal.db");
    let [mqtt, influxdb] = both();
    let take_back =
        |sink: &SinkId, time| journal::take_back(&path, sink, RewindTo::Time(Timestamp(time)));
    assert!(matches!(
        take_back(&mqtt, 1),
        Err(JournalError::File { .. })
    ));
    let mut bench = Bench::open(&config);
    let (mut broker, mut database) = (bench.cursor(&mqtt), bench.cursor(&influxdb));
    bench.append_ids(1..21);
    drain(&mut bench, &mut broker);
    drain(&mut bench, &mut database);
    let in_use = take_back(&mqtt, 15);
    assert!(matches!(in_use, Err(JournalError::InUse { .. })));
    drop((broker, database));
    bench.close().unwrap();
    // A packet is measured 7 after it is received here; the first that is asked for comes with it.
    let words = take_back(&mqtt, 3).unwrap_err().to_string();
    assert!(
        words.contains("goes back to 1970-01-01T00:00:00.000"),
        "{words}"
    );
    assert_eq!(take_back(&mqtt, 22).unwrap(), 6);
    assert_eq!(take_back(&mqtt, 1_000).unwrap(), 0);
    let all = journal::take_back(&path, &influxdb, RewindTo::Oldest);
    assert_eq!(all.unwrap(), 10);
    let other = "influxdb other".parse::<crate::monitor::LinkId>().unwrap();
    let words = take_back(&other.sink().unwrap(), 22)
        .unwrap_err()
        .to_string();
    assert!(words.ends_with("these have: influxdb, mqtt"), "{words}");
    let mut bench = Bench::open(&config);
    let (mut broker, mut database) = (bench.cursor(&mqtt), bench.cursor(&influxdb));
    assert_eq!(drain(&mut bench, &mut broker), (15..21).collect::<Vec<_>>());
    assert_eq!(
        drain(&mut bench, &mut database),
        (11..21).collect::<Vec<_>>()
    );
}
