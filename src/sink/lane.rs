//! A sink's way through the journal: what it reads, what it has acknowledged, and what it is told.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::journal::{Cursor, JournalError, Position, Rejection, Row};
use crate::monitor::{
    DeliveryEntry, DeliveryOutcome, Directive, LinkState, Monitor, Rewind, SinkCounters, SinkId,
};
use crate::repeated::Topic;
use crate::sink::Failure;
use crate::system_clock;
use crate::telemetry::{Choice, ClockWatch, Timestamp};

const CONNECTIONS: Topic = Topic::of_attempts("connected");

/// Sessions that failed, by link and reason.
pub(super) const FAILURES: Topic = Topic::of_attempts("link-failed");

/// The clock was set if it moved by more than this between two looks.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(1);

/// What is under way for no longer than this when the gateway's clock is set is told from what waited.
const UNDER_WAY: Duration = Duration::from_mins(1);

/// At most one delivery is shown in so many nanoseconds: nobody can read more, and at tens of thousands a
/// second putting each into words would slow them all.
const SHOW_INTERVAL: i64 = 5_000_000;

/// Why [`Lane::wake`] returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// There is more to [read](Lane::read).
    Rows,
    /// What has been read shall be sent now.
    Flush,
    /// The session shall end: what was sent may still be acknowledged, no more is read.
    Leave,
}

/// A sink's access to the journal, with its orders and its counters.
pub struct Lane {
    sink: SinkId,
    cursor: Cursor,
    /// What is not handed out is passed over.
    choice: Choice,
    /// Up to where nothing is for the sink, behind a row that it has in hand.
    passed: VecDeque<(Position, Position)>,
    /// The end of the last row that it has or had in hand.
    handed_out: Position,
    monitor: Arc<Monitor>,
    counters: Arc<SinkCounters>,
    /// When a delivery was last put into words, in nanoseconds.
    shown: AtomicI64,
    directive: watch::Receiver<Directive>,
    /// The most messages that may be read without their acknowledgement being committed.
    window: u64,
    flushes_seen: u64,
    /// Whether the present session is to end because a better server is there; `None`: there is none.
    recalled: Option<watch::Receiver<bool>>,
    /// What had been told when the present session began.
    told: Directive,
    /// When the present connection came up.
    up_since: Option<Instant>,
    was_up: bool,
    /// Whether the present connection carried an acknowledgement, or else is known to work.
    acknowledged: bool,
    /// How long the server wants to be left alone after this session.
    retry_after: Option<Duration>,
    clock: ClockWatch,
    /// By how much the gateway's clock was set last, in nanoseconds.
    clock_step: i64,
}

impl Lane {
    /// A lane for a sink that reads at most `window` messages ahead of its committed acknowledgements.
    pub fn new(
        sink: SinkId,
        cursor: Cursor,
        monitor: Arc<Monitor>,
        directive: watch::Receiver<Directive>,
        window: u64,
    ) -> Self {
        let told = directive.borrow().clone();
        Self {
            counters: monitor.sink_counters(&sink),
            shown: AtomicI64::default(),
            sink,
            handed_out: cursor.acknowledged(),
            cursor,
            choice: Choice::default(),
            passed: VecDeque::new(),
            monitor,
            directive,
            window,
            flushes_seen: told.flushes,
            recalled: None,
            told,
            up_since: None,
            was_up: false,
            acknowledged: false,
            retry_after: None,
            clock: ClockWatch::new(CLOCK_TOLERANCE),
            clock_step: 0,
        }
    }

    /// The same lane with these readings alone.
    #[must_use]
    pub fn choosing(self, choice: Choice) -> Self {
        Self { choice, ..self }
    }

    /// Which readings it hands out.
    pub fn choice(&self) -> &Choice {
        &self.choice
    }

    /// Whose lane it is.
    pub fn sink(&self) -> &SinkId {
        &self.sink
    }

    /// What everything is reported to.
    pub fn monitor(&self) -> &Monitor {
        &self.monitor
    }

    /// What the sink counts.
    pub fn counters(&self) -> &SinkCounters {
        &self.counters
    }

    /// What it connects to, in words.
    pub(super) fn peer(&self) -> String {
        let status = self.monitor.link(self.sink.link());
        status.map(|status| status.peer).unwrap_or_default()
    }

