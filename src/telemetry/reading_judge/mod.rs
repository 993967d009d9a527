//! Whether a reading was measured: by what its sensor can measure, by its name, and on a line with
//! damage by what the metric did before.
//!
//! A reading that is doubted waits for others that confirm it, and then goes out at its own time. What
//! waits is bounded in number and time; what is not confirmed is set aside.

mod context;
mod steps;

use std::sync::Arc;
use std::time::Duration;

use super::catalogue::{Catalogue, NodeId, SeriesId};
use super::hearing::Hearing;
use super::quality::{FrameNumber, LineQuality};
use super::spikes::Expected;
use super::waiting::Waiting;
use super::{Decoded, Frame, KnownName, Mark, Packet, RejectReason, SetAside, Timestamp};
use context::Context;
use steps::{alike, confirmed};

/// Readings of one name that wait to be confirmed.
const MAX_WAITING: usize = 8;

/// Readings that wait because of their names, of all together.
const MAX_ALL_WAITING: usize = 1024;

/// Unexpected readings of one series that wait for the next one.
const MAX_UNEXPECTED: usize = 4;

/// What did not come again for so long does not come again.
const PATIENCE: Duration = Duration::from_hours(24);

/// On a line with damage it does not come again after so many frames either.
const PATIENCE_IN_FRAMES: u64 = 512;

/// What waits is looked through every so many frames.
const SWEEP: u64 = 64;

/// A name that came so often is remembered by the journal.
const LEARNT_AFTER: usize = 3;

/// What the judge decided.
#[derive(Debug, Default)]
pub struct Decisions {
    /// What goes on.
    pub packets: Vec<Packet>,
    /// What does not,
    pub set_aside: Vec<SetAside>,
    /// and where each of that stands.
    pub marks: Vec<Mark>,
    /// Names that are confirmed from now on.
    pub confirmed: Vec<KnownName>,
    /// Names that the journal is to remember.
    pub learnt: Vec<KnownName>,
    /// Which nodes were heard of.
    pub hearings: Vec<Hearing>,
}

/// The judge of readings, series by series.
#[derive(Debug, Default)]
pub struct ReadingJudge {
    /// Frames judged.
    frames: u64,
    /// A frame with a new name that lacked an old one: damage, if the old one is back in the next.
    suspect: Option<FrameNumber>,
    waiting: usize,
    released: Vec<Waiting>,
    /// When something was judged last.
    now: Duration,
    /// Whether readings of the signal are readings of the node that it is of as well.
    gives_signal: bool,
}

impl ReadingJudge {
    /// Has readings of the signal go out under the node that it is of as well, if so.
    #[must_use]
    pub fn giving_signal(mut self, gives_signal: bool) -> Self {
        self.gives_signal = gives_signal;
        self
    }

    /// Judges the readings of a frame that got its time.
    pub fn judge(
        &mut self,
        mut frame: Frame,
        event_time: Timestamp,
        (catalogue, quality): (&mut Catalogue, &mut LineQuality),
        out: &mut Decisions,
    ) {
        self.frames += 1;
        self.now = frame.received.monotonic;
        let decoded = &frame.decoded;
        catalogue.note(self.frames, &decoded.nodes, &decoded.series);
        if catalogue.takes_first_frame() {
            believe_first(decoded, catalogue);
        }
        let suspect = self.suspect.take();
        let mut context = Context {
            catalogue,
            quality,
            out,
            lacks_node: None,
        };
        let mut readings = std::mem::take(&mut frame.decoded.readings);
        let mut places = frame.decoded.series.iter().enumerate();
        readings.retain(|reading| {
            let Some((place, series)) = places.next() else {
                return false;
            };
            let waiting = || Waiting {
                reading: reading.clone(),
                received: frame.received,
                event_time,
                bytes: Arc::clone(&frame.bytes),
                number: frame.number,
                piece: frame.piece,
                series: *series,
            };
            let is_count = frame.decoded.radio_count_at == Some(place);
            if is_count && frame.wrong_radio_count {
                context.set_aside(waiting(), RejectReason::ContradictsNeighbours);
                return false;
            }
            let measured = (reading.value, event_time);
            self.passes(measured, *series, is_count, &waiting, &mut context)
        });
        context.hear(&frame, event_time, (&mut readings, self.gives_signal));
        if let (Some(suspect), None) = (suspect, self.suspect) {
            context.quality.damage(suspect);
        }
        self.release(context.out);
        if !readings.is_empty() {
            context.out.packets.push(Packet {
                received: frame.received.wall,
                event_time,
                readings,
            });
        }
        if self.frames.is_multiple_of(SWEEP) {
            self.sweep(context.catalogue, context.quality, context.out);
        }
    }

