//! How fast each stage is by itself: framer and decoder, ingest, mapping, journal, the pages of
//! the terminal UI.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use fieldgate::config::{self, Begin, Durability, JournalPath, Overrides};
use fieldgate::journal::{Enrolled, Journal, Row};
use fieldgate::monitor::{Activity, LinkId, Monitor, SinkId};
use fieldgate::pipeline::{Ingest, Pipeline, Stop};
use fieldgate::sink::influx::line::LineFormat;
use fieldgate::sink::mqtt::TopicMap;
use fieldgate::source::{Chunk, Generator};
use fieldgate::telemetry::{
    Decoder, Framer, MetricTable, Name, Packet, Reading, Segment, Timeline, Timestamp,
};
use fieldgate::tui::{Depth, Picture, Theme};

const CLEAN: &[u8] = include_bytes!("../tests/data/clean.ndjson");
const DIRTY: &[u8] = include_bytes!("../tests/data/dirty.bin");

fn frames(criterion: &mut Criterion) {
    let nested = "{\"a\":".repeat(10_000);
    let inputs = [
        ("clean", CLEAN),
        ("dirty", DIRTY),
        ("hostile", nested.as_bytes()),
    ];
    let mut group = criterion.benchmark_group("framer");
    for (name, bytes) in inputs {
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let mut framer = Framer::default();
                let mut frames = 0;
                framer.push(black_box(bytes), &mut |segment| {
                    frames += usize::from(matches!(segment, Segment::Frame(_)));
                });
                frames
            });
        });
    }
    group.finish();

    let mut group = criterion.benchmark_group("decoder");
    for (name, bytes) in [("clean", CLEAN), ("dirty", DIRTY)] {
        let frames = frames_of(bytes);
        let length: usize = frames.iter().map(String::len).sum();
        group.throughput(Throughput::Bytes(length as u64));
        group.bench_function(name, |bencher| {
            let mut decoder = Decoder::default();
            bencher.iter(|| {
                let decoded = frames
                    .iter()
                    .filter(|frame| decoder.decode(black_box(frame)).is_ok());
                decoded.count()
            });
        });
    }
    group.finish();
}

/// What the framer makes of a stream.
fn frames_of(bytes: &[u8]) -> Vec<String> {
    let mut frames = Vec::new();
    Framer::default().push(bytes, &mut |segment| {
        if let Segment::Frame(frame) = segment {
            frames.push(frame.to_owned());
        }
    });
    frames
}

/// From bytes to packets, with all that is judged on the way.
fn ingest(criterion: &mut Criterion) {
    const FRAMES: u32 = 10_000;
    let mut group = criterion.benchmark_group("ingest");
    group.throughput(Throughput::Elements(FRAMES.into()));
    for (name, damage) in [("clean", 0.0), ("a frame in 20 damaged", 0.05)] {
        let mut generator = Generator::new(4, damage, 1);
        let mut stream = BytesMut::new();
        for _ in 0..FRAMES {
            generator.write_next(Duration::from_secs(1), &mut stream);
        }
        let mut chunks = Vec::new();
        while !stream.is_empty() {
            chunks.push(Chunk {
                bytes: stream.split_to(stream.len().min(16 << 10)).freeze(),
                received: Timestamp::now(),
                monotonic: Duration::ZERO,
                discontinuity: false,
            });
        }
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let (line, tolerance) = (Timeline::Line, Duration::from_secs(2));
                let decoder = Decoder::default();
                let monitor = Arc::<Monitor>::default().source(&LinkId::source());
                let mut ingest = Ingest::new(decoder, &[], line, tolerance, monitor);
                let packets = chunks.iter().map(|chunk| ingest.take(chunk).packets.len());
                packets.sum::<usize>()
            });
        });
    }
    group.finish();
}

fn readings() -> Vec<Reading> {
    let reading = |node: &str, metric: &str, value| Reading {
        node: Name::new(node),
        metric: Name::new(metric),
        value,
    };
    vec![
        reading("node1", "temperature", 27.6),
        reading("node1", "humidity", 54.1),
        reading("node1", "gas_resistance", 84_190.0),
        reading("node2", "temperature", 25.3),
        reading("node2", "pressure", 1_013.25),
        reading("signal", "rssi", -39.0),
        reading("signal", "snr", 13.0),
        reading("stats", "packets_received", 1.0),
        reading("stats", "crc_errors", 0.0),
    ]
}