    pub(super) fn shared_monitor(&self) -> &Arc<Monitor> {
        &self.monitor
    }

    /// Up to `max_messages` messages behind those read before, in whole rows and at least one. Empty
    /// when there are no more, when too many wait for their acknowledgement, or when nothing of what comes
    /// next is for the sink: then [`wake`](Self::wake) says at once that there is more.
    pub fn read(&mut self, max_messages: usize) -> Result<Vec<Row>, JournalError> {
        let room = self.window.saturating_sub(self.cursor.unjournaled());
        if room == 0 {
            return Ok(Vec::new());
        }
        let room = usize::try_from(room).unwrap_or(usize::MAX);
        let rows = self.cursor.read(max_messages.min(room))?;
        Ok(self.choose(rows))
    }

    /// What of these rows is for the sink. The others are acknowledged with what it has in hand before
    /// them, or at once.
    fn choose(&mut self, mut rows: Vec<Row>) -> Vec<Row> {
        if self.choice.is_everything() {
            return rows;
        }
        rows.retain_mut(|row| {
            narrow(row, &self.choice);
            let is_for_sink = !row.readings.is_empty();
            match self.passed.back_mut() {
                _ if is_for_sink => self.handed_out = row.end(),
                Some((behind, end)) if *behind == self.handed_out => *end = row.end(),
                _ => self.passed.push_back((self.handed_out, row.end())),
            }
            is_for_sink
        });
        self.pass(self.cursor.acknowledged());
        rows
    }

    /// Everything up to `delivered` is, and with it what is not for the sink behind it.
    fn pass(&mut self, delivered: Position) {
        let mut up_to = delivered;
        while let Some((_, end)) = self
            .passed
            .pop_front_if(|(behind, _)| behind.sequence <= up_to.sequence)
        {
            up_to = end;
        }
        self.cursor.acknowledge(up_to);
    }

    /// As much as [`read`](Self::read) would give behind a place, without reading it.
    pub fn look_ahead(
        &mut self,
        after: Position,
        max_messages: usize,
    ) -> Result<Vec<Row>, JournalError> {
        let mut rows = self.cursor.look_ahead(after, max_messages)?;
        if !self.choice.is_everything() {
            for row in &mut rows {
                narrow(row, &self.choice);
            }
        }
        Ok(rows)
    }

    /// Up to where everything is acknowledged.
    pub fn acknowledged(&self) -> Position {
        self.cursor.acknowledged()
    }

    /// Everything up to here has reached the server. To be said once of all that came together: each is
    /// noted on the disk.
    pub fn acknowledge(&mut self, end: Position) {
        self.pass(end);
        self.acknowledged = true;
    }

    /// So many messages of a row received then have reached the server.
    pub fn delivered(&mut self, received: Timestamp, messages: u64) {
        self.counters.delivered.add(messages);
        let now = system_clock::now();
        self.clock_step = self.clock.look(now).unwrap_or(self.clock_step);
        let latency = age(received, now.wall, self.clock_step);
        self.counters.latency.observe(latency, messages);
    }

    /// These were sent, and nobody knows whether they arrived: they will be sent again.
    pub fn failed(&self, failure: &Failure, messages: u64) {
        self.counters.failed.add(messages);
        if messages > 0 {
            let (Failure::Unavailable(reason) | Failure::Refused(reason)) = failure;
            let outcome = DeliveryOutcome::Failed {
                reason: reason.clone(),
            };
            let what = "everything under way".to_owned();
            self.show(what, messages, outcome, Timestamp::now());
        }
    }

    /// Whether a delivery that begins now is to be put into words for [`show`](Self::show), or is one too
    /// many.
    pub fn wants_to_show(&self) -> bool {
        let now = Timestamp::now().0;
        let is_due = now.saturating_sub(self.shown.load(Ordering::Relaxed)) >= SHOW_INTERVAL;
        if is_due {
            self.shown.store(now, Ordering::Relaxed);
        }
        is_due
    }

    /// Shows a delivery to whoever watches.
    pub fn show(&self, what: String, count: u64, outcome: DeliveryOutcome, received: Timestamp) {
        let at = Timestamp::now();
        let (sink, latency) = (self.sink.clone(), age(received, at, self.clock_step));
        let entry = DeliveryEntry {
            at,
            sink,
            what,
            count,
            outcome,
            latency,
        };
        self.monitor.activity.deliveries.push(entry);
    }

