//! Feeds the journal: takes the chunks of the source through the ingest, and follows the gateway's clock.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::recorder::{RecordedChunks, TimesFile};
use super::speed_limit::SpeedLimit;
use super::{Ingest, Yield};
use crate::journal::Journal;
use crate::monitor::{SourceMonitor, Stage, StageGuard};
use crate::repeated::Topic;
use crate::source::Chunk;
use crate::system_clock;
use crate::telemetry::{ClockWatch, Name, Packet, Received, RecordedTimes, SetAside, Timestamp};

const CLOCK_SET: Topic = Topic::new("clock-set");
const UNKEPT: Topic = Topic::new("packets-not-taken");

/// How soon it is noticed that the gateway's clock was set, while nothing is read.
const CLOCK_INTERVAL: Duration = Duration::from_millis(250);

/// The clock was set if it moved at once by more than the tolerance, as far as that lies between these.
const LEAST_STEP: Duration = Duration::from_millis(100);
const LARGEST_SLIP: Duration = Duration::from_secs(2);

/// A stream on its way into the journal.
pub(super) struct Feed {
    ingest: Ingest,
    chunks: RecordedChunks,
    journal: Journal,
    monitor: SourceMonitor,
    noted: TimesFile,
    clock: ClockWatch,
    /// By how much the clock was set last, as long as chunks may have been read before that.
    step: Option<i64>,
}

impl Feed {
    /// `tolerance` is how far the gateway's clock may move without being set.
    pub(super) fn new(
        ingest: Ingest,
        chunks: RecordedChunks,
        journal: Journal,
        monitor: SourceMonitor,
        tolerance: Duration,
    ) -> Self {
        Self {
            ingest,
            chunks,
            journal,
            monitor,
            noted: TimesFile::default(),
            clock: ClockWatch::new(tolerance.clamp(LEAST_STEP, LARGEST_SLIP)),
            step: None,
        }
    }

    /// Works until the source is gone. `times` are those of a recording; `input_ended` says whether its
    /// input came to an end by itself; `clock_set` is called when what
    /// waits in the journal got other times.
    pub(super) async fn run(
        mut self,
        times: oneshot::Receiver<Option<RecordedTimes>>,
        input_ended: oneshot::Receiver<()>,
        clock_set: impl Fn(),
    ) {
        let stage = Stage::Ingest(self.monitor.source().clone());
        let pulse = self.monitor.pulses.of(stage.clone());
        let _guard = StageGuard::new(Arc::clone(self.monitor.shared()), stage);
        let started = Instant::now();
        self.clock.look(system_clock::now());
        if let Ok(Some(times)) = times.await {
            self.ingest.begin_recording(times);
        }
        let mut limit = SpeedLimit::default();
        while let Some(mut chunk) = self.next(&clock_set).await {
            pulse.beat();
            self.follow_clock(&clock_set).await;
            self.mend(&mut chunk);
            self.noted.follow(self.chunks.recording());
            self.ingest.note_times(self.noted.are_wanted());
            let ingested = self.ingest.take(&chunk);
            self.keep(ingested).await;
            pulse.rest();
            if self.monitor.has_several_sources() {
                limit.keep(chunk.bytes.len()).await;
            }
        }
        let end = Received {
            wall: Timestamp::now(),
            monotonic: started.elapsed(),
        };
        // The source says so, or goes without a word.
        let ingested = match input_ended.await {
            Ok(()) => self.ingest.finish_input(end),
            Err(_) => self.ingest.finish(end),
        };
        self.keep(ingested).await;
    }

