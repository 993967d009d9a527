//! `fieldgate rejected`: what was set aside, what servers refused, and sending it on after all.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::bail;
use serde::Serialize;

use super::{print, time_or_age};
use crate::cli::RejectedArguments;
use crate::config::{self, Config, Environment, JournalPath};
use crate::escape::{escape, escape_text};
use crate::journal::{RejectedEntry, RejectedTable};
use crate::telemetry::{Decoder, Name, Reading, ShortestValue, Timestamp};

/// How long a gateway that runs may take until it takes up what it is asked for.
const PATIENCE: Duration = Duration::from_secs(3);

/// Characters of a frame, or of a server's words, in a line of the list.
const EXCERPT: usize = 100;

/// Lists what was rejected, or has some of it sent on. Returns whether all of that can be.
pub fn rejected(arguments: &RejectedArguments) -> anyhow::Result<bool> {
    let config = config::load(&arguments.journal.overrides(), &Environment::of_process())?;
    let JournalPath::File(path) = &config.journal.path else {
        bail!("the journal is in the memory of the gateway alone; there is no file to read");
    };
    if arguments.deliver.is_empty() {
        list(path, arguments, &mut Decoders::new(&config))?;
        return Ok(true);
    }
    deliver(path, &arguments.deliver, &config)
}

/// What reads frames, by the source that they came from.
struct Decoders<'a> {
    config: &'a Config,
    by_source: BTreeMap<Option<String>, Decoder>,
}

impl<'a> Decoders<'a> {
    fn new(config: &'a Config) -> Self {
        Self {
            config,
            by_source: BTreeMap::new(),
        }
    }

    /// Those of the first source, where nobody knows whose it is.
    fn of(&mut self, entry: &RejectedEntry) -> &mut Decoder {
        let new = || self.config.decoder(entry.source.as_deref());
        let decoder = self.by_source.entry(entry.source.clone());
        decoder.or_insert_with(new)
    }
}

/// Which entries are asked for; an empty list means all.
struct Filter {
    since: Timestamp,
    until: Timestamp,
    reasons: BTreeSet<String>,
    nodes: Vec<Name>,
}

impl Filter {
    fn new(arguments: &RejectedArguments) -> anyhow::Result<Self> {
        let now = Timestamp::now();
        let time = |flag: &str, text: &Option<String>, default: i64| match text {
            None => Ok(Timestamp(default)),
            Some(text) => time_or_age(flag, text, now),
        };
        let since = time("--since", &arguments.since, i64::MIN)?;
        let until = time("--until", &arguments.until, i64::MAX)?;
        if since >= until {
            bail!("--since must be before --until");
        }
        Ok(Self {
            since,
            until,
            reasons: arguments.reason.iter().cloned().collect(),
            nodes: arguments.node.iter().map(|name| Name::new(name)).collect(),
        })
    }

    /// `decoders` know how nodes are named.
    fn wants(&self, entry: &RejectedEntry, decoders: &mut Decoders<'_>) -> bool {
        let mut is_of_nodes = || match (&entry.reading, &entry.frame) {
            (Some(reading), _) => self.nodes.contains(&reading.node),
            (None, Some(frame)) => {
                let nodes = decoders.of(entry).nodes_in(frame);
                nodes.iter().any(|node| self.nodes.contains(node))
            }
            (None, None) => false,
        };
        (self.since..self.until).contains(&entry.rejected_at)
            && (self.reasons.is_empty() || self.reasons.contains(&entry.reason_name))
            && (self.nodes.is_empty() || is_of_nodes())
    }
}

/// Writes what is asked for, entry by entry: what is held in memory is one of them.
fn list(
    path: &Path,
    arguments: &RejectedArguments,
    decoders: &mut Decoders<'_>,
) -> anyhow::Result<()> {
    let filter = Filter::new(arguments)?;
    let table = RejectedTable::open(path)?;
    let mut output = BufWriter::new(io::stdout().lock());
    let (mut count, mut failure) = (0_u64, None);
    table.visit(|entry| {
        if !filter.wants(&entry, decoders) {
            return true;
        }
        let text = if arguments.json {
            json_line(&entry)
        } else {
            text_line(&entry)
        };
        count += 1;
        failure = output.write_all(text.as_bytes()).err();
        failure.is_none()
    })?;
    match failure.map_or_else(|| output.flush(), Err) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
        result => result?,
    }
    if count == 0 {
        eprintln!("Nothing that was rejected is in {}.", path.display());
    } else {
        eprintln!("{count} rejected; send one on after all with: fieldgate rejected --deliver ID");
    }
    Ok(())
}

/// An entry as JSON; null for what is not known.
#[derive(Serialize)]
struct JsonEntry<'a> {
    id: i64,
    rejected_at: String,
    received: Option<String>,
    event_time: Option<String>,
    source: Option<&'a str>,
    sink: Option<&'a str>,
    node: Option<&'a Name>,
    metric: Option<&'a Name>,
    value: Option<f64>,
    reason: &'a str,
    detail: &'a str,
    /// A character, U+0000 to U+00FF, for each byte, as in the API.
    frame: Option<String>,
    delivered_at: Option<String>,
    requested: bool,
}

