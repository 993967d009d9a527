//! What is counted, once, for the log, the metrics and the screen.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::telemetry::RejectReason;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Counts one more.
    pub fn increment(&self) {
        self.add(1);
    }

    /// Counts some more.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// The count so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Upper bounds of the latency histogram's buckets, in seconds.
pub const LATENCY_BUCKETS: [f64; 14] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 300.0, 3600.0,
];

/// How long readings took from being received to being acknowledged.
#[derive(Debug, Default)]
pub struct LatencyHistogram {
    buckets: [Counter; LATENCY_BUCKETS.len() + 1],
    sum_micros: Counter,
}

impl LatencyHistogram {
    /// Counts `count` readings that all took this long.
    pub fn observe(&self, latency: Duration, count: u64) {
        let seconds = latency.as_secs_f64();
        let bucket = LATENCY_BUCKETS.partition_point(|bound| *bound < seconds);
        self.buckets[bucket].add(count);
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.sum_micros.add(micros.saturating_mul(count));
    }

    /// The histogram as it stands.
    pub fn snapshot(&self) -> LatencySnapshot {
        LatencySnapshot {
            buckets: self.buckets.iter().map(Counter::get).collect(),
            sum_seconds: self.sum_micros.get() as f64 / 1e6,
        }
    }
}

/// A histogram at one instant.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct LatencySnapshot {
    /// Count in each bucket (not cumulated); the last one is beyond the last bound.
    pub buckets: Vec<u64>,
    /// Sum of all observed latencies.
    pub sum_seconds: f64,
}

/// What a sink counts.
#[derive(Debug, Default)]
pub struct SinkCounters {
    /// Messages or points that the server acknowledged.
    pub delivered: Counter,
    /// Messages or points whose delivery failed; each is tried again.
    pub failed: Counter,
    /// HTTP writes that the server took (InfluxDB only).
    pub writes_succeeded: Counter,
    /// HTTP writes that failed (InfluxDB only).
    pub writes_failed: Counter,
    /// Messages or points that the server refused for good.
    pub rejected: Counter,
    /// From reception to acknowledgement.
    pub latency: LatencyHistogram,
}

/// What is counted of a source.
#[derive(Debug, Default)]
pub struct Counters {
    /// Bytes read from the source.
    pub source_bytes: Counter,
    /// Bytes between frames: log text, boot messages, noise.
    pub ignored_bytes: Counter,
    /// Packets decoded and given to the journal.
    pub packets_processed: Counter,
    /// Readings in them.
    pub readings_processed: Counter,
    /// Packets that the radio received and the gateway never saw.
    pub packets_missed: Counter,
    /// Times that a board's clock and the gateway's drifted apart.
    pub clock_drifts: Counter,
    /// Frames that were no telemetry, by [`RejectReason`].
    pub frames_rejected: [Counter; RejectReason::ALL.len()],
    /// Readings that were set aside, by [`RejectReason`].
    pub readings_rejected: [Counter; RejectReason::ALL.len()],
}