    /// The next chunk. Until it comes, what is held goes on when it is time.
    async fn next(&mut self, clock_set: &impl Fn()) -> Option<Chunk> {
        let Self {
            ingest,
            chunks,
            journal,
            monitor,
            noted,
            clock,
            step,
        } = self;
        let mut out = Out {
            source: monitor.name(),
            journal,
            noted,
        };
        let mut next = pin!(chunks.next());
        let mut ticks = interval(CLOCK_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut release = pin!(sleep(ingest.holds_for().unwrap_or_default()));
        loop {
            let is_held = ingest.holds_for().is_some();
            // Bytes that are there come first: they may belong to what is held.
            tokio::select! {
                biased;
                chunk = &mut next => return chunk,
                () = &mut release, if is_held => {
                    let ingested = ingest.tick();
                    out.keep(ingested, ingest).await;
                    release.set(sleep(ingest.holds_for().unwrap_or_default()));
                }
                _ = ticks.tick() => {
                    if let Some(set) = clock.look(system_clock::now()) {
                        *step = Some(set);
                        out.set_clock(set, ingest).await;
                        clock_set();
                    }
                }
            }
        }
    }

    async fn follow_clock(&mut self, clock_set: &impl Fn()) {
        let Some(step) = self.clock.look(system_clock::now()) else {
            return;
        };
        self.step = Some(step);
        let mut out = Out {
            source: self.monitor.name(),
            journal: &self.journal,
            noted: &mut self.noted,
        };
        out.set_clock(step, &mut self.ingest).await;
        clock_set();
    }

    /// Gives a chunk that was read before the clock was set the time by the clock of now.
    fn mend(&mut self, chunk: &mut Chunk) {
        let Some(step) = self.step else { return };
        let age = Timestamp::now().0.saturating_sub(chunk.received.0);
        if age.saturating_sub(step).saturating_abs() < age.saturating_abs() {
            chunk.received.0 = chunk.received.0.saturating_add(step);
        } else {
            self.step = None;
        }
    }

    async fn keep(&mut self, ingested: Yield) {
        let mut out = Out {
            source: self.monitor.name(),
            journal: &self.journal,
            noted: &mut self.noted,
        };
        out.keep(ingested, &mut self.ingest).await;
    }
}

/// Where packets go, and what is noted of them.
struct Out<'a> {
    source: &'a Name,
    journal: &'a Journal,
    noted: &'a mut TimesFile,
}

impl Out<'_> {
    /// Gives the journal all that came out of some bytes.
    async fn keep(&mut self, ingested: Yield, ingest: &mut Ingest) {
        self.noted.note(&ingest.take_notes()).await;
        self.append(ingested.packets).await;
        if !ingested.learnt.is_empty() {
            self.journal.learn(self.source, ingested.learnt);
        }
        self.set_aside(ingested.set_aside).await;
    }

    async fn append(&self, packets: Vec<Packet>) {
        if packets.is_empty() {
            return;
        }
        if let Err(error) = self.journal.append(self.source, packets).await {
            UNKEPT.say("", "", move |sum| {
                let repeated = sum.words();
                tracing::error!(error = %error, repeated, "Packets could not be given to the journal.");
            });
        }
    }

    async fn set_aside(&self, entries: Vec<SetAside>) {
        if let Err(error) = self.journal.set_aside(self.source, entries).await {
            UNKEPT.say("", "set aside", move |sum| {
                let repeated = sum.words();
                tracing::error!(
                    error = %error, repeated,
                    "What was set aside could not be given to the journal."
                );
            });
        }
    }

    /// Gives what this run took in before the gateway's clock was set the times that it has by the clock
    /// of now.
    async fn set_clock(&mut self, step: i64, ingest: &mut Ingest) {
        let seconds = Duration::from_nanos(step.unsigned_abs()).as_secs_f64();
        CLOCK_SET.say("", "", move |sum| {
            tracing::warn!(
                direction = if step < 0 { "back" } else { "forward" },
                seconds,
                repeated = sum.words(),
                "The gateway's clock was set; what was not delivered gets its right time."
            );
        });
        let (ingested, shift) = ingest.set_clock(step);
        self.keep(ingested, ingest).await;
        self.journal.correct_times(self.source, shift).await;
    }
}