fn mapping(criterion: &mut Criterion) {
    let row = Row {
        sequence: 1,
        total: 9,
        source: Name::new("source"),
        received: Timestamp::now(),
        event_time: Timestamp::now(),
        readings: readings(),
    };
    let mut group = criterion.benchmark_group("mapping");
    group.throughput(Throughput::Elements(row.readings.len() as u64));
    group.bench_function("topics and payloads", |bencher| {
        let topics = TopicMap::new("iiot", [Name::new("signal"), Name::new("stats")]);
        bencher.iter(|| {
            let messages = row.readings.iter();
            messages
                .map(|it| {
                    topics.topic(&row.source, it).len() + topics.payload([it], row.event_time).len()
                })
                .sum::<usize>()
        });
    });
    group.bench_function("line protocol", |bencher| {
        let metrics = MetricTable::default();
        let format = LineFormat::default();
        let mut lines = String::new();
        bencher.iter(|| {
            lines.clear();
            format.push_row(&mut lines, black_box(&row), |metric| {
                metrics.sensor_type(metric)
            });
            lines.len()
        });
    });
    group.finish();
}

const PACKETS: usize = 5_000;

fn packets() -> Vec<Packet> {
    let now = Timestamp::now();
    let packet = Packet {
        received: now,
        event_time: now,
        readings: readings(),
    };
    vec![packet; PACKETS]
}

fn open(folder: &tempfile::TempDir) -> Journal {
    let config = config::Journal {
        path: JournalPath::File(folder.path().join("journal.db")),
        max_messages: 10_000_000,
        max_bytes: None,
        durability: Durability::Full,
        history: Duration::from_hours(24),
    };
    let enrolled = Enrolled {
        sink: SinkId::mqtt(),
        begin: Begin::Now,
    };
    Journal::open(&config, &[enrolled]).unwrap_or_else(|error| panic!("{error}"))
}

fn journal(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.unwrap_or_else(|error| panic!("{error}"));
    let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
    let journal = open(&folder);
    let source = Name::new("source");
    let mut group = criterion.benchmark_group("journal");
    group.throughput(Throughput::Elements((PACKETS * readings().len()) as u64));
    group.sample_size(10);
    group.bench_function("append and commit", |bencher| {
        bencher.iter_batched(
            packets,
            |packets| {
                runtime.block_on(async {
                    for packets in packets.chunks(50) {
                        let appended = journal.append(&source, packets.to_vec()).await;
                        appended.unwrap_or_else(|error| panic!("{error}"));
                    }
                    journal.settle().await
                })
            },
            BatchSize::LargeInput,
        );
    });
    group.bench_function("read", |bencher| {
        let cursor = journal.cursor(&SinkId::mqtt());
        let mut cursor = cursor.unwrap_or_else(|error| panic!("{error}"));
        bencher.iter(|| {
            cursor.rewind();
            let mut messages = 0;
            while messages < PACKETS * 9 {
                let rows = cursor.read(5_000).unwrap_or_else(|error| panic!("{error}"));
                messages += rows.iter().map(|row| row.readings.len()).sum::<usize>();
            }
            messages
        });
    });
    group.finish();
    let closed = runtime.block_on(journal.close());
    closed.unwrap_or_else(|error| panic!("{error}"));
}

/// Every page of the terminal UI, of a gateway that has run for a while and goes on.
fn pages(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().unwrap_or_else(|error| panic!("{error}"));
    let _inside = runtime.enter();
    let mut overrides = Overrides::default();
    let settings = [
        "source.kind=simulator",
        "source.rate=2000",
        "source.nodes=40",
        "journal.path=:memory:",
    ];
    for setting in settings {
        overrides.assign(setting);
    }
    let environment = [("HOME", "/nonexistent")].into_iter().collect();
    let config = config::load(&overrides, &environment).unwrap_or_else(|error| panic!("{error}"));
    let pipeline = runtime.block_on(Pipeline::start(&config, Activity::default()));
    let pipeline = pipeline.unwrap_or_else(|error| panic!("{error}"));
    let handle = pipeline.handle();
    let running = runtime.spawn(pipeline.run());
    let theme = Theme::new(false, Depth::Ansi256, false);
    let mut picture = Picture::new(Arc::new(handle.clone()), theme, 120, 40);
    while handle.snapshot().telemetry.packets_processed < 2_000 {
        std::thread::sleep(Duration::from_millis(10));
    }
    let mut group = criterion.benchmark_group("frame of 120 x 40");
    let pages = ["overview", "nodes", "charts", "traffic", "log", "delivery"];
    for (key, page) in ('1'..).zip(pages) {
        group.bench_function(page, |bencher| {
            // The second one has what the first one asked the journal for.
            for _ in 0..2 {
                picture.press(key).unwrap_or_else(|error| panic!("{error}"));
            }
            bencher.iter(|| picture.draw().is_ok());
        });
    }
    group.finish();
    handle.stop(Stop::Now);
    let ended = runtime.block_on(running);
    ended.unwrap_or_else(|error| panic!("{error}"));
}

criterion_group!(stages, frames, ingest, mapping, journal, pages);
criterion_main!(stages);