    /// Whether a reading goes on now.
    fn passes(
        &mut self,
        (value, at): (f64, Timestamp),
        id: Option<SeriesId>,
        is_count: bool,
        waiting: &impl Fn() -> Waiting,
        context: &mut Context<'_>,
    ) -> bool {
        let found = id.and_then(|id| Some((id, context.catalogue.series_mut(id)?)));
        let Some((id, series)) = found else {
            context.set_aside(waiting(), RejectReason::UnconfirmedName);
            return false;
        };
        if !series.range.contains(value) {
            context.set_aside(waiting(), RejectReason::OutOfRange);
            return false;
        }
        if !series.is_known {
            return self.confirms_name(id, waiting, context);
        }
        if !series.is_learnt {
            series.sightings.note(self.frames, true);
            if series.sightings.count() >= LEARNT_AFTER {
                series.is_learnt = true;
                context.out.learnt.extend(context.catalogue.known_name(id));
            }
        }
        let Some(series) = context.catalogue.series_mut(id) else {
            return false;
        };
        let is_calm = !context.quality.is_damaged() && series.unexpected.is_empty();
        if is_calm || is_count {
            series.history.push(value, at);
            return true;
        }
        self.confirms_value((value, at), id, waiting, context)
    }

    /// Judges a reading under a name that is not believed yet.
    fn confirms_name(
        &mut self,
        id: SeriesId,
        waiting: &impl Fn() -> Waiting,
        context: &mut Context<'_>,
    ) -> bool {
        let Some(node) = context.catalogue.series(id).map(|series| series.node) else {
            return false;
        };
        let lacks_old = context.lacks_old(self.frames, node);
        if lacks_old {
            self.suspect = Some(waiting().number);
        }
        let damaged_line = context.quality.is_damaged();
        let frame = self.frames;
        let node_is_known = context.catalogue.node_mut(node).is_some_and(|node| {
            node.sightings.note(frame, !lacks_old);
            node.is_known || node.sightings.sufficient(damaged_line).is_some()
        });
        let is_confirmed = context.catalogue.series_mut(id).is_some_and(|series| {
            series.sightings.note(frame, !lacks_old);
            let sufficient = series.sightings.sufficient(damaged_line);
            let is_usual = series.metric_is_known && !damaged_line && !lacks_old;
            node_is_known && (sufficient.is_some() || is_usual)
        });
        if is_confirmed {
            self.believe(id, node, damaged_line, context);
            let it = waiting();
            if let Some(series) = context.catalogue.series_mut(id) {
                series.history.push(it.reading.value, it.event_time);
            }
            return true;
        }
        self.wait(id, waiting(), context);
        false
    }

    /// Believes a series, and has what waited under its name go on.
    fn believe(
        &mut self,
        id: SeriesId,
        node: NodeId,
        damaged_line: bool,
        context: &mut Context<'_>,
    ) {
        let mut ids = vec![id];
        context.catalogue.believe_node(node);
        if !damaged_line {
            // The node was what was in doubt of these.
            ids.extend(
                context
                    .catalogue
                    .unknown_of(node)
                    .into_iter()
                    .filter(|other| {
                        let series = context.catalogue.series(*other);
                        *other != id && series.is_some_and(|it| it.metric_is_known)
                    }),
            );
        }
        for id in ids {
            context.catalogue.believe(id);
            let Some(series) = context.catalogue.series_mut(id) else {
                continue;
            };
            let mut waited = std::mem::take(&mut series.waiting);
            self.waiting -= waited.len().min(self.waiting);
            // What came long before was another name that was damaged.
            let sufficient = series.sightings.sufficient(damaged_line);
            let early = sufficient
                .filter(|_| damaged_line)
                .map_or(0, |sufficient| waited.len().saturating_sub(sufficient - 1));
            let strangers: Vec<Waiting> = waited.drain(..early).collect();
            for it in &waited {
                series.history.push(it.reading.value, it.event_time);
            }
            let is_new = series.sightings.count() >= LEARNT_AFTER;
            series.is_learnt |= is_new;
            self.released.extend(waited);
            for stranger in strangers {
                context.set_aside(stranger, RejectReason::UnconfirmedName);
            }
            if is_new && let Some(name) = context.catalogue.known_name(id) {
                context.out.confirmed.push(name.clone());
                context.out.learnt.push(name);
            }
        }
    }

    fn wait(&mut self, id: SeriesId, waiting: Waiting, context: &mut Context<'_>) {
        if self.waiting >= MAX_ALL_WAITING {
            self.give_up_oldest(context);
        }
        let Some(series) = context.catalogue.series_mut(id) else {
            return;
        };
        series.waiting.push(waiting);
        if series.waiting.len() > MAX_WAITING {
            let oldest = series.waiting.remove(0);
            context.set_aside(oldest, RejectReason::UnconfirmedName);
        } else {
            self.waiting += 1;
        }
    }

    fn give_up_oldest(&mut self, context: &mut Context<'_>) {
        let waiting = context
            .catalogue
            .all()
            .filter(|(_, it)| !it.waiting.is_empty());
        let oldest = waiting.min_by_key(|(_, series)| series.sightings.last());
        if let Some((id, _)) = oldest {
            self.give_up(id, context);
        }
    }

    /// A name did not come often enough.
    fn give_up(&mut self, id: SeriesId, context: &mut Context<'_>) {
        let Some(series) = context.catalogue.series_mut(id) else {
            return;
        };
        let waiting = std::mem::take(&mut series.waiting);
        self.waiting -= waiting.len().min(self.waiting);
        for it in waiting {
            context.set_aside(it, RejectReason::UnconfirmedName);
        }
        context.catalogue.forget(id);
    }

