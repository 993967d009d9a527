//! Whether every stage still does something: what a watchdog asks. And whether one has broken down.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::{LinkId, Monitor};

/// A stage that can get stuck or break down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    /// What reads the bytes of a source, or serves a sink. A source waits for bytes, so it is never stuck.
    Link(LinkId),
    /// From a source's bytes to packets.
    Ingest(LinkId),
    /// The journal's writer.
    Journal,
}

/// The stage's name in logs.
impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link(link) => link.fmt(f),
            Self::Ingest(link) if link.is_only() => f.write_str("ingest"),
            Self::Ingest(link) => write!(f, "ingest of {link}"),
            Self::Journal => f.write_str("journal"),
        }
    }
}

/// When each stage was last heard of.
#[derive(Debug)]
pub struct Pulses {
    started: Instant,
    stages: Mutex<Vec<(Stage, Weak<AtomicU64>)>>,
    broken: watch::Sender<Option<Stage>>,
}

/// A stage's way to be heard of. Clones are the same pulse; with the last one goes the stage.
#[derive(Debug, Clone)]
pub struct Pulse {
    started: Instant,
    /// Milliseconds since the start, plus one; 0: the stage rests.
    last: Arc<AtomicU64>,
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
            let broken = Some(self.stage.clone());
            self.monitor.pulses.broken.send_replace(broken);
        }
    }
}

impl Pulse {
    /// The stage works. It has to say so again, or rest, before anybody loses patience.
    pub fn beat(&self) {
        let now = self.started.elapsed().as_millis();
        let now = u64::try_from(now).unwrap_or(u64::MAX - 1);
        self.last.store(now + 1, Ordering::Relaxed);
    }

    /// The stage has nothing to do.
    pub fn rest(&self) {
        self.last.store(0, Ordering::Relaxed);
    }

    /// Whether the stage has nothing to do.
    pub fn rests(&self) -> bool {
        self.last.load(Ordering::Relaxed) == 0
    }
}

impl Default for Pulses {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            stages: Mutex::default(),
            broken: watch::Sender::default(),
        }
    }
}

impl Pulses {
    /// The pulse of a stage that begins now, and rests.
    pub fn of(&self, stage: Stage) -> Pulse {
        let last = Arc::<AtomicU64>::default();
        let mut stages = self.stages();
        stages.retain(|(_, last)| last.strong_count() > 0);
        stages.push((stage, Arc::downgrade(&last)));
        Pulse {
            started: self.started,
            last,
        }
    }

    /// Resolves when a stage has panicked: it will do nothing any more. Cancel safe.
    pub async fn broken(&self) -> Stage {
        let mut broken = self.broken.subscribe();
        loop {
            if let Some(stage) = &*broken.borrow_and_update() {
                return stage.clone();
            }
            if broken.changed().await.is_err() {
                // Cannot happen while `self` lives.
                std::future::pending::<()>().await;
            }
        }
    }

    /// A stage that works and has not been heard of for longer than `patience`.
    pub fn stuck(&self, patience: Duration) -> Option<Stage> {
        let now = self.started.elapsed();
        let is_stuck =
            |last: u64| last > 0 && now.saturating_sub(Duration::from_millis(last - 1)) > patience;
        self.stages().iter().find_map(|(stage, last)| {
            let last = last.upgrade()?.load(Ordering::Relaxed);
            is_stuck(last).then(|| stage.clone())
        })
    }

    fn stages(&self) -> MutexGuard<'_, Vec<(Stage, Weak<AtomicU64>)>> {
        self.stages.lock().unwrap_or_else(PoisonError::into_inner)
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
        let mqtt = pulses.of(Stage::Link(LinkId::mqtt()));
        let ingest = pulses.of(Stage::Ingest(LinkId::source()));
        assert_eq!(pulses.stuck(patience), None);
        mqtt.beat();
        assert_eq!(pulses.stuck(patience), None);
        mqtt.last.store(45_001, Ordering::Relaxed);
        assert_eq!(pulses.stuck(patience), Some(Stage::Link(LinkId::mqtt())));
        mqtt.beat();
        assert_eq!(pulses.stuck(patience), None);
        ingest.last.store(1, Ordering::Relaxed);
        let stuck = pulses.stuck(patience).unwrap();
        assert_eq!(stuck.to_string(), "ingest");
        ingest.rest();
        assert_eq!(pulses.stuck(patience), None);
        assert!(ingest.rests() && !mqtt.rests());
        mqtt.last.store(1, Ordering::Relaxed);
        drop(mqtt);
        assert_eq!(pulses.stuck(patience), None);
    }

    #[tokio::test]
    async fn only_a_panic_breaks_a_stage() {
        let monitor = Arc::new(Monitor::default());
        drop(StageGuard::new(Arc::clone(&monitor), Stage::Journal));
        let mqtt = Stage::Link(LinkId::mqtt());
        let guard = StageGuard::new(Arc::clone(&monitor), mqtt.clone());
        let thread = std::thread::spawn(move || {
            let _guard = guard;
            panic!("on purpose");
        });
        assert_eq!(monitor.pulses.broken().await, mqtt);
        assert!(thread.join().is_err());
    }
}