    /// The server refused these for good. The rows they are in are acknowledged all the same.
    pub fn reject(&mut self, rejections: Vec<Rejection>) {
        self.counters.rejected.add(rejections.len() as u64);
        self.cursor.reject(rejections);
    }

    /// The connection works.
    pub fn set_up(&mut self) {
        self.up_since = Some(Instant::now());
        let link = self.sink.link();
        self.monitor.set_link(link, LinkState::Up);
        if self.was_up {
            self.monitor.count_reconnect(link);
        }
        self.was_up = true;
        let (peer, waiting) = (self.peer(), self.waiting());
        FAILURES.over(link.as_str());
        let link = link.clone();
        CONNECTIONS.say(self.sink.as_str(), "", move |sum| {
            let repeated = sum.words();
            tracing::info!(%link, peer, waiting, repeated, "Connected.");
        });
    }

    /// The connection has shown that it works, though no acknowledgement came over it.
    pub fn prove(&mut self) {
        self.acknowledged = true;
    }

    /// Waits until there is something to do. With `wants_rows`, rows to read are something.
    ///
    /// Cancel safe.
    pub async fn wake(&mut self, wants_rows: bool) -> Wake {
        loop {
            // Seen before it is judged: what is told in between ends the wait below.
            let flushes = self.directive.borrow_and_update().flushes;
            if self.must_leave() {
                return Wake::Leave;
            }
            if flushes != self.flushes_seen {
                self.flushes_seen = flushes;
                return Wake::Flush;
            }
            let is_full = self.is_full();
            let (cursor, recalled) = (&mut self.cursor, &mut self.recalled);
            let more = async {
                match (is_full, wants_rows) {
                    (true, _) => cursor.acknowledgement_committed().await,
                    (false, true) => cursor.available().await,
                    (false, false) => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = self.directive.changed() => if changed.is_err() {
                    return Wake::Leave;
                },
                () = recall_of(recalled) => return Wake::Leave,
                () = more => if !is_full {
                    return Wake::Rows;
                },
            }
        }
    }

    /// Waits until the session shall end. A flush that is asked for meanwhile is still to come.
    ///
    /// Cancel safe.
    pub async fn leave(&mut self) {
        while !self.must_leave() {
            tokio::select! {
                changed = self.directive.changed() => if changed.is_err() {
                    return;
                },
                () = recall_of(&mut self.recalled) => return,
            }
        }
    }

    /// Whether the gateway is stopping: nothing more will come, so nothing is to be waited for.
    pub fn is_draining(&self) -> bool {
        self.directive.borrow().drain_to.is_some()
    }

    /// Whether everything has to end now.
    pub fn is_abandoned(&self) -> bool {
        self.directive.borrow().abandon || self.directive.has_changed().is_err()
    }

    /// Messages that are stored and not acknowledged.
    pub fn waiting(&self) -> u64 {
        self.cursor.depth()
    }

    fn is_full(&self) -> bool {
        self.cursor.unjournaled() >= self.window
    }

    /// Whether the session shall end; [`wake`](Self::wake) says so too, but costs more to ask.
    pub fn must_leave(&self) -> bool {
        let directive = self.directive.borrow();
        directive.held
            || directive.reconnects != self.told.reconnects
            || directive.rewind != self.told.rewind
            || self.is_recalled()
            || self.is_finished_by(&directive)
    }

    /// Whether the session is to end because a better server is there.
    pub(super) fn is_recalled(&self) -> bool {
        let recalled = self.recalled.as_ref();
        recalled.is_some_and(|recalled| *recalled.borrow())
    }

    /// What ends the session for a better server.
    pub(super) fn recall(&mut self) -> watch::Sender<bool> {
        let (sender, receiver) = watch::channel(false);
        self.recalled = Some(receiver);
        sender
    }

    fn is_finished_by(&self, directive: &Directive) -> bool {
        let is_drained = |last| self.cursor.acknowledged().sequence >= last;
        directive.abandon || directive.retired || directive.drain_to.is_some_and(is_drained)
    }

    /// Whether the sink's work is done. A link that is held delivers nothing, so a stop does not wait
    /// for it.
    pub(super) fn is_finished(&self) -> bool {
        let directive = self.directive.borrow();
        self.is_finished_by(&directive)
            || (directive.held && directive.drain_to.is_some())
            || self.directive.has_changed().is_err()
    }

    pub(super) fn is_held(&self) -> bool {
        self.directive.borrow().held
    }

    /// Begins again behind what was acknowledged.
    pub(super) fn begin_session(&mut self) {
        self.cursor.rewind();
        self.told = self.directive.borrow_and_update().clone();
        self.go_back(self.told.rewind);
        self.passed.clear();
        self.handed_out = self.cursor.acknowledged();
        self.up_since = None;
        self.acknowledged = false;
        self.retry_after = None;
        self.recalled = None;
    }

    /// Goes back in the journal, if that was asked for and is not done.
    fn go_back(&mut self, rewind: Option<Rewind>) {
        let done = self.cursor.taken_back();
        if let Some(Rewind { number, to }) = rewind.filter(|rewind| rewind.number > done) {
            self.cursor.take_back(number, to);
        }
    }

    /// The server wants to be left alone for so long when this session has ended.
    pub(super) fn retry_after(&mut self, wait: Duration) {
        self.retry_after = Some(wait);
    }

    /// How long the server wants to be left alone.
    pub(super) fn wanted_pause(&self) -> Option<Duration> {
        self.retry_after
    }

    /// For how long the session's connection was up, and whether it carried an acknowledgement.
    pub(super) fn session_result(&self) -> (Duration, bool) {
        (
            self.up_since
                .map_or(Duration::ZERO, |since| since.elapsed()),
            self.acknowledged,
        )
    }

    /// Waits for `delay`, or until the sink has been told something since the session began that
    /// ends the wait.
    pub(super) async fn pause(&mut self, delay: Duration) {
        let told = &self.told;
        let ends_the_wait = |now: &Directive| {
            now.held
                || now.reconnects != told.reconnects
                || now.rewind != told.rewind
                || now.drain_to != told.drain_to
                || now.retired
                || now.abandon
        };
        // Both an elapsed time and a closed channel end the wait as well.
        let _elapsed = tokio::time::timeout(delay, self.directive.wait_for(ends_the_wait)).await;
    }

    /// Waits, between sessions, until the sink is told anything.
    pub(super) async fn directive_changed(&mut self) {
        let _closed = self.directive.changed().await;
        let rewind = self.directive.borrow().rewind;
        self.go_back(rewind);
    }
}

/// Waits until the session is recalled.
async fn recall_of(recalled: &mut Option<watch::Receiver<bool>>) {
    if let Some(recalled) = recalled
        && recalled.wait_for(|recalled| *recalled).await.is_ok()
    {
        return;
    }
    std::future::pending::<()>().await;
}

/// Leaves of a row what is chosen.
fn narrow(row: &mut Row, choice: &Choice) {
    row.readings
        .retain(|reading| choice.takes(reading.node.as_str(), reading.metric.as_str()));
}

/// How long ago something was received. What was under way when the clock was set has a time by the clock
/// as it was; a step is no delay.
fn age(received: Timestamp, now: Timestamp, clock_step: i64) -> Duration {
    let by_now = now.0.saturating_sub(received.0);
    let before = by_now.saturating_sub(clock_step);
    let under_way = 0..i64::try_from(UNDER_WAY.as_nanos()).unwrap_or(i64::MAX);
    let was_under_way = under_way.contains(&before) && !under_way.contains(&by_now);
    let age = if was_under_way { before } else { by_now };
    Duration::from_nanos(u64::try_from(age).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_is_no_delay() {
        const SECOND: i64 = 1_000_000_000;
        const YEARS: i64 = 20 * 365 * 86_400 * SECOND;
        let now = Timestamp(3 * YEARS);
        let before = |nanos: i64| Timestamp(now.0 - nanos);
        for (received, step, seconds) in [
            (before(3 * SECOND), 0, 3),
            // Received by the clock as it was, which was then set forward, or back.
            (before(3 * SECOND + YEARS), YEARS, 3),
            (before(3 * SECOND - YEARS), -YEARS, 3),
            // Received after that, or corrected since.
            (before(3 * SECOND), YEARS, 3),
            (before(7_200 * SECOND), YEARS, 7_200),
            (before(7_200 * SECOND), 3_600 * SECOND, 7_200),
            (before(-3 * SECOND), 0, 0),
        ] {
            assert_eq!(age(received, now, step), Duration::from_secs(seconds));
        }
    }
}
