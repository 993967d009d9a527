//! From chunks to packets: framer, decoder, judges and clocks in a row, and what is counted on the way.
//!
//! ```text
//! framer → decoder → frame judge (ts and rx against the neighbours) → clocks
//!                  → reading judge (ranges, names, spikes) → journal
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::monitor::{Monitor, TrafficEntry, TrafficKind};
use crate::repeated::Topic;
use crate::source::Chunk;
use crate::telemetry::{
    Beginning, ClockEvent, Clocks, Counts, Dated, Decisions, Decoded, Decoder, Format, FrameJudge,
    FrameNumber, FrameTime, Framer, JudgedFrame, KnownName, LeftOut, LineQuality, Losses, MAX_FRAME, Packet, ReadingJudge, Received,
    RecordedTimes, RejectReason, Segment, SetAside, Stamp, TimeNote, Timed, Timeline, Timestamp,
    Turn, Verdict,
};

const NEW_KEYS: Topic = Topic::new("new-keys").at_once(16);
const NEW_BOARDS: Topic = Topic::new("new-boards").at_once(16);
const LOSSES: Topic = Topic::new("losses");
const CLOCKS: Topic = Topic::new("device-clocks");
const LEFT_OUT: Topic = Topic::new("left-out");
const ASIDE: Topic = Topic::new("set-aside");
const QUALITY: Topic = Topic::new("line-quality");

/// Turns the bytes of one source into packets.
#[derive(Debug)]
pub struct Ingest {
    framer: Framer,
    interpreter: Interpreter,
}

/// What the format of a source means beyond its decoder.
#[derive(Debug, Clone, Copy, Default)]
struct Traits {
    /// Frames are lines: what is none is text.
    has_lines: bool,
    /// Frames may tell the time by a clock of their own.
    tells_time: bool,
}

/// What came out of some bytes.
#[derive(Debug, Default)]
pub struct Yield {
    /// What is to be delivered.
    pub packets: Vec<Packet>,
    /// What is kept from the servers.
    pub set_aside: Vec<SetAside>,
    /// Names that need no confirmation any more.
    pub learnt: Vec<KnownName>,
}

/// Where something that is rejected is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// As a whole, or at a place that its reason tells.
    Whole,
    At(usize),
    AtEnd,
}

#[derive(Debug)]
struct Interpreter {
    traits: Traits,
    decoder: Decoder,
    quality: LineQuality,
    frames: FrameJudge<Frame>,
    losses: Losses,
    verdicts: Vec<Verdict<Frame>>,
    clocks: Clocks<JudgedFrame>,
    timed: Vec<Timed<JudgedFrame>>,
    readings: ReadingJudge,
    monitor: Arc<Monitor>,
    decisions: Decisions,
    /// When something was read last.
    now: Duration,
}

/// A frame that was decoded.
#[derive(Debug)]
struct Frame {
    decoded: Decoded,
    bytes: Arc<[u8]>,
    number: FrameNumber,
    received: Received,
}

impl Ingest {
    /// `tolerance` is how far a board's clock and the gateway's may disagree; `known` the names that
    /// were confirmed before.
    pub fn new(
        mut decoder: Decoder,
        known: &[KnownName],
        timeline: Timeline,
        tolerance: Duration,
        monitor: Arc<Monitor>,
    ) -> Self {
        decoder.catalogue().know(known);
        Self {
            framer: Framer::default(),
            interpreter: Interpreter {
                traits: Traits::default(),
                decoder,
                quality: LineQuality::default(),
                frames: FrameJudge::default(),
                losses: Losses::default(),
                verdicts: Vec::new(),
                clocks: Clocks::new(timeline, tolerance),
                timed: Vec::new(),
                readings: ReadingJudge::default(),
                monitor,
                decisions: Decisions::default(),
                now: Duration::ZERO,
            },
        }
    }

