//! `fieldgate audit`: compares the journal with what a database holds, hour by hour, and sends what is
//! missing there.

mod due;
mod report;

use std::collections::{BTreeMap, HashSet};
use std::io::{self, IsTerminal};
use std::ops::Range;
use std::time::Duration;

use anyhow::{anyhow, bail};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{sink, time_or_age};
use crate::cli::AuditArguments;
use crate::config::{self, Config, Environment, Influxdb, JournalPath};
use crate::journal::{Archive, Position, REFUSED, RejectedTable};
use crate::monitor::SinkId;
use crate::sink::influx::line::{LineFormat, Series};
use crate::sink::influx::query::{Inquiry, Point, QueryError};
use crate::sink::influx::{Client, write_apart};
use crate::telemetry::{MetricTable, Name, Reading, Timestamp};
use due::{Difference, Due, Terms};
use report::{Repair, Report, Totals};

/// Something is missing.
const MISSING: u8 = 1;

const HOUR: i64 = 3_600_000_000_000;

const MILLISECOND: i64 = 1_000_000;

/// What a database has taken can be seen there so much later.
const VISIBLE_WITHIN: Duration = Duration::from_mins(2);

/// How often what cannot be seen yet is asked for again, and how long after.
const LOOKS: usize = 5;
const PAUSE: Duration = Duration::from_secs(1);

/// Compares, and sends if that is asked for; returns the exit code. An error says that nothing is known.
pub fn audit(arguments: &AuditArguments) -> anyhow::Result<u8> {
    let config = config::load(&arguments.journal.overrides(), &Environment::of_process())?;
    let sink = sink(&arguments.sink, &config)?;
    let database = database(&config, &sink)?;
    let JournalPath::File(path) = &config.journal.path else {
        bail!("the journal is in the memory of the gateway alone; there is no file to read");
    };
    let now = whole_millis(Timestamp::now());
    let since = time_or_age("--since", &arguments.since, now)?;
    let archive = Archive::open(path)?;
    let acknowledged = acknowledged(&archive, &sink)?;
    let format = LineFormat::new(database.gateway.as_deref());
    let format = format.with_source(config.sources.len() > 1);
    let refused = refused(&RejectedTable::open(path)?, &sink)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let client = Client::new(&database)?;
        let (client, server) = reach(client, &database).await?;
        let inquiry = Inquiry::begin(&client, &format, now).await?;
        let oldest = archive.oldest()?.unwrap_or(now);
        let language = inquiry.language();
        let mut audit = Audit {
            archive,
            client: &client,
            inquiry,
            metrics: config.metric_table(),
            batch: database.max_batch_size,
            repairs: arguments.repair,
            now,
            terms: Terms {
                language,
                format: &format,
                choice: &database.sink.choice,
                acknowledged,
                refused,
                oldest,
            },
            report: Report {
                is_json: arguments.json,
                totals: Totals::default(),
                refusal: None,
            },
        };
        let begin = whole_millis(since.max(Timestamp(0)));
        audit.report.begin(&format!(
            "{sink}: {server}, asked in {}, from {begin} to {now}",
            language.name()
        ))?;
        // Before the first reading there is nothing to compare, hour by hour. Which one that is, only a look at
        // all rows tells.
        let begin = if begin < oldest {
            let earliest = audit.archive.earliest()?.unwrap_or(now);
            begin.max(whole_millis(earliest).min(now))
        } else {
            begin
        };
        audit.run(begin..now).await
    })
}

/// The settings of the database.
fn database(config: &Config, sink: &SinkId) -> anyhow::Result<Influxdb> {
    let mut databases = config.influxdb.iter();
    let meant = databases.find(|it| SinkId::database(&it.sink.name) == *sink);
    meant.cloned().ok_or_else(|| {
        anyhow!("{sink} is no database of this configuration; only what a database holds can be compared")
    })
}

