//! Flipped bits, missing pieces, files that are something else.

use super::both;
use std::ops::Range;
use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use crate::journal::JournalState;

const ROWS: u32 = 400;
const MQTT_HAS: u32 = 100;
const INFLUXDB_HAS: u32 = 250;

/// A file with its log, as a crash leaves them, and the same after a close.
struct CrashedFile {
    closed: Vec<u8>,
    crashed: Vec<u8>,
    log: Vec<u8>,
}

static SAMPLE: LazyLock<CrashedFile> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let config = file_config(folder.path(), 100_000);
    let mut bench = Bench::open(&config);
    for first in (1..=ROWS).step_by(20) {
        let rows = first..first + 20;
        bench.append(rows.map(|id| packet(id, id as usize % 9 + 1)).collect());
    }
    for (sink, count) in [
        (SinkId::mqtt(), MQTT_HAS),
        (SinkId::influxdb(), INFLUXDB_HAS),
    ] {
        let mut cursor = bench.cursor(&sink);
        let rows = cursor.read(1_000_000).unwrap();
        cursor.acknowledge(rows[count as usize - 1].end());
        bench.step();
    }
    let file = |suffix| std::fs::read(folder.path().join(format!("journal.db{suffix}"))).unwrap();
    let (crashed, log) = (file(""), file("-wal"));
    bench.close().unwrap();
    CrashedFile {
        closed: file(""),
        crashed,
        log,
    }
});

#[derive(Debug, Clone)]
enum Damage {
    Flip(prop::sample::Index, u8),
    Zeros(prop::sample::Index, usize),
    Cut(prop::sample::Index),
}

impl Damage {
    fn apply(&self, bytes: &mut Vec<u8>) {
        let size = bytes.len();
        match self {
            Self::Flip(at, mask) => bytes[at.index(size)] ^= mask,
            Self::Zeros(at, length) => {
                let at = at.index(size);
                bytes[at..size.min(at + length)].fill(0);
            }
            Self::Cut(at) => bytes.truncate(at.index(size).max(1)),
        }
    }
}

fn damage() -> impl Strategy<Value = Vec<Damage>> {
    let place = any::<prop::sample::Index>;
    let one = prop_oneof![
        6 => (place(), 1..=255_u8).prop_map(|(at, mask)| Damage::Flip(at, mask)),
        2 => (place(), 1..5000_usize).prop_map(|(at, length)| Damage::Zeros(at, length)),
        1 => place().prop_map(Damage::Cut),
    ];
    prop::collection::vec(one, 1..6)
}

/// Reads and acknowledges all there is, over files that turn out to be damaged.
fn drain_over_damage(bench: &mut Bench, cursor: &mut Cursor) -> Vec<u32> {
    let mut all = Vec::new();
    for _ in 0..1000 {
        match cursor.read(50) {
            Ok(rows) if rows.is_empty() => return all,
            Ok(rows) => {
                cursor.acknowledge(rows.last().unwrap().end());
                all.extend(ids(&rows));
            }
            Err(_) => {}
        }
        bench.step();
    }
    panic!("the journal does not come to its end");
}