    /// The same for streams of another format than `board`, by a decoder for it.
    #[must_use]
    pub fn of_format(mut self, format: &Format, beginning: Beginning) -> Self {
        self.framer = Framer::new(format, beginning);
        self.interpreter.traits = Traits {
            has_lines: matches!(format, Format::Plotter(_) | Format::LineProtocol(_)),
            tells_time: format.tells_time(),
        };
        self
    }

    /// What the next bytes complete.
    pub fn take(&mut self, chunk: &Chunk) -> Yield {
        let received = Received {
            wall: chunk.received,
            monotonic: chunk.monotonic,
        };
        if chunk.discontinuity {
            self.end(received);
        }
        let interpreter = &mut self.interpreter;
        interpreter.advance(received.monotonic);
        self.framer.push(&chunk.bytes, &mut |segment| {
            interpreter.interpret(segment, received);
        });
        interpreter.report()
    }

    /// What comes from here on was recorded before.
    pub fn begin_recording(&mut self, times: RecordedTimes) {
        let interpreter = &mut self.interpreter;
        interpreter
            .clocks
            .begin_recording(times, &mut interpreter.timed);
    }

    /// The gateway's clock was set by so many nanoseconds. What was read before comes out, at times by
    /// the clock as it was; whether these follow it is returned too.
    /// What waits to be confirmed is moved along.
    pub fn set_clock(&mut self, step: i64) -> (Yield, bool) {
        let interpreter = &mut self.interpreter;
        interpreter.clocks.set_clock(step, &mut interpreter.timed);
        interpreter.judge_readings();
        // Where frames tell the time, those of before a step back were told apart from the gateway's
        // clock; what was ahead of it had the time of arrival, and moves along.
        let is_told = interpreter.traits.tells_time && step < 0;
        let follows = !interpreter.clocks.is_recording() && !is_told;
        for frame in interpreter.frames.held_mut() {
            frame.received.wall.0 = frame.received.wall.0.saturating_add(step);
        }
        interpreter.decoder.catalogue().set_clock(step, follows);
        (interpreter.report(), follows)
    }

    /// Whether times are to be noted from here on.
    pub fn note_times(&mut self, noting: bool) {
        self.interpreter.clocks.note(noting);
    }

    /// What was noted since this was last asked.
    pub fn take_notes(&mut self) -> Vec<TimeNote> {
        self.interpreter.clocks.take_notes()
    }

    /// How long after the last chunk was read [`tick`](Self::tick) is due, if nothing else comes.
    pub fn holds_for(&self) -> Option<Duration> {
        self.interpreter.holds_for()
    }

    /// What was held for what might follow it.
    pub fn tick(&mut self) -> Yield {
        let interpreter = &mut self.interpreter;
        if let Some(pause) = interpreter.holds_for() {
            interpreter.advance(interpreter.now + pause);
        }
        interpreter.report()
    }

    /// The input ended by itself, so that its last line is whole without a line feed; else as
    /// [`finish`](Self::finish).
    pub fn finish_input(&mut self, received: Received) -> Yield {
        let interpreter = &mut self.interpreter;
        self.framer
            .end(&mut |segment| interpreter.interpret(segment, received));
        self.finish(received)
    }

    /// The stream ended: what is unfinished will stay so, and what waits is decided.
    pub fn finish(&mut self, received: Received) -> Yield {
        self.end(received);
        let interpreter = &mut self.interpreter;
        let is_damaged = interpreter.quality.is_damaged();
        interpreter
            .frames
            .finish(is_damaged, &mut interpreter.verdicts);
        interpreter.losses.finish();
        interpreter.follow_verdicts();
        interpreter.clocks.release(&mut interpreter.timed);
        interpreter.judge_readings();
        let names = (interpreter.decoder.catalogue(), &mut interpreter.quality);
        interpreter
            .readings
            .finish(names, &mut interpreter.decisions);
        interpreter.report()
    }

    fn end(&mut self, received: Received) {
        let interpreter = &mut self.interpreter;
        self.framer
            .finish(&mut |segment| interpreter.interpret(segment, received));
    }
}

