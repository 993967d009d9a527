//! `fieldgate view`: the terminal UI over a journal that was copied from a gateway.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use anyhow::bail;

use super::screen;
use crate::cli::ViewArguments;
use crate::journal::{Archive, JournalError, JournalState, JournalStatus, Position, SinkBacklog};
use crate::monitor::{
    Activity, Asker, Command, HistoryPoint, HistoryQuery, LinkId, LinkState, Monitor, Observer,
    Reply, Sight, Snapshot, SourceMonitor,
};
use crate::telemetry::{Packet, Timestamp};

/// Shows a journal until the user has seen enough of it.
pub fn view(arguments: &ViewArguments) -> anyhow::Result<()> {
    if !screen::has_terminal() {
        bail!("view needs a terminal; without one, fieldgate export writes the journal as text");
    }
    let path = arguments.journal.clone();
    let archive = Archive::open_still(&path)?;
    screen::show(&arguments.appearance, async || {
        let past = Past {
            path: path.clone(),
            snapshot: Arc::default(),
        };
        let place = Arc::clone(&past.snapshot);
        tokio::task::spawn_blocking(move || {
            let snapshot = read(archive, path.display().to_string());
            place.get_or_init(|| Arc::new(snapshot));
        });
        let past: Arc<dyn Observer> = Arc::new(past);
        Ok(vec![past])
    })
}

/// A journal as it is observed: everything stands still at its last packet.
struct Past {
    path: PathBuf,
    /// There once all of it was read.
    snapshot: Arc<OnceLock<Arc<Snapshot>>>,
}

impl Observer for Past {
    fn sight(&self) -> Sight {
        let path = self.path.display().to_string();
        Sight::Past { path }
    }

    fn snapshot(&self) -> Option<Arc<Snapshot>> {
        self.snapshot.get().cloned()
    }

    fn history(&self, query: HistoryQuery) -> Reply<Vec<HistoryPoint>> {
        let path = self.path.clone();
        let read = move || Archive::open_still(&path)?.history(&query);
        Box::pin(async move {
            let read = tokio::task::spawn_blocking(read).await;
            let history = read.map_err(|error| error.to_string())?;
            history.map_err(|error: JournalError| error.to_string())
        })
    }

    fn command(&self, _: Command, _: Asker) -> Reply<()> {
        Box::pin(async { Err("this is a journal, there is no gateway".to_owned()) })
    }
}

/// All that a journal says, at the time of its last packet. What cannot be read is told in its notice.
fn read(mut archive: Archive, path: String) -> Snapshot {
    let acknowledged: Vec<(LinkId, Position)> = archive
        .acknowledged()
        .into_iter()
        .filter_map(|(sink, position)| Some((sink.parse().ok()?, position)))
        .collect();
    let sinks = acknowledged.iter().map(|(sink, _)| sink.clone());
    let links: Vec<LinkId> = std::iter::once(LinkId::source()).chain(sinks).collect();
    let monitor = Arc::new(Monitor::new(
        Arc::default(),
        Activity::default(),
        links.clone(),
    ));
    monitor.set_peer(&LinkId::source(), path);
    for link in &links {
        monitor.set_link(link, LinkState::Ended);
    }
    let (ends, notice) = record(&mut archive, &monitor.source(&LinkId::source()));
    let mut journal = JournalStatus {
        state: JournalState::File,
        since: ends.last,
        notice,
        end: ends.end,
        stored: ends.end.total - ends.before,
        max_messages: (ends.end.total - ends.before).max(1),
        rejected_dropped: 0,
        write_bytes: None,
        sinks: Vec::new(),
    };
    journal
        .sinks
        .extend(acknowledged.iter().filter_map(|(link, position)| {
            Some(SinkBacklog {
                sink: link.sink()?,
                depth: ends.end.total.saturating_sub(position.total),
                dropped: 0,
                acknowledged: *position,
                again: 0,
            })
        }));
    let mut snapshot = monitor.snapshot(journal);
    (snapshot.started, snapshot.taken) = (ends.first, ends.last);
    snapshot.source.since = ends.last;
    for source in &mut snapshot.sources {
        source.link.since = ends.last;
    }
    for sink in &mut snapshot.sinks {
        sink.link.since = ends.last;
    }
    snapshot
}

/// Where a journal begins and ends.
#[derive(Default)]
struct Ends {
    first: Timestamp,
    last: Timestamp,
    /// Messages before its first row.
    before: u64,
    end: Position,
}

/// Reports all packets, as far as they can be read.
fn record(archive: &mut Archive, source: &SourceMonitor) -> (Ends, Option<String>) {
    let mut ends: Option<Ends> = None;
    loop {
        let rows = match archive.read() {
            Ok(rows) if rows.is_empty() => return (ends.unwrap_or_default(), None),
            Ok(rows) => rows,
            Err(error) => return (ends.unwrap_or_default(), Some(error.to_string())),
        };
        let packets: Vec<Packet> = rows
            .iter()
            .map(|row| Packet {
                received: row.received,
                event_time: row.event_time,
                readings: row.readings.clone(),
            })
            .collect();
        source
            .counters()
            .packets_processed
            .add(packets.len() as u64);
        source.record(&packets);
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else {
            return (ends.unwrap_or_default(), None);
        };
        let ends = ends.get_or_insert_with(|| Ends {
            first: first.received,
            before: first.total - first.readings.len() as u64,
            ..Ends::default()
        });
        ends.last = last.received.max(last.event_time);
        ends.end = last.end();
    }
}
