//! `fieldgate decode`: what each frame of a recording becomes, and what is rejected where.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bytes::Bytes;

use super::print;
use crate::cli::{DecodeArguments, DecodedAs};
use crate::config::{self, Config, Environment, Recorded, Speed};
use crate::escape::escape;
use crate::monitor::{
    Activity, LinkId, Monitor, Numbered, TrafficEntry, TrafficKind, TrafficVerdict,
};
use crate::pipeline::{Ingest, Yield, recording_prefix};
use crate::sink::influx::line::LineFormat;
use crate::sink::mqtt::TopicMap;
use crate::source::{self, Chunk};
use crate::telemetry::{
    Beginning, MetricTable, Name, Packet, Received, RejectReason, SetAside, ShortestValue,
    Timeline, Timestamp, learn,
};

/// Read at once; what comes of it fits into the ring that tells of it.
const PIECE: usize = 512;

/// What is learnt from.
const SAMPLE: u64 = 1 << 20;

/// Bytes of a rejected frame that are shown before and behind the fault.
const AROUND: usize = 60;

/// Decodes the file. Whether nothing was rejected, or nobody is strict about it.
pub fn decode(arguments: &DecodeArguments) -> anyhow::Result<bool> {
    let is_stdin = arguments.file.as_os_str() == "-";
    let mut input: Box<dyn Read> = if is_stdin {
        Box::new(io::stdin().lock())
    } else {
        let failed = || format!("cannot read {}", arguments.file.display());
        Box::new(File::open(&arguments.file).with_context(failed)?)
    };
    if arguments.learn {
        return propose(input).map(|()| true);
    }
    let config = config::load(&arguments.overrides(), &Environment::of_process())?;
    let mut decoding = Decoding::new(&config, arguments)?;
    if !is_stdin {
        decoding.begin(&arguments.file)?;
    }
    let mut piece = vec![0; PIECE];
    loop {
        let count = input.read(&mut piece)?;
        if count == 0 {
            break;
        }
        decoding.take(&piece[..count])?;
    }
    let decoded = decoding.finish()?;
    if decoded.readings == 0 {
        eprintln!(
            "Nothing in it becomes a reading of this format: `fieldgate decode --learn {}` says which it may be.",
            arguments.file.display()
        );
    }
    let is_clean = decoded.rejected == 0 && decoded.readings > 0;
    Ok(is_clean || !arguments.strict)
}

/// Prints the section for what a sample seems to be.
fn propose(input: impl Read) -> anyhow::Result<()> {
    let mut sample = Vec::new();
    input.take(SAMPLE).read_to_end(&mut sample)?;
    let Some(proposal) = learn(&sample) else {
        bail!("nothing in it is telemetry of a known format: see docs/your-board.md");
    };
    let text = format!(
        "# {} frames of format {}\n[source]\n{}\n",
        proposal.frames,
        proposal.format,
        proposal.lines.join("\n")
    );
    Ok(print(text.as_bytes())?)
}

/// The source that a recording of the gateway's own says by its name that it is of.
fn source_of_recording<'a>(config: &'a Config, file: &Path) -> Option<&'a str> {
    let file = file.file_name()?.to_str()?;
    let names = config.sources.iter().map(|source| &*source.name);
    let is_meant = |name: &&str| file.starts_with(&recording_prefix(Some(name)));
    names.filter(is_meant).max_by_key(|name| name.len())
}

/// A stream while it is decoded.
struct Decoding {
    ingest: Ingest,
    monitor: Arc<Monitor>,
    writer: Writer,
    /// The next of the pieces that were told of.
    told: u64,
    /// The line in which the next piece begins, from 1.
    line: u64,
    decoded: Decoded,
    started: Instant,
}

/// What became of a stream.
#[derive(Default)]
struct Decoded {
    readings: usize,
    /// Frames, and single readings.
    rejected: u64,
}

impl Decoding {
    fn new(config: &Config, arguments: &DecodeArguments) -> anyhow::Result<Self> {
        let name = arguments.source.as_deref();
        let recorded = || source_of_recording(config, &arguments.file);
        let name = name.or_else(recorded);
        let Some(source) = config.source(name) else {
            let names: Vec<&str> = config.sources.iter().map(|it| &*it.name).collect();
            bail!(
                "no source is called {}: there is {}",
                name.unwrap_or_default(),
                names.join(", ")
            );
        };
        let metrics = Arc::new(config.metric_table());
        let monitor = Arc::new(Monitor::new(
            Arc::clone(&metrics),
            Activity::default(),
            vec![LinkId::source()],
        ));
        let reported = monitor.source(&LinkId::source());
        let mut decoder = config.telemetry.decoder(&source.format);
        decoder.catalogue().believe_all();
        let tolerance = config.telemetry.clock_tolerance;
        let ingest = Ingest::new(decoder, &[], Timeline::Line, tolerance, reported)
            .of_format(&source.format, Beginning::Whole)
            .calibrated(config.telemetry.calibration.of_source(&source.name));
        let prefix = config.mqtt.first().map(|mqtt| mqtt.topic_prefix.clone());
        Ok(Self {
            ingest,
            monitor,
            writer: Writer {
                decoded_as: arguments.decoded_as,
                metrics,
                topics: TopicMap::new(prefix.unwrap_or_else(|| "iiot".to_owned()), []),
                lines: LineFormat::new(config.gateway.as_deref()),
                source: Name::new(&source.name),
            },
            told: 0,
            line: 1,
            decoded: Decoded::default(),
            started: Instant::now(),
        })
    }