impl Interpreter {
    fn interpret(&mut self, segment: Segment<'_>, received: Received) {
        let at = received.wall;
        match segment {
            Segment::Text(bytes) => self.ignore(bytes, at),
            Segment::Damaged { bytes, reason } => {
                let number = self.quality.begin();
                self.quality.damage(number);
                let bytes: Arc<[u8]> = bytes.into();
                // Braces in a log line are no frame, and would fill the table.
                if self.traits.has_lines || begins_object(&bytes) {
                    self.set_frame_aside(Arc::clone(&bytes), at, None, reason, "");
                }
                self.reject(at, bytes, reason, Fault::AtEnd);
            }
            Segment::Frame(frame) => match self.decoder.decode(frame) {
                Err(RejectReason::NotTelemetry) if self.traits.has_lines => {
                    self.ignore(frame.as_bytes(), at);
                }
                Err(reason) => {
                    self.count_rejected(reason);
                    let bytes: Arc<[u8]> = frame.as_bytes().into();
                    if reason != RejectReason::NotTelemetry {
                        self.set_frame_aside(Arc::clone(&bytes), at, None, reason, "");
                    }
                    let fault = self.decoder.fault_at().map_or(Fault::Whole, Fault::At);
                    self.reject(at, bytes, reason, fault);
                }
                Ok(decoded) => self.accept(decoded, frame.as_bytes().into(), received),
            },
        }
    }

    /// Counts a frame that the decoder did not take, unless it is another object in the stream.
    fn count_rejected(&mut self, reason: RejectReason) {
        if self.decoder.met_telemetry() {
            let number = self.quality.begin();
            if reason != RejectReason::NoReadings {
                self.quality.damage(number);
            }
        }
    }

    fn ignore(&self, bytes: &[u8], at: Timestamp) {
        self.monitor.counters.ignored_bytes.add(bytes.len() as u64);
        self.show_text(at, bytes);
    }

    fn show_text(&self, at: Timestamp, bytes: &[u8]) {
        // A noisy stream without a frame comes in pieces as large as they were read.
        for bytes in bytes.chunks(MAX_FRAME) {
            self.show(at, bytes.into(), TrafficKind::Text);
        }
    }

    fn show(&self, at: Timestamp, bytes: Arc<[u8]>, kind: TrafficKind) {
        let traffic = &self.monitor.activity.traffic;
        traffic.push(TrafficEntry { at, kind, bytes });
    }

    fn reject(&self, at: Timestamp, bytes: Arc<[u8]>, reason: RejectReason, fault: Fault) {
        self.monitor.counters.frames_rejected[reason as usize].increment();
        tracing::debug!(
            reason = reason.name(),
            bytes = %bytes.escape_ascii(),
            "Rejected a frame: {}.", reason.explanation()
        );
        let kind = TrafficKind::Rejected {
            reason,
            broke_at_end: fault == Fault::AtEnd,
            place: match fault {
                Fault::At(place) => Some(place),
                Fault::Whole | Fault::AtEnd => None,
            },
        };
        self.show(at, bytes, kind);
    }

    fn accept(&mut self, decoded: Decoded, bytes: Arc<[u8]>, received: Received) {
        let number = self.quality.begin();
        let FrameTime::Uptime(uptime_ms) = decoded.time else {
            let frame = Frame {
                decoded,
                bytes,
                number,
                received,
            };
            return self.take_dated(frame);
        };
        let counts = Counts {
            uptime_ms,
            radio: decoded.radio_count,
            read: received.monotonic,
        };
        let is_damaged = self.quality.is_damaged();
        let board = decoded.board.clone();
        let frame = Frame {
            decoded,
            bytes,
            number,
            received,
        };
        let verdicts = &mut self.verdicts;
        self.frames
            .observe(&board, counts, is_damaged, frame, verdicts);
        self.follow_verdicts();
    }