fn whole_millis(time: Timestamp) -> Timestamp {
    Timestamp(time.0.div_euclid(MILLISECOND) * MILLISECOND)
}

/// How far the sink is.
fn acknowledged(archive: &Archive, sink: &SinkId) -> anyhow::Result<Position> {
    let all = archive.acknowledged();
    let found = all.iter().find(|(name, _)| name == sink.as_str());
    let (_, position) = found.ok_or_else(|| anyhow!("{sink} has read nothing of this journal"))?;
    Ok(*position)
}

/// What the server refused for good: the table is bounded.
fn refused(
    table: &RejectedTable,
    sink: &SinkId,
) -> anyhow::Result<HashSet<(Name, Name, Timestamp)>> {
    let mut refused = HashSet::new();
    table.visit(|entry| {
        if entry.reason_name == REFUSED
            && entry.sink.as_deref() == Some(sink.as_str())
            && let (Some(reading), Some(time)) = (entry.reading, entry.event_time)
        {
            refused.insert((reading.node, reading.metric, time));
        }
        true
    })?;
    Ok(refused)
}

/// The first of the database's servers that can be reached, and what it is.
async fn reach(first: Client, database: &Influxdb) -> anyhow::Result<(Client, String)> {
    let mut reason = match first.server().await {
        Ok(server) => return Ok((first, server.description)),
        Err(answer) => format!("{}: {}", database.url, answer.reason()),
    };
    for config in database.each().skip(1) {
        let client = Client::new(&config)?;
        match client.server().await {
            Ok(server) => return Ok((client, server.description)),
            Err(answer) => reason = format!("{}: {}", config.url, answer.reason()),
        }
    }
    bail!("the database cannot be reached: {reason}")
}

struct Audit<'a> {
    archive: Archive,
    client: &'a Client,
    inquiry: Inquiry<'a>,
    metrics: MetricTable,
    /// Points in one write.
    batch: usize,
    repairs: bool,
    now: Timestamp,
    terms: Terms<'a>,
    report: Report,
}