    /// What is known of a recording's times.
    fn begin(&mut self, path: &Path) -> anyhow::Result<()> {
        let source = config::Source::File {
            path: path.to_owned(),
            speed: Speed::Max,
        };
        if let Some(times) = source::recorded_times(&source, Recorded::Unsaid)? {
            self.ingest.begin_recording(times);
        }
        Ok(())
    }

    fn received(&self) -> Received {
        Received {
            wall: Timestamp::now(),
            monotonic: self.started.elapsed(),
        }
    }

    fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        let received = self.received();
        let ingested = self.ingest.take(&Chunk {
            bytes: Bytes::copy_from_slice(bytes),
            received: received.wall,
            monotonic: received.monotonic,
            discontinuity: false,
        });
        self.tell(&ingested)
    }

    /// The rest; returns what became of all.
    fn finish(mut self) -> io::Result<Decoded> {
        // Whatever waited for its line to go quiet.
        let end = Received {
            wall: Timestamp::now(),
            monotonic: self.started.elapsed() + Duration::from_secs(1),
        };
        let ingested = self.ingest.finish_input(end);
        self.tell(&ingested)?;
        Ok(self.decoded)
    }

    fn tell(&mut self, ingested: &Yield) -> io::Result<()> {
        let mut text = String::new();
        for packet in &ingested.packets {
            self.decoded.readings += packet.readings.len();
            self.writer.push(&mut text, packet);
        }
        print(text.as_bytes())?;
        for set_aside in &ingested.set_aside {
            self.tell_set_aside(set_aside);
        }
        let traffic = self.monitor.activity.traffic.since(self.told);
        for Numbered { number, entry } in traffic {
            self.told = number + 1;
            self.tell_piece(&entry);
        }
        Ok(())
    }

    /// A reading, or a frame that only its neighbours gave away.
    fn tell_set_aside(&mut self, set_aside: &SetAside) {
        let reason = set_aside.reason;
        let what = match &set_aside.reading {
            Some(reading) => {
                let value = ShortestValue(reading.value);
                format!("{} {} {value}", reading.node, reading.metric)
            }
            None if reason == RejectReason::ContradictsNeighbours => escape(&set_aside.frame),
            None => return,
        };
        self.decoded.rejected += 1;
        eprintln!("rejected: {}: {what}", reason.explanation());
    }

    fn tell_piece(&mut self, entry: &TrafficEntry) {
        if let TrafficKind::Rejected {
            reason,
            broke_at_end,
            place,
        } = entry.kind
        {
            self.decoded.rejected += 1;
            let at = place.and_then(|place| usize::try_from(place).ok());
            let at = at.or(broke_at_end.then_some(entry.bytes.len()));
            let at = at.unwrap_or(0).min(entry.bytes.len());
            let (before, behind) = entry.bytes.split_at(at);
            let feeds = before.split(|byte| *byte == b'\n').skip(1).count() as u64;
            let before = &before[before.len().saturating_sub(AROUND)..];
            eprintln!(
                "line {}: rejected: {}: {}▶{}",
                self.line + feeds,
                reason.explanation(),
                escape(before),
                escape(&behind[..behind.len().min(AROUND)])
            );
        }
        let is_judgement = matches!(
            entry.kind,
            TrafficKind::Judged {
                verdict: TrafficVerdict::Doubted
                    | TrafficVerdict::Accepted
                    | TrafficVerdict::Rejected { .. }
                    | TrafficVerdict::SetAside { .. },
                ..
            }
        );
        if !is_judgement {
            let feeds = entry.bytes.iter().filter(|byte| **byte == b'\n');
            self.line += feeds.count() as u64;
        }
    }
}

/// Writes readings as they are asked for.
struct Writer {
    decoded_as: DecodedAs,
    metrics: Arc<MetricTable>,
    topics: TopicMap,
    lines: LineFormat,
    source: Name,
}

impl Writer {
    fn push(&self, text: &mut String, packet: &Packet) {
        for reading in &packet.readings {
            let time = packet.event_time;
            let value = ShortestValue(reading.value);
            let info = self.metrics.by_name(&reading.metric);
            let unit = info.map_or("", |info| &*info.unit);
            // Writing to a `String` cannot fail.
            let _infallible = match self.decoded_as {
                DecodedAs::Readings => {
                    let line = format!("{} {} {value} {unit}", reading.node, reading.metric);
                    writeln!(text, "{time} {}", line.trim_end())
                }
                DecodedAs::Topics => {
                    let payload = self.topics.payload([reading], time);
                    let topic = self.topics.topic(&self.source, reading);
                    writeln!(text, "{topic} {payload}")
                }
                DecodedAs::LineProtocol => {
                    let sensor_type = self.metrics.sensor_type(&reading.metric);
                    self.lines.push_reading(text, reading, time, sensor_type);
                    Ok(())
                }
                DecodedAs::Json => {
                    let object = serde_json::json!({
                        "time": time.to_rfc3339(),
                        "node": reading.node,
                        "metric": reading.metric,
                        "value": reading.value,
                        "unit": unit,
                    });
                    writeln!(text, "{object}")
                }
            };
        }
    }
}
