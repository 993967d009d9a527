//! Whether every stage still does something: what a watchdog asks.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A stage that can get stuck.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// From bytes to packets.
    Ingest,
    /// The journal's writer.
    Journal,
    /// The MQTT sink.
    Mqtt,
    /// The InfluxDB sink.
    Influxdb,
}

impl Stage {
    /// All stages.
    pub const ALL: [Self; 4] = [Self::Ingest, Self::Journal, Self::Mqtt, Self::Influxdb];

    /// The stage's name in logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Journal => "journal",
            Self::Mqtt => "mqtt",
            Self::Influxdb => "influxdb",
        }
    }
}

/// When each stage was last heard of.
#[derive(Debug)]
pub struct Pulses {
    started: Instant,
    /// Milliseconds since the start, plus one; 0: the stage rests.
    last: [AtomicU64; Stage::ALL.len()],
}

impl Default for Pulses {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            last: Default::default(),
        }
    }
}

impl Pulses {
    /// The stage works. It has to say so again, or rest, before anybody loses patience.
    pub fn beat(&self, stage: Stage) {
        let now = self.started.elapsed().as_millis();
        let now = u64::try_from(now).unwrap_or(u64::MAX - 1);
        self.last[stage as usize].store(now + 1, Ordering::Relaxed);
    }

    /// The stage has nothing to do.
    pub fn rest(&self, stage: Stage) {
        self.last[stage as usize].store(0, Ordering::Relaxed);
    }

    /// Whether a stage has nothing to do.
    pub fn rests(&self, stage: Stage) -> bool {
        self.last[stage as usize].load(Ordering::Relaxed) == 0
    }

    /// A stage that works and has not been heard of for longer than `patience`.
    pub fn stuck(&self, patience: Duration) -> Option<Stage> {
        let now = self.started.elapsed();
        Stage::ALL.into_iter().find(|stage| {
            let last = self.last[*stage as usize].load(Ordering::Relaxed);
            last > 0 && now.saturating_sub(Duration::from_millis(last - 1)) > patience
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_works_in_silence_is_stuck_and_who_rests_is_not() {
        let pulses = Pulses {
            started: Instant::now().checked_sub(Duration::from_mins(1)).unwrap(),
            last: Default::default(),
        };
        let patience = Duration::from_secs(10);
        assert_eq!(pulses.stuck(patience), None);
        pulses.beat(Stage::Mqtt);
        assert_eq!(pulses.stuck(patience), None);
        pulses.last[Stage::Mqtt as usize].store(45_001, Ordering::Relaxed);
        assert_eq!(pulses.stuck(patience), Some(Stage::Mqtt));
        pulses.beat(Stage::Mqtt);
        assert_eq!(pulses.stuck(patience), None);
        pulses.last[Stage::Ingest as usize].store(1, Ordering::Relaxed);
        assert_eq!(pulses.stuck(patience), Some(Stage::Ingest));
        pulses.rest(Stage::Ingest);
        assert_eq!(pulses.stuck(patience), None);
        assert!(pulses.rests(Stage::Ingest) && !pulses.rests(Stage::Mqtt));
    }
}
