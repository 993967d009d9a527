//! `fieldgate view`: the terminal UI over a journal that was copied from a gateway.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::bail;

use super::screen;
use crate::cli::ViewArguments;
use crate::journal::{
    Archive, JournalError, JournalState, JournalStatus, Position, RejectedTable, Row, SinkBacklog,
};
use crate::monitor::{
    Activity, Asker, Command, HistoryPoint, HistoryQuery, KnownNode, LinkId, LinkKind, LinkState,
    Monitor, NodeRules, Nodes, Numbered, Observer, Reply, Sight, Snapshot, SourceMonitor,
    TrafficEntry, TrafficKind,
};
use crate::telemetry::{Hearing, Name, Packet, RejectReason, Remote, Signal, Timestamp};

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
            seen: Arc::default(),
        };
        let place = Arc::clone(&past.seen);
        tokio::task::spawn_blocking(move || {
            let seen = read(archive, &path);
            place.get_or_init(|| seen);
        });
        let past: Arc<dyn Observer> = Arc::new(past);
        Ok(vec![past])
    })
}

/// A journal as it is observed: everything stands still at its last packet.
struct Past {
    path: PathBuf,
    /// There once all of it was read.
    seen: Arc<OnceLock<Seen>>,
}

/// What was read of a journal.
struct Seen {
    snapshot: Arc<Snapshot>,
    /// Holds what was set aside.
    monitor: Arc<Monitor>,
}

impl Observer for Past {
    fn sight(&self) -> Sight {
        let path = self.path.display().to_string();
        Sight::Past { path }
    }

    fn snapshot(&self) -> Option<Arc<Snapshot>> {
        Some(Arc::clone(&self.seen.get()?.snapshot))
    }