    /// Nothing in the frame says whether it belongs where it stands.
    fn take_dated(&mut self, frame: Frame) {
        let received = frame.received;
        self.show(received.wall, Arc::clone(&frame.bytes), TrafficKind::Accepted);
        self.count_losses(&frame.decoded);
        let own = match frame.decoded.time {
            FrameTime::Own(time) => Some(time),
            FrameTime::Uptime(_) | FrameTime::Arrival => None,
        };
        let dated = Dated {
            own,
            readings: &frame.decoded.readings.clone(),
            frame: &Arc::clone(&frame.bytes),
        };
        let judged = JudgedFrame {
            decoded: frame.decoded,
            bytes: frame.bytes,
            number: frame.number,
            wrong_radio_count: false,
        };
        self.clocks
            .observe_dated(dated, received, judged, &mut self.timed);
        self.judge_readings();
    }

    fn count_losses(&mut self, decoded: &Decoded) {
        if let Some(number) = decoded.counter {
            self.losses.observe(&decoded.board, number);
            self.count_missed();
        }
    }

    /// Time passed: decides on what was held for long enough.
    fn advance(&mut self, now: Duration) {
        self.now = now;
        let is_damaged = self.quality.is_damaged();
        self.frames.advance(now, is_damaged, &mut self.verdicts);
        self.follow_verdicts();
        self.clocks.advance(now, &mut self.timed);
        self.judge_readings();
    }

    fn holds_for(&self) -> Option<Duration> {
        let frames = self.frames.deadline();
        let frames = frames.map(|deadline| deadline.saturating_sub(self.now));
        [frames, self.clocks.holds_for()]
            .into_iter()
            .flatten()
            .min()
    }

    fn follow_verdicts(&mut self) {
        let mut verdicts = std::mem::take(&mut self.verdicts);
        for verdict in verdicts.drain(..) {
            match verdict {
                Verdict::Accepted {
                    frame,
                    board,
                    wrong_radio_count,
                    wrong_board,
                } => {
                    if wrong_radio_count || wrong_board {
                        self.quality.damage(frame.number);
                    }
                    let bytes = Arc::clone(&frame.bytes);
                    self.show(frame.received.wall, bytes, TrafficKind::Accepted);
                    self.count_losses(&frame.decoded);
                    self.time(frame, &board, wrong_radio_count);
                }
                Verdict::SetAside { frame, detail } => {
                    let reason = RejectReason::ContradictsNeighbours;
                    self.quality.damage(frame.number);
                    let (at, bytes) = (frame.received.wall, frame.bytes);
                    self.set_frame_aside(Arc::clone(&bytes), at, None, reason, detail);
                    self.reject(at, bytes, reason, Fault::Whole);
                }
            }
        }
        self.verdicts = verdicts;
        for board in self.frames.take_forgotten() {
            self.clocks.forget(&board, &mut self.timed);
        }
        self.judge_readings();
        self.count_missed();
    }

    fn time(&mut self, frame: Frame, board: &str, wrong_radio_count: bool) {
        let stamp = Stamp::of(&frame.decoded);
        let received = frame.received;
        let frame = JudgedFrame {
            decoded: frame.decoded,
            bytes: frame.bytes,
            number: frame.number,
            wrong_radio_count,
        };
        let timed = &mut self.timed;
        self.clocks.observe(board, stamp, received, frame, timed);
    }

    fn judge_readings(&mut self) {
        let mut timed = std::mem::take(&mut self.timed);
        for Timed {
            payload,
            received,
            event_time,
            event,
        } in timed.drain(..)
        {
            self.monitor.counters.packets_processed.increment();
            announce(event, &payload.decoded.board, payload.decoded.uptime_ms());
            let names = (self.decoder.catalogue(), &mut self.quality);
            let decisions = &mut self.decisions;
            self.readings
                .judge(&payload, received, event_time, names, decisions);
        }
        self.timed = timed;
    }