fn json_line(entry: &RejectedEntry) -> String {
    let time = |time: Option<Timestamp>| time.map(Timestamp::to_rfc3339_nanos);
    let reading = entry.reading.as_ref();
    let frame = entry.frame.as_ref();
    let json = JsonEntry {
        id: entry.id,
        rejected_at: entry.rejected_at.to_rfc3339_nanos(),
        received: time(entry.received),
        event_time: time(entry.event_time),
        source: entry.source.as_deref(),
        sink: entry.sink.as_deref(),
        node: reading.map(|reading| &reading.node),
        metric: reading.map(|reading| &reading.metric),
        value: reading.map(|reading| reading.value),
        reason: &entry.reason_name,
        detail: &entry.reason,
        frame: frame.map(|bytes| bytes.iter().map(|byte| char::from(*byte)).collect()),
        delivered_at: time(entry.delivered_at),
        requested: entry.is_requested,
    };
    let mut line = serde_json::to_string(&json).unwrap_or_default();
    line.push('\n');
    line
}

/// `12  2026-03-01T12:00:00.000Z  syntax  node1 gas_resistance 8400: the words`.
fn text_line(entry: &RejectedEntry) -> String {
    let mut line = format!(
        "{:>6}  {}  {:<14} ",
        entry.id,
        entry.rejected_at,
        entry.sink.as_deref().unwrap_or(&entry.reason_name),
    );
    // Writing to a `String` cannot fail.
    let _infallible = match (&entry.reading, &entry.frame) {
        (Some(reading), _) => write!(
            line,
            "{} {} {}",
            reading.node,
            reading.metric,
            ShortestValue(reading.value)
        ),
        (None, Some(frame)) => write!(line, "{}", excerpt(&escape(frame))),
        (None, None) => Ok(()),
    };
    let _infallible = write!(line, ": {}", excerpt(&escape_text(&entry.reason)));
    if entry.delivered_at.is_some() {
        line.push_str(" (sent on)");
    } else if entry.is_requested {
        line.push_str(" (to be sent on)");
    }
    line.push('\n');
    line
}

fn excerpt(text: &str) -> String {
    match text.char_indices().nth(EXCERPT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Has entries sent on: those that can be. Says which cannot, and why.
fn deliver(path: &Path, ids: &[i64], config: &Config) -> anyhow::Result<bool> {
    let table = RejectedTable::open_to_ask(path)?;
    let mut decoders = Decoders::new(config);
    let mut asked = Vec::new();
    let mut is_all = true;
    for id in ids.iter().copied().collect::<BTreeSet<_>>() {
        match ask(&table, id, &mut decoders) {
            Ok(readings) => asked.push((id, readings)),
            Err(Refused::Journal(error)) => return Err(error.into()),
            Err(Refused::Entry(reason)) => {
                is_all = false;
                eprintln!("ID {id} cannot be sent on: {reason}.");
            }
        }
    }
    if asked.is_empty() {
        return Ok(false);
    }
    let readings: usize = asked.iter().map(|(_, readings)| readings).sum();
    let is_taken = wait_until_taken(&table, &asked)?;
    let how = if is_taken {
        "the gateway has taken them up and sends them to every server"
    } else {
        "they wait in the journal for the next start of the gateway"
    };
    let what = format!("{readings} readings of {} entries: {how}.\n", asked.len());
    print(what.as_bytes())?;
    Ok(is_all)
}

enum Refused {
    Journal(crate::journal::JournalError),
    Entry(String),
}

/// Asks for one entry; returns how many readings it has.
fn ask(table: &RejectedTable, id: i64, decoders: &mut Decoders<'_>) -> Result<usize, Refused> {
    let refused = |reason: &str| Refused::Entry(reason.to_owned());
    let found = table.find(id).map_err(Refused::Journal)?;
    let entry = found.ok_or_else(|| refused("there is no such entry, or not any more"))?;
    if entry.delivered_at.is_some() {
        return Err(refused("it was sent on before"));
    }
    let mut readings = readings_of(&entry, decoders.of(&entry)).map_err(Refused::Entry)?;
    // What a server refused was corrected before.
    if entry.sink.is_none() {
        let calibration = &decoders.config.telemetry.calibration;
        let calibration = calibration.of_source(entry.source.as_deref().unwrap_or_default());
        for reading in &mut readings {
            calibration.apply(reading);
        }
    }
    let time = entry
        .event_time
        .or(entry.received)
        .unwrap_or(entry.rejected_at);
    let is_new = table.ask(id, time, &readings).map_err(Refused::Journal)?;
    if is_new {
        Ok(readings.len())
    } else {
        Err(refused("it is asked for already"))
    }
}

/// What an entry has to send: its reading, or those of the whole frame.
fn readings_of(entry: &RejectedEntry, decoder: &mut Decoder) -> Result<Vec<Reading>, String> {
    if let Some(reading) = &entry.reading {
        return Ok(vec![reading.clone()]);
    }
    let frame = entry.frame.as_deref().unwrap_or_default();
    let Ok(frame) = std::str::from_utf8(frame) else {
        return Err("its frame is no telemetry: not UTF-8".to_owned());
    };
    let decoded = decoder
        .decode(frame)
        .map_err(|reason| format!("its frame is no telemetry: {}", reason.explanation()))?;
    if decoded.readings.is_empty() {
        return Err("its frame holds no readings".to_owned());
    }
    Ok(decoded.readings)
}

/// Waits a little for a gateway that runs; returns whether one took up what was asked for.
fn wait_until_taken(table: &RejectedTable, asked: &[(i64, usize)]) -> anyhow::Result<bool> {
    let end = Instant::now() + PATIENCE;
    loop {
        let mut is_taken = true;
        for (id, _) in asked {
            is_taken &= table.find(*id)?.is_none_or(|entry| !entry.is_requested);
        }
        if is_taken || Instant::now() >= end {
            return Ok(is_taken);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}
