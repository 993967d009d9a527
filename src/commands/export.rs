//! `fieldgate export`: the history in the journal, row by row.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::Path;

use anyhow::{Context, anyhow, bail};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use crate::api::{TIME_FORMS, parse_time};
use crate::cli::{ExportArguments, ExportFormat};
use crate::config::{self, Environment, JournalPath};
use crate::journal::{Archive, Row};
use crate::sink::influx::line::LineFormat;
use crate::telemetry::{MetricTable, Name, Reading, ShortestValue, Timestamp};

/// Writes what is asked for.
pub fn export(arguments: &ExportArguments) -> anyhow::Result<()> {
    let config = config::load(&arguments.journal.overrides(), &Environment::of_process())?;
    let JournalPath::File(path) = &config.journal.path else {
        bail!("the journal is in the memory of the gateway alone; there is no file to read");
    };
    let filter = Filter::new(arguments)?;
    let archive = Archive::open(path)?;
    let metrics = config.metric_table();
    let writer = Writer {
        format: arguments.format,
        metrics: &metrics,
        lines: LineFormat::new(config.gateway.as_deref()).with_source(config.sources.len() > 1),
        text: String::new(),
    };
    let mut output: Box<dyn Write> = match &arguments.output {
        Some(path) => Box::new(create(path)?),
        None => Box::new(BufWriter::new(io::stdout().lock())),
    };
    // A bar between the lines on one terminal would spoil both.
    let shows_progress = arguments.output.is_some() || !io::stdout().is_terminal();
    match copy(archive, &filter, writer, &mut output, shows_progress) {
        Err(error) if is_broken_pipe(&error) => Ok(()),
        Err(error) => Err(error),
        Ok(count) => {
            eprintln!("Exported {count} readings from {}.", path.display());
            Ok(())
        }
    }
}

fn create(path: &Path) -> anyhow::Result<BufWriter<File>> {
    let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(BufWriter::new(file))
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let cause = error.downcast_ref::<io::Error>();
    cause.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Which readings are asked for; an empty list means all.
struct Filter {
    from: Timestamp,
    to: Timestamp,
    nodes: Vec<Name>,
    metrics: Vec<Name>,
}

impl Filter {
    fn new(arguments: &ExportArguments) -> anyhow::Result<Self> {
        let time = |flag: &str, text: &Option<String>, default: i64| match text {
            None => Ok(Timestamp(default)),
            Some(text) => {
                parse_time(text).ok_or_else(|| anyhow!("{flag} {text:?} is no time; {TIME_FORMS}"))
            }
        };
        let names = |texts: &[String]| texts.iter().map(|text| Name::new(text)).collect();
        let from = time("--from", &arguments.from, i64::MIN)?;
        let to = time("--to", &arguments.to, i64::MAX)?;
        if from >= to {
            bail!("--from must be before --to");
        }
        Ok(Self {
            from,
            to,
            nodes: names(&arguments.node),
            metrics: names(&arguments.metric),
        })
    }

    fn wants_time(&self, time: Timestamp) -> bool {
        self.from <= time && time < self.to
    }

    fn wants(&self, reading: &Reading) -> bool {
        (self.nodes.is_empty() || self.nodes.contains(&reading.node))
            && (self.metrics.is_empty() || self.metrics.contains(&reading.metric))
    }
}

/// Copies the readings that are asked for and says how many they were. What is held in memory is one
/// block of rows, however long the history.
fn copy(
    mut archive: Archive,
    filter: &Filter,
    mut writer: Writer<'_>,
    output: &mut dyn Write,
    shows_progress: bool,
) -> anyhow::Result<u64> {
    let (first, last) = archive.sequences()?.unwrap_or_default();
    let progress = progress_bar(last.saturating_sub(first), shows_progress);
    let mut count = 0;
    writer.begin();
    loop {
        let rows = archive.read()?;
        let Some(end) = rows.last().map(|row| row.sequence) else {
            break;
        };
        for row in rows.iter().filter(|row| filter.wants_time(row.event_time)) {
            for reading in row.readings.iter().filter(|reading| filter.wants(reading)) {
                writer.put(row, reading)?;
                count += 1;
            }
        }
        output.write_all(writer.text.as_bytes())?;
        writer.text.clear();
        progress.set_position(end.saturating_sub(first));
    }
    output.write_all(writer.text.as_bytes())?;
    output.flush()?;
    progress.finish_and_clear();
    Ok(count)
}

fn progress_bar(length: u64, is_shown: bool) -> ProgressBar {
    let target = if is_shown {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let style = ProgressStyle::with_template("{wide_bar} {percent} %, {eta} left");
    let bar = ProgressBar::with_draw_target(Some(length), target);
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

struct Writer<'a> {
    format: ExportFormat,
    metrics: &'a MetricTable,
    lines: LineFormat,
    text: String,
}

/// A reading as a line of JSON.
#[derive(Serialize)]
struct ExportedReading<'a> {
    time: &'a str,
    received: &'a str,
    node: &'a Name,
    metric: &'a Name,
    value: f64,
}

impl Writer<'_> {
    fn begin(&mut self) {
        if self.format == ExportFormat::Csv {
            self.text.push_str("time,received,node,metric,value\n");
        }
    }

    fn put(&mut self, row: &Row, reading: &Reading) -> anyhow::Result<()> {
        let Reading {
            node,
            metric,
            value,
        } = reading;
        if self.format == ExportFormat::Line {
            let sensor_type = self.metrics.sensor_type(metric);
            self.lines
                .push_reading_of(&mut self.text, row, reading, sensor_type);
            return Ok(());
        }
        let (time, received) = (row.event_time.to_rfc3339(), row.received.to_rfc3339());
        if self.format == ExportFormat::Jsonl {
            let line = ExportedReading {
                time: &time,
                received: &received,
                node,
                metric,
                value: *value,
            };
            self.text.push_str(&serde_json::to_string(&line)?);
            self.text.push('\n');
        } else {
            let (node, metric) = (quoted(node.as_str()), quoted(metric.as_str()));
            let value = ShortestValue(*value);
            writeln!(self.text, "{time},{received},{node},{metric},{value}")?;
        }
        Ok(())
    }
}

/// A field as RFC 4180 wants it.
fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}
