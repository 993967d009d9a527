//! Whether every stage still does something: what a watchdog asks. And whether one has broken down.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::Monitor;

/// A stage that can get stuck or break down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// What reads the bytes. It waits for them, so it is never stuck.
    Source,
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
    pub const ALL: [Self; 5] = [
        Self::Source,
        Self::Ingest,
        Self::Journal,
        Self::Mqtt,
        Self::Influxdb,
    ];

    /// The stage's name in logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Source => "source",
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
    broken: watch::Sender<Option<Stage>>,
}

/// Watches over a stage: dropped by a panic, it says that the stage is [broken](Pulses::broken).
#[derive(Debug)]
#[must_use = "it is to be kept for as long as the stage works"]
pub struct StageGuard {
    monitor: Arc<Monitor>,
    stage: Stage,
}

impl StageGuard {
    /// Watches over a stage from now on.
    pub fn new(monitor: Arc<Monitor>, stage: Stage) -> Self {
        Self { monitor, stage }
    }
}

impl Drop for StageGuard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.monitor.pulses.broken.send_replace(Some(self.stage));
        }
    }
}

impl Default for Pulses {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            last: Default::default(),
            broken: watch::Sender::default(),
        }
    }
}

impl Pulses {
    /// Resolves when a stage has panicked: it will do nothing any more. Cancel safe.
    pub async fn broken(&self) -> Stage {
        let mut broken = self.broken.subscribe();
        loop {
            if let Some(stage) = *broken.borrow_and_update() {
                return stage;
            }
            if broken.changed().await.is_err() {
                // Cannot happen while `self` lives.
                std::future::pending::<()>().await;
            }
        }
    }

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
            ..Pulses::default()
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

    #[tokio::test]
    async fn only_a_panic_breaks_a_stage() {
        let monitor = Arc::new(Monitor::default());
        drop(StageGuard::new(Arc::clone(&monitor), Stage::Ingest));
        let guard = StageGuard::new(Arc::clone(&monitor), Stage::Mqtt);
        let thread = std::thread::spawn(move || {
            let _guard = guard;
            panic!("on purpose");
        });
        assert_eq!(monitor.pulses.broken().await, Stage::Mqtt);
        assert!(thread.join().is_err());
    }
}