    /// Judges a value on a line with damage.
    fn confirms_value(
        &mut self,
        (value, at): (f64, Timestamp),
        id: SeriesId,
        waiting: &impl Fn() -> Waiting,
        context: &mut Context<'_>,
    ) -> bool {
        let Some(series) = context.catalogue.series_mut(id) else {
            return false;
        };
        let history = &mut series.history;
        let expected = history.expected(at, series.range.counts);
        let is_unexpected = |expected: &Expected| {
            !expected.fits(value)
                || !expected.fits_closely(value) && history.is_one_byte_from(expected, value)
        };
        let Some(expected) = expected.filter(is_unexpected) else {
            let spikes = std::mem::take(&mut series.unexpected);
            series.history.push(value, at);
            for spike in spikes {
                context.set_aside(spike, RejectReason::Spike);
            }
            return true;
        };
        let share = context.quality.ratio();
        let confirmed = confirmed(&series.unexpected, history, &expected, (value, at), share);
        if confirmed.is_empty() {
            series.unexpected.push(waiting());
            if series.unexpected.len() > MAX_UNEXPECTED {
                self.begin_anew(id, context);
            }
            return false;
        }
        // The others wait on: two wrong values can look alike, and the true one comes again.
        for (removed, place) in confirmed.into_iter().enumerate() {
            let step = series.unexpected.remove(place - removed);
            let (value, at) = (step.reading.value, step.event_time);
            if removed == 0 {
                series.history.step_to(value, at);
            } else {
                series.history.push(value, at);
            }
            self.released.push(step);
        }
        series.history.push(value, at);
        true
    }

    /// Nothing goes on as it did, and nothing confirms anything: what is alike of what waits is what is
    /// measured now.
    fn begin_anew(&mut self, id: SeriesId, context: &mut Context<'_>) {
        let Some(series) = context.catalogue.series_mut(id) else {
            return;
        };
        let (alike, others) = alike(std::mem::take(&mut series.unexpected));
        series.history.forget();
        for it in alike {
            series.history.push(it.reading.value, it.event_time);
            self.released.push(it);
        }
        for spike in others {
            context.set_aside(spike, RejectReason::Spike);
        }
    }

    /// Puts what was confirmed into packets, each of one frame.
    fn release(&mut self, out: &mut Decisions) {
        self.released.sort_by_key(|it| it.number);
        let mut last = None;
        for it in self.released.drain(..) {
            match out.packets.last_mut().filter(|_| last == Some(it.number)) {
                Some(packet) => packet.readings.push(it.reading),
                None => out.packets.push(Packet {
                    received: it.received.wall,
                    event_time: it.event_time,
                    readings: vec![it.reading],
                }),
            }
            last = Some(it.number);
        }
    }

    /// Gives up what has waited for too long.
    fn sweep(&mut self, catalogue: &mut Catalogue, quality: &mut LineQuality, out: &mut Decisions) {
        let (now, frames, damaged_line) = (self.now, self.frames, quality.is_damaged());
        let is_old = |it: &Waiting| now.saturating_sub(it.received.monotonic) > PATIENCE;
        let names = catalogue.all().filter(|(_, series)| {
            let frames = frames.saturating_sub(series.sightings.last());
            let is_over = damaged_line && frames > PATIENCE_IN_FRAMES;
            let last = series.waiting.last();
            last.is_some_and(|last| is_over || is_old(last))
        });
        let names: Vec<SeriesId> = names.map(|(id, _)| id).collect();
        let spikes = catalogue
            .all()
            .filter(|(_, it)| it.unexpected.iter().any(is_old));
        let spikes: Vec<SeriesId> = spikes.map(|(id, _)| id).collect();
        let mut context = Context {
            catalogue,
            quality,
            out,
            lacks_node: None,
        };
        for id in names {
            self.give_up(id, &mut context);
        }
        for id in spikes {
            context.give_up_unexpected(id);
        }
    }

    /// Nothing more will come: what waits is not confirmed.
    pub fn finish(
        &mut self,
        (catalogue, quality): (&mut Catalogue, &mut LineQuality),
        out: &mut Decisions,
    ) {
        let all: Vec<SeriesId> = catalogue.all().map(|(id, _)| id).collect();
        let mut context = Context {
            catalogue,
            quality,
            out,
            lacks_node: None,
        };
        for id in all {
            context.give_up_unexpected(id);
            if context
                .catalogue
                .series(id)
                .is_some_and(|it| !it.waiting.is_empty())
            {
                self.give_up(id, &mut context);
            }
        }
    }
}

/// The first frame of a stream of which nothing is known: somebody has to be believed.
fn believe_first(decoded: &Decoded, catalogue: &mut Catalogue) {
    for node in &decoded.nodes {
        catalogue.believe_node(*node);
    }
    for id in decoded.series.iter().flatten() {
        if catalogue
            .series(*id)
            .is_some_and(|it| it.metric_is_known && !it.is_known)
        {
            catalogue.believe(*id);
        }
    }
}

#[cfg(test)]
mod tests;