    fn set_frame_aside(
        &mut self,
        frame: Arc<[u8]>,
        received: Timestamp,
        event_time: Option<Timestamp>,
        reason: RejectReason,
        detail: &str,
    ) {
        self.decisions.set_aside.push(SetAside {
            received,
            event_time,
            reading: None,
            reason,
            detail: detail.to_owned(),
            frame,
        });
    }

    /// What came out since this was asked last, counted.
    fn report(&mut self) -> Yield {
        let decisions = std::mem::take(&mut self.decisions);
        for packet in &decisions.packets {
            self.monitor.record(packet);
        }
        for set_aside in decisions.set_aside.iter().filter(|it| it.reading.is_some()) {
            self.note_set_aside(set_aside);
        }
        for name in decisions.confirmed {
            let key = name.metric.as_ref().map_or_else(
                || name.node.clone(),
                |metric| format!("{}.{metric}", name.node),
            );
            NEW_KEYS.say("", "", move |sum| {
                let repeated = sum.words();
                tracing::info!(key, repeated, "Unknown key passes under its own name.");
            });
        }
        let left_out = self.decoder.take_left_out();
        if !left_out.is_empty() {
            self.note_left_out(left_out);
        }
        self.note_quality();
        Yield {
            packets: decisions.packets,
            set_aside: decisions.set_aside,
            learnt: decisions.learnt,
        }
    }

    fn note_set_aside(&self, set_aside: &SetAside) {
        let reason = set_aside.reason;
        self.monitor.counters.readings_rejected[reason as usize].increment();
        let reading = set_aside.reading.as_ref();
        let Some(reading) = reading else { return };
        let (node, metric, value) = (reading.node.clone(), reading.metric.clone(), reading.value);
        ASIDE.say("", reason.name(), move |sum| {
            tracing::warn!(
                %node,
                %metric,
                value,
                repeated = sum.words(),
                "Set a reading aside: {}.", reason.explanation()
            );
        });
    }

    fn note_left_out(&self, left_out: BTreeMap<String, LeftOut>) {
        for (key, LeftOut { count, absent }) in &left_out {
            let present = count - absent;
            if present > 0 {
                let named = key.clone();
                LEFT_OUT.count(key, "", present, move |sum| {
                    tracing::warn!(
                        key = named,
                        values = sum.amount(),
                        repeated = sum.words(),
                        "Values were left out: they are no numbers, or do not belong to a node."
                    );
                });
            }
        }
        self.monitor.note_left_out(left_out);
    }

    fn note_quality(&mut self) {
        let ratio = self.quality.ratio();
        self.monitor.set_line_damage(ratio);
        let percent = (ratio * 100.0).round();
        match self.quality.turn() {
            None => {}
            Some(Turn::Bad) => QUALITY.say("", "bad", move |sum| {
                tracing::warn!(
                    percent,
                    repeated = sum.words(),
                    "Many frames arrive damaged: check the cable, the USB hub and the baud rate."
                );
            }),
            Some(Turn::Good) => QUALITY.say("", "good", move |sum| {
                tracing::info!(
                    percent,
                    repeated = sum.words(),
                    "Hardly any frame arrives damaged any more."
                );
            }),
        }
    }

    fn count_missed(&mut self) {
        let missed = self.frames.take_missed() + self.losses.take_missed();
        if missed > 0 {
            self.monitor.counters.packets_missed.add(missed);
            LOSSES.count("", "", missed, |sum| {
                tracing::warn!(
                    missed = sum.amount(),
                    repeated = sum.words(),
                    "Packets were lost between the board and the gateway."
                );
            });
        }
    }
}

/// Whether these bytes begin as an object does that holds something.
fn begins_object(bytes: &[u8]) -> bool {
    let rest = bytes.strip_prefix(b"{");
    rest.is_some_and(|rest| rest.trim_ascii_start().starts_with(b"\""))
}