impl Audit<'_> {
    async fn run(&mut self, times: Range<Timestamp>) -> anyhow::Result<u8> {
        let progress = progress_bar(&times);
        let mut begin = times.start;
        while begin < times.end {
            let end = Timestamp((begin.0.div_euclid(HOUR) + 1) * HOUR).min(times.end);
            self.look_at(begin..end).await?;
            let done = (end.0 - times.start.0) / MILLISECOND;
            progress.set_position(done.unsigned_abs());
            begin = end;
        }
        progress.finish_and_clear();
        self.report.end()?;
        Ok(if self.report.lacks() { MISSING } else { 0 })
    }

    /// Compares an hour, in parts where it holds more than fits into memory.
    async fn look_at(&mut self, hour: Range<Timestamp>) -> anyhow::Result<()> {
        let mut stretches = vec![hour];
        while let Some(times) = stretches.pop() {
            let due = Due::read(&self.archive, &times, &self.terms)?;
            let is_done = match due {
                Some(due) if due.is_moot(&times, &self.terms) => true,
                Some(due) => self.compare(&times, &due).await?,
                None => false,
            };
            if !is_done {
                let middle = times.start.0 + (times.end.0 - times.start.0) / 2;
                let middle = whole_millis(Timestamp(middle));
                if middle == times.start {
                    bail!("more readings at {middle} than can be compared");
                }
                stretches.extend([middle..times.end, times.start..middle]);
            }
        }
        Ok(())
    }

    /// Compares a stretch; false: the server answers with too much.
    async fn compare(&mut self, times: &Range<Timestamp>, due: &Due) -> anyhow::Result<bool> {
        let Some(mut found) = self.differences(times, due, times.end, 0).await? else {
            return Ok(false);
        };
        let before: BTreeMap<Series, u64> = lacking(&found).collect();
        let mut after = BTreeMap::new();
        if self.repairs && !before.is_empty() {
            let refused = self.send(&found).await?;
            let Some(left) = self.differences(times, due, self.now, refused).await? else {
                return Ok(false);
            };
            after = lacking(&left).collect();
        }
        self.report.totals.compared += due.len();
        while let Some((series, found)) = found.pop_first() {
            let lacked = before.get(&series).copied().unwrap_or_default();
            let lacks = after.get(&series).copied().unwrap_or_default();
            let unseen = lacks.min(lacked);
            let repair = self.repairs.then_some(Repair {
                repaired: lacked - unseen,
                unseen,
            });
            let repair = repair.unwrap_or_default();
            self.report.add(times.start, &series, &found, repair)?;
        }
        Ok(true)
    }

    /// How each series differs; `None`: the server answers with too much. What was written a moment before
    /// `written` may not be seen yet, and is asked for again unless no more is missing than was refused.
    async fn differences(
        &self,
        times: &Range<Timestamp>,
        due: &Due,
        written: Timestamp,
        refused: u64,
    ) -> anyhow::Result<Option<BTreeMap<Series, Difference>>> {
        let is_recent = self.now.since(written) < VISIBLE_WITHIN;
        let mut looks = 1;
        loop {
            let held: Vec<Point> = match self.inquiry.points(times).await {
                Ok(held) => held,
                Err(QueryError::TooMuch) => return Ok(None),
                Err(error) => return Err(cannot_tell(error)),
            };
            let found = due.compare(held, &self.terms);
            let lacking: u64 = lacking(&found).map(|(_, count)| count).sum();
            if !is_recent || looks == LOOKS || lacking <= refused {
                return Ok(Some(found));
            }
            looks += 1;
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Sends what is missing, and nothing else; returns how much the server refuses, which holds up nothing
    /// else.
    async fn send(&mut self, found: &BTreeMap<Series, Difference>) -> anyhow::Result<u64> {
        let points = found.iter().flat_map(|(series, found)| {
            let points = found.to_send();
            points.map(move |point| (series, point))
        });
        let points: Vec<_> = points.collect();
        let reading = |(series, (_, value)): &(&Series, (Timestamp, f64))| Reading {
            node: series.node.clone(),
            metric: series.metric.clone(),
            value: *value,
        };
        let readings: Vec<Reading> = points.iter().map(reading).collect();
        let format = self.terms.format;
        let push = |lines: &mut String, at: usize| {
            let (series, point) = points[at];
            let sensor_type = self.metrics.sensor_type(&series.metric);
            format.push_value(lines, series, point, sensor_type);
        };
        let sent = write_apart(self.client, &readings, self.batch, push).await;
        let refused = sent.map_err(|answer| {
            let reason = answer.reason();
            anyhow!("what is missing cannot be sent: {reason}")
        })?;
        let count = refused.len() as u64;
        if let Some((_, words)) = refused.into_iter().next() {
            self.report.refusal.get_or_insert(words);
        }
        Ok(count)
    }
}

fn cannot_tell(error: QueryError) -> anyhow::Error {
    anyhow::Error::new(error).context("the database does not say what it holds")
}

/// The series that lack something, and how much.
fn lacking(found: &BTreeMap<Series, Difference>) -> impl Iterator<Item = (Series, u64)> {
    let lacking = found.iter().filter(|(_, found)| found.lacking() > 0);
    lacking.map(|(series, found)| (series.clone(), found.lacking()))
}

fn progress_bar(times: &Range<Timestamp>) -> ProgressBar {
    // A bar between the lines on one terminal would spoil both.
    let target = if io::stdout().is_terminal() {
        ProgressDrawTarget::hidden()
    } else {
        ProgressDrawTarget::stderr()
    };
    let length = (times.end.0 - times.start.0) / MILLISECOND;
    let style = ProgressStyle::with_template("{wide_bar} {percent} %, {eta} left");
    let bar = ProgressBar::with_draw_target(Some(length.unsigned_abs()), target);
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