    /// What was set aside: a journal has no other frames.
    fn traffic_since(&self, number: u64) -> Vec<Numbered<TrafficEntry>> {
        let seen = self.seen.get();
        seen.map_or_else(Vec::new, |seen| seen.monitor.activity.traffic.since(number))
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
fn read(mut archive: Archive, path: &Path) -> Seen {
    let acknowledged: Vec<(LinkId, Position)> = archive
        .acknowledged()
        .into_iter()
        .filter_map(|(sink, position)| Some((sink.parse().ok()?, position)))
        .collect();
    let sinks = acknowledged.iter().map(|(sink, _)| sink.clone());
    let (known, unreadable) = match archive.nodes() {
        Ok(known) => (known, None),
        Err(error) => (Vec::new(), Some(error)),
    };
    let mut record = Record::new(sinks.collect(), known);
    let broken = record.take_all(&mut archive);
    let unshown = show_rejected(path, &record).err();
    let notice = broken
        .or(unreadable)
        .or(unshown)
        .map(|error| error.to_string());
    let ends = record.ends.unwrap_or_default();
    let journal = journal_status(&ends, &acknowledged, notice);
    let monitor = record.monitor;
    if record.sources.is_empty() {
        monitor.source(&LinkId::source());
    }
    for (link, _) in monitor.snapshot(journal.clone()).links() {
        monitor.set_link(&link, LinkState::Ended);
        if link.sink().is_none() {
            monitor.set_peer(&link, path.display().to_string());
        }
    }
    let mut snapshot = monitor.snapshot(journal);
    snapshot.nodes = record.nodes.all();
    (snapshot.started, snapshot.taken) = (ends.first, ends.last);
    snapshot.source.since = ends.last;
    for source in &mut snapshot.sources {
        source.link.since = ends.last;
    }
    for sink in &mut snapshot.sinks {
        sink.link.since = ends.last;
    }
    Seen {
        snapshot: Arc::new(snapshot),
        monitor,
    }
}

/// The journal as it was when its last packet came.
fn journal_status(
    ends: &Ends,
    acknowledged: &[(LinkId, Position)],
    notice: Option<String>,
) -> JournalStatus {
    let backlogs = acknowledged.iter().filter_map(|(link, position)| {
        Some(SinkBacklog {
            sink: link.sink()?,
            depth: ends.end.total.saturating_sub(position.total),
            dropped: 0,
            acknowledged: *position,
            again: 0,
        })
    });
    JournalStatus {
        state: JournalState::File,
        since: ends.last,
        notice,
        end: ends.end,
        stored: ends.end.total - ends.before,
        max_messages: (ends.end.total - ends.before).max(1),
        rejected_dropped: 0,
        write_bytes: None,
        sinks: backlogs.collect(),
    }
}

/// Where a journal begins and ends.
#[derive(Clone, Copy, Default)]
struct Ends {
    first: Timestamp,
    last: Timestamp,
    /// Messages before its first row.
    before: u64,
    end: Position,
}

/// What the packets of a journal say, as far as they were read.
struct Record {
    monitor: Arc<Monitor>,
    sources: BTreeMap<Name, SourceMonitor>,
    /// As the journal knows them.
    names: BTreeSet<Name>,
    nodes: Nodes,
    ends: Option<Ends>,
}

impl Record {
    fn new(links: Vec<LinkId>, known: Vec<KnownNode>) -> Self {
        let monitor = Monitor::new(Arc::default(), Activity::default(), links);
        let names = known.iter().map(|known| known.node.clone()).collect();
        let mut nodes = Nodes::new(NodeRules::default());
        nodes.restore(known, Duration::ZERO, Timestamp::default());
        Self {
            monitor: Arc::new(monitor),
            sources: BTreeMap::new(),
            names,
            nodes,
            ends: None,
        }
    }

    /// Takes in all packets that can be read; returns what is wrong with the others.
    fn take_all(&mut self, archive: &mut Archive) -> Option<JournalError> {
        let broken = loop {
            match archive.read() {
                Ok(rows) if rows.is_empty() => break None,
                Ok(rows) => rows.iter().for_each(|row| self.take(row)),
                Err(error) => break Some(error),
            }
        };
        if let Some(ends) = self.ends {
            self.nodes.advance(ends.last.since(ends.first), ends.last);
        }
        broken
    }

    fn take(&mut self, row: &Row) {
        let ends = self.ends.get_or_insert_with(|| Ends {
            first: row.received,
            before: row.total - row.readings.len() as u64,
            ..Ends::default()
        });
        ends.last = row.received.max(row.event_time);
        ends.end = row.end();
        let since = row.received.since(ends.first);
        let link = || LinkId::new(LinkKind::Source, row.source.as_str());
        let source = self
            .sources
            .entry(row.source.clone())
            .or_insert_with(|| self.monitor.source(&link()));
        source.counters().packets_processed.increment();
        source.record(&[Packet {
            received: row.received,
            event_time: row.event_time,
            readings: row.readings.clone(),
        }]);
        let hearing = Hearing {
            received: row.received,
            event_time: row.event_time,
            board: row.source.as_str().into(),
            nodes: self.nodes_in(row),
            remote: Remote::Unclear,
            signal: Signal::default(),
            is_numbered: false,
        };
        self.nodes.hear(&hearing, since);
    }

    /// The nodes that readings are of. Where there were several sources, they are known by theirs as well.
    fn nodes_in(&self, row: &Row) -> Vec<Name> {
        let mut nodes: Vec<Name> = Vec::new();
        for reading in &row.readings {
            let of_source = Name::new(&format!("{} {}", row.source, reading.node));
            let known = [of_source, reading.node.clone()];
            let known = known.into_iter().find(|name| self.names.contains(name));
            nodes.extend(known.filter(|name| !nodes.contains(name)));
        }
        nodes
    }
}

/// Shows what was set aside as it arrived, the last of it. Of which of several sources that was, an earlier
/// version did not note.
fn show_rejected(path: &Path, record: &Record) -> Result<(), JournalError> {
    let only = record.sources.keys().next();
    let only = only.filter(|_| record.sources.len() == 1);
    let unnoted = only.map_or_else(|| Name::new("–"), Clone::clone);
    let traffic = &record.monitor.activity.traffic;
    RejectedTable::open_still(path)?.visit(|entry| {
        let all = RejectReason::of_frames().chain(RejectReason::of_readings());
        let reason = all.into_iter().find(|it| it.name() == entry.reason_name);
        if let (Some(reason), Some(frame)) = (reason, entry.frame) {
            let source = entry.source;
            traffic.push(TrafficEntry {
                source: source.map_or_else(|| unnoted.clone(), |name| Name::new(&name)),
                at: entry.received.unwrap_or(entry.rejected_at),
                kind: TrafficKind::Rejected {
                    reason,
                    broke_at_end: false,
                    place: None,
                },
                bytes: frame.into(),
                nodes: Arc::default(),
            });
        }
        true
    })
}