/// What must hold for a damaged file, whatever the damage. Returns what the sinks got of its rows.
fn check(folder: &Path, damaged: &[u8]) -> Option<[Vec<u32>; 2]> {
    let path = folder.join("journal.db");
    let mut bench = match Bench::try_open(&file_config(folder, 100_000)) {
        Ok(bench) => bench,
        // To the journal it looks as if it were none of its business.
        Err(JournalError::Newer { .. } | JournalError::Foreign { .. }) => {
            assert_eq!(std::fs::read(path).unwrap(), damaged);
            return None;
        }
        Err(error) => panic!("{error}"),
    };
    let start = bench.status();
    let appended = |ids: Range<u32>| ids.map(|id| packet(id, id as usize % 9 + 1)).collect();
    // These may go into a page that is damaged without a sign.
    bench.append(appended(1001..1021));
    let mut got = both().map(|sink| {
        let mut cursor = bench.cursor(&sink);
        drain_over_damage(&mut bench, &mut cursor)
    });
    // These come when all is known.
    bench.append(appended(2001..2021));
    for (sink, got) in both().iter().zip(&mut got) {
        let mut cursor = bench.cursor(sink);
        assert_eq!(
            drain(&mut bench, &mut cursor),
            (2001..2021).collect::<Vec<_>>()
        );
        assert!(got.is_sorted_by(|a, b| a < b));
        let count = |id: u32| u64::from(id % 9 + 1);
        let delivered: u64 = got.iter().copied().chain(2001..2021).map(count).sum();
        let status = bench.status();
        let backlog = status.sink(sink).unwrap();
        let start = start.sink(sink).unwrap().acknowledged;
        assert_eq!(delivered + backlog.dropped, status.end.total - start.total);
        assert_eq!(backlog.depth, 0);
        let new = got.split_off(got.partition_point(|id| *id <= 1000));
        assert!(new.len() == 20 || status.notice.is_some());
    }
    let status = bench.status();
    assert_eq!(status.state, JournalState::File);
    let moved = damaged_files(folder);
    assert_eq!(moved.is_empty(), status.notice.is_none());
    if let [moved, ..] = &moved[..] {
        assert_eq!(std::fs::read(moved).unwrap(), damaged);
    }
    Some(got)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_damaged_file_is_noticed_kept_and_replaced(damage in damage()) {
        let folder = tempfile::tempdir().unwrap();
        let mut bytes = SAMPLE.closed.clone();
        for damage in damage {
            damage.apply(&mut bytes);
        }
        std::fs::write(folder.path().join("journal.db"), &bytes).unwrap();
        let Some([mqtt, influxdb]) = check(folder.path(), &bytes) else { return Ok(()) };
        // Nothing is missing without a word: no file aside, no row missing.
        if damaged_files(folder.path()).is_empty() {
            prop_assert_eq!(mqtt, (MQTT_HAS + 1..=ROWS).collect::<Vec<_>>());
            prop_assert_eq!(influxdb, (INFLUXDB_HAS + 1..=ROWS).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_damaged_log_never_yields_a_wrong_row(damage in damage()) {
        let folder = tempfile::tempdir().unwrap();
        let mut log = SAMPLE.log.clone();
        for damage in damage {
            damage.apply(&mut log);
        }
        std::fs::write(folder.path().join("journal.db"), &SAMPLE.crashed).unwrap();
        std::fs::write(folder.path().join("journal.db-wal"), log).unwrap();
        check(folder.path(), &SAMPLE.crashed);
    }
}

#[test]
fn an_undamaged_file_and_log_are_read_whole() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("journal.db"), &SAMPLE.crashed).unwrap();
    std::fs::write(folder.path().join("journal.db-wal"), &SAMPLE.log).unwrap();
    let [mqtt, influxdb] = check(folder.path(), &SAMPLE.crashed).unwrap();
    assert_eq!(mqtt, (MQTT_HAS + 1..=ROWS).collect::<Vec<_>>());
    assert_eq!(influxdb, (INFLUXDB_HAS + 1..=ROWS).collect::<Vec<_>>());
}

#[test]
fn one_flipped_bit_in_a_value_costs_one_row() {
    let folder = tempfile::tempdir().unwrap();
    let mut bytes = SAMPLE.closed.clone();
    let place = bytes
        .windows(15)
        .position(|window| window == b"\"metric0\":300.0")
        .unwrap();
    bytes[place + 10] = b'9';
    std::fs::write(folder.path().join("journal.db"), &bytes).unwrap();
    let [mqtt, influxdb] = check(folder.path(), &bytes).unwrap();
    let without = |from: u32| (from..=ROWS).filter(|id| *id != 300).collect::<Vec<_>>();
    assert_eq!(mqtt, without(MQTT_HAS + 1));
    assert_eq!(influxdb, without(INFLUXDB_HAS + 1));
    assert_eq!(damaged_files(folder.path()).len(), 1);
}

#[test]
fn a_page_of_zeros_costs_the_rows_around_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut bytes = SAMPLE.closed.clone();
    let place = bytes
        .windows(15)
        .position(|window| window == b"\"metric0\":300.0")
        .unwrap();
    let page = place / 4096 * 4096;
    bytes[page..page + 4096].fill(0);
    std::fs::write(folder.path().join("journal.db"), &bytes).unwrap();
    let [mqtt, _] = check(folder.path(), &bytes).unwrap();
    assert!(mqtt.len() > 200 && !mqtt.contains(&300), "{mqtt:?}");
    assert_eq!((mqtt.first(), mqtt.last()), (Some(&101), Some(&400)));
}

#[test]
fn what_is_no_database_is_moved_aside() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    std::fs::write(&path, b"no database at all ".repeat(1000)).unwrap();
    let bench = Bench::open(&file_config(folder.path(), 10));
    let notice = bench.status().notice.unwrap();
    let moved = damaged_files(folder.path());
    assert!(notice.contains(&*moved[0].to_string_lossy()), "{notice}");
    assert_eq!(std::fs::read(&moved[0]).unwrap().len(), 19_000);
}

#[test]
fn a_journal_that_was_emptied_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let config = file_config(folder.path(), 10);
    let bench = Bench::open(&config);
    assert_eq!(bench.status().notice, None);
    bench.close().unwrap();
    std::fs::write(folder.path().join("journal.db"), b"").unwrap();
    let bench = Bench::open(&config);
    assert!(bench.status().notice.unwrap().contains("was empty or gone"));
}

#[test]
fn a_file_that_cannot_be_replaced_leaves_the_journal_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("journal");
    let mut bench = Bench::open(&file_config(&place, 100_000));
    bench.append_ids(1..11);
    let mut mqtt = bench.cursor(&SinkId::mqtt());
    let rows = mqtt.read(5).unwrap();
    mqtt.acknowledge(rows[4].end());
    bench.step();
    // As if it were damaged where it is, and its folder could not be written to.
    bench.writer.place = None;
    std::fs::remove_dir_all(&place).unwrap();
    bench
        .writer
        .shared()
        .inbox
        .report_damage(1, "a test says so".to_owned());
    bench.append_ids(11..21);
    assert!(matches!(
        bench.status().state,
        JournalState::Fallback { .. }
    ));
    assert_eq!(drain(&mut bench, &mut mqtt), (11..21).collect::<Vec<_>>());
    assert_eq!(bench.dropped(&SinkId::mqtt()), 5);

    std::fs::create_dir(&place).unwrap();
    bench.writer.retry_now();
    bench.append_ids(21..31);
    assert_eq!(bench.status().state, JournalState::File);
    assert_eq!(drain(&mut bench, &mut mqtt), (21..31).collect::<Vec<_>>());
    let mut influxdb = bench.cursor(&SinkId::influxdb());
    assert_eq!(
        drain(&mut bench, &mut influxdb),
        (11..31).collect::<Vec<_>>()
    );
    assert_eq!(
        (
            bench.dropped(&SinkId::mqtt()),
            bench.dropped(&SinkId::influxdb())
        ),
        (5, 10)
    );
    assert_eq!(bench.status().end.total, 30);
}
