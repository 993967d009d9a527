//! Sinks that come and go.

use rusqlite::Connection;

use super::*;
use crate::monitor::{LinkId, LinkKind};

fn cloud(begin: Begin) -> Enrolled {
    let link = LinkId::new(LinkKind::Mqtt, "cloud");
    Enrolled {
        sink: link.sink().unwrap(),
        begin,
    }
}

fn mqtt() -> Enrolled {
    Enrolled {
        sink: SinkId::mqtt(),
        begin: Begin::Now,
    }
}

impl Bench {
    fn enrol(&mut self, sinks: &[Enrolled]) {
        self.writer.shared().inbox.enrol(sinks.to_vec());
        self.step();
    }

    fn open_with(config: &config::Journal, sinks: &[Enrolled]) -> Self {
        Self {
            writer: Writer::open(config, sinks).unwrap(),
            work: Work::default(),
        }
    }

    fn read_all(&mut self, sink: &Enrolled) -> Vec<u32> {
        let mut cursor = self.cursor(&sink.sink);
        drain(self, &mut cursor)
    }
}

#[test]
fn a_new_sink_begins_now_or_with_the_oldest_in_the_history() {
    for begin in [Begin::Now, Begin::Oldest] {
        let expected = |from| match begin {
            Begin::Now => (from..21).collect::<Vec<u32>>(),
            Begin::Oldest => (1..21).collect(),
        };
        let sinks = [mqtt(), cloud(begin)];
        // At a start, and while the gateway runs.
        let folder = tempfile::tempdir().unwrap();
        let config = file_config(folder.path(), 1000);
        let mut bench = Bench::open_with(&config, &[mqtt()]);
        bench.append_ids(1..11);
        drop(bench);
        let mut bench = Bench::open_with(&config, &sinks);
        bench.append_ids(11..21);
        assert_eq!(bench.read_all(&sinks[1]), expected(11), "{begin:?}");

        let mut bench = Bench::open_with(&self::config(JournalPath::Memory, 1000), &[mqtt()]);
        bench.append_ids(1..16);
        bench.enrol(&sinks);
        bench.append_ids(16..21);
        assert_eq!(bench.read_all(&sinks[1]), expected(16), "{begin:?}");
        assert_eq!(bench.dropped(&sinks[1].sink), 0);
    }
}

#[test]
fn a_new_sink_begins_once_though_nothing_was_acknowledged_before_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let config = file_config(folder.path(), 1000);
    let sinks = [cloud(Begin::Now)];
    let mut bench = Bench::open_with(&config, &sinks);
    bench.append_ids(1..11);
    drop(bench);
    let mut bench = Bench::open_with(&config, &sinks);
    assert_eq!(bench.read_all(&sinks[0]).len(), 10);
}

#[test]
fn a_sink_that_is_gone_holds_no_row_and_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = file_config(folder.path(), 1000);
    config.history = Duration::ZERO;
    let both = [mqtt(), cloud(Begin::Now)];
    let mut bench = Bench::open_with(&config, &both);
    bench.append_ids(1..11);
    assert_eq!(bench.read_all(&both[1]).len(), 10);
    bench.append_ids(11..21);
    bench.enrol(&both[..1]);
    let status = bench.status();
    assert!(status.sink(&both[1].sink).is_none() && status.sinks.len() == 1);
    let shared = Arc::clone(bench.writer.shared());
    let refused = Cursor::open(shared, &both[1].sink);
    assert!(matches!(refused, Err(JournalError::NotEnabled(_))));
    // Back before anything has left.
    bench.enrol(&both);
    assert_eq!(bench.read_all(&both[1]), (11..21).collect::<Vec<_>>());
    // Back after that.
    bench.enrol(&both[..1]);
    bench.append_ids(21..31);
    assert_eq!(bench.read_all(&both[0]).len(), 30);
    bench.keep_house();
    assert_eq!(bench.status().stored, 1);
    bench.enrol(&both);
    assert_eq!(bench.read_all(&both[1]), [30]);
    assert_eq!(bench.dropped(&both[1].sink), 0);
}

#[test]
fn a_sink_is_forgotten_after_a_month() {
    let folder = tempfile::tempdir().unwrap();
    let config = file_config(folder.path(), 1000);
    let both = [mqtt(), cloud(Begin::Now)];
    let mut bench = Bench::open_with(&config, &both);
    bench.append_ids(1..11);
    bench.enrol(&both[..1]);
    let known = || {
        let journal = Connection::open(folder.path().join("journal.db")).unwrap();
        let count = "SELECT count(*) FROM cursors WHERE sink = 'mqtt cloud'";
        journal
            .query_row(count, [], |row| row.get::<_, i64>(0))
            .unwrap()
    };
    let look = |bench: &mut Bench, days: i64| {
        let journal = Connection::open(folder.path().join("journal.db")).unwrap();
        let earlier = "UPDATE cursors SET left_at = left_at - ?1 * 86400000000000";
        journal.execute(earlier, [days]).unwrap();
        bench.writer.forget_due = Instant::now();
        bench.keep_house();
    };
    look(&mut bench, 29);
    assert_eq!(known(), 1);
    look(&mut bench, 2);
    assert_eq!(known(), 0);
    // Nothing of what it had is known to the one that comes.
    bench.enrol(&both);
    bench.append_ids(11..13);
    assert_eq!(bench.read_all(&both[1]), [11, 12]);
    assert_eq!(bench.read_all(&both[0]).len(), 12);
}