fn announce(event: Option<ClockEvent>, board: &str, uptime_ms: u32) {
    match event {
        None => {}
        Some(ClockEvent::FirstPacket) => {
            let board = board.to_owned();
            NEW_BOARDS.say("", "", move |sum| {
                let repeated = sum.words();
                tracing::info!(board, repeated, "Board reports.");
            });
        }
        Some(ClockEvent::Wrapped) => CLOCKS.say("", "wrapped", move |sum| {
            tracing::info!(
                uptime_ms,
                repeated = sum.words(),
                "The device clock wrapped after 49.7 days."
            );
        }),
        Some(ClockEvent::Rebooted) => CLOCKS.say("", "rebooted", move |sum| {
            tracing::warn!(
                uptime_ms,
                repeated = sum.words(),
                "The board rebooted; its clock is anchored anew."
            );
        }),
        Some(ClockEvent::GatewayClockSet) => CLOCKS.say("", "set", move |sum| {
            tracing::warn!(
                uptime_ms,
                repeated = sum.words(),
                "The gateway's clock was set; the device clock is anchored anew."
            );
        }),
        Some(ClockEvent::NotSet) => {
            let board = board.to_owned();
            CLOCKS.say("", "not-set", move |sum| {
                tracing::warn!(
                    board,
                    repeated = sum.words(),
                    "The time that a board tells cannot be right; the time of arrival counts."
                );
            });
        }
        Some(ClockEvent::Drifted) => CLOCKS.say("", "drifted", move |sum| {
            tracing::warn!(
                uptime_ms,
                repeated = sum.words(),
                "Device and gateway clock drifted apart; anchored anew."
            );
        }),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn ingest(bytes: &'static [u8]) -> (Vec<Packet>, Arc<Monitor>) {
        let monitor = Arc::new(Monitor::default());
        let tolerance = Duration::from_secs(2);
        let decoder = Decoder::default();
        let mut ingest = Ingest::new(decoder, &[], Timeline::Line, tolerance, monitor.clone());
        let received = Timestamp(1_700_000_000_000_000_000);
        let mut packets = ingest.take(&Chunk {
            bytes: Bytes::from_static(bytes),
            received,
            monotonic: Duration::ZERO,
            discontinuity: false,
        });
        let ended = ingest.finish(Received {
            wall: received,
            monotonic: Duration::ZERO,
        });
        packets.packets.extend(ended.packets);
        let packets = packets.packets;
        (packets, monitor)
    }

    #[test]
    fn the_clean_sample_keeps_its_spacing_and_misses_nothing() {
        let (packets, monitor) = ingest(include_bytes!("../../tests/data/clean.ndjson"));
        assert_eq!(packets.len(), 360);
        assert_eq!(monitor.counters.packets_processed.get(), 360);
        assert_eq!(monitor.counters.packets_missed.get(), 0);
        for pair in packets.windows(2) {
            assert_eq!(
                pair[1].event_time.since(pair[0].event_time),
                Duration::from_secs(10)
            );
        }
    }

    #[test]
    fn damage_is_counted_by_reason_and_found_missing() {
        let (packets, monitor) = ingest(include_bytes!("../../tests/data/dirty.bin"));
        // A metric that is new came three times; its first two readings follow by themselves.
        assert_eq!(packets.len(), 43 + 2);
        let rejected = RejectReason::ALL.map(|reason| {
            (
                reason.name(),
                monitor.counters.frames_rejected[reason as usize].get(),
            )
        });
        let expected = [
            ("syntax", 3),
            ("unfinished", 3),
            ("too_long", 0),
            ("invalid_utf8", 3),
            ("not_telemetry", 0),
            ("invalid_time", 9),
            ("no_readings", 0),
            ("repeated_key", 0),
            ("contradicts_neighbours", 0),
            ("out_of_range", 0),
            ("unconfirmed_name", 0),
            ("spike", 0),
        ];
        assert_eq!(rejected, expected);
        assert!(monitor.counters.packets_missed.get() > 0);
        assert!(monitor.counters.ignored_bytes.get() > 4096);
    }
}
