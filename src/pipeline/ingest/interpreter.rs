//! What becomes of the pieces of a stream: each is counted and shown, and frames are judged.

use std::sync::Arc;
use std::time::Duration;

use super::Yield;
use super::notices::{FaultPlace, Notices};
use crate::monitor::{SourceMonitor, TrafficVerdict};
use crate::telemetry::{
    Calibration, Clocks, Counts, Decisions, Decoded, Decoder, Format, Frame, FrameJudge, FrameTime,
    LineQuality, Losses, ReadingJudge, Received, RecordedTimes, RejectReason, Segment, SetAside,
    Stamp, TimeNote, TimeShift, Timed, Timeline, Timestamp, Verdict, looks_like_telemetry,
};

/// Which keys a frame has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Naming {
    #[default]
    OfBoard,
    Any,
}

/// What the format of a source means beyond its decoder.
#[derive(Debug, Clone, Copy, Default)]
struct Traits {
    naming: Naming,
    /// Frames are lines: what is none is text.
    has_lines: bool,
    /// Frames may tell the time by a clock of their own.
    tells_time: bool,
}

/// The stages behind the framer.
#[derive(Debug)]
pub(super) struct Interpreter {
    traits: Traits,
    calibration: Calibration,
    decoder: Decoder,
    quality: LineQuality,
    frames: FrameJudge<Box<Frame>>,
    losses: Losses,
    verdicts: Vec<Verdict<Box<Frame>>>,
    clocks: Clocks<Box<Frame>>,
    timed: Vec<Timed<Box<Frame>>>,
    readings: ReadingJudge,
    notices: Notices,
    decisions: Decisions,
    /// When something was read last.
    now: Duration,
}

impl Interpreter {
    pub(super) fn new(
        decoder: Decoder,
        timeline: Timeline,
        tolerance: Duration,
        monitor: SourceMonitor,
    ) -> Self {
        Self {
            traits: Traits::default(),
            calibration: Calibration::default(),
            decoder,
            quality: LineQuality::default(),
            frames: FrameJudge::default(),
            losses: Losses::default(),
            verdicts: Vec::new(),
            clocks: Clocks::new(timeline, tolerance),
            timed: Vec::new(),
            readings: ReadingJudge::default(),
            notices: Notices::new(monitor),
            decisions: Decisions::default(),
            now: Duration::ZERO,
        }
    }

    /// Has readings of the signal go out under the node that it is of as well, if so.
    pub(super) fn giving_signal(mut self, gives_signal: bool) -> Self {
        self.readings = self.readings.giving_signal(gives_signal);
        self
    }

    /// What comes is of this format, as the decoder's is.
    pub(super) fn expect(&mut self, format: &Format) {
        self.traits = Traits {
            naming: match format {
                Format::Board => Naming::OfBoard,
                _ => Naming::Any,
            },
            has_lines: matches!(format, Format::Plotter(_) | Format::LineProtocol(_)),
            tells_time: format.tells_time(),
        };
    }

    /// Corrects what is delivered from here on.
    pub(super) fn calibrate(&mut self, calibration: Calibration) {
        self.calibration = calibration;
    }

    /// Takes the next piece of the stream.
    pub(super) fn interpret(&mut self, segment: Segment<'_>, received: Received) {
        let at = received.wall;
        match segment {
            Segment::Text(bytes) => self.notices.text(at, bytes),
            Segment::Damaged { bytes, reason } => {
                // What a log puts into braces says nothing of the line.
                if self.could_be_telemetry(bytes) {
                    let number = self.quality.begin();
                    self.quality.damage(number);
                }
                let bytes: Arc<[u8]> = bytes.into();
                // Braces in a log line are no frame, and would fill the table.
                if self.traits.has_lines || begins_object(&bytes) {
                    self.set_frame_aside(Arc::clone(&bytes), received, reason, "");
                }
                self.notices.rejected(at, bytes, reason, FaultPlace::AtEnd);
            }
            Segment::Frame(frame) => match self.decoder.decode(frame) {
                Err(RejectReason::NotTelemetry) if self.traits.has_lines => {
                    self.notices.text(at, frame.as_bytes());
                }
                Err(reason) => {
                    self.count_rejected(reason);
                    let bytes: Arc<[u8]> = frame.as_bytes().into();
                    if reason != RejectReason::NotTelemetry {
                        self.set_frame_aside(Arc::clone(&bytes), received, reason, "");
                    }
                    let fault = self
                        .decoder
                        .fault_at()
                        .map_or(FaultPlace::Whole, FaultPlace::At);
                    self.notices.rejected(at, bytes, reason, fault);
                }
                Ok(decoded) => self.accept(decoded, frame.as_bytes().into(), received),
            },
        }
    }

    /// Whether what broke off was a frame.
    fn could_be_telemetry(&self, bytes: &[u8]) -> bool {
        match self.traits.naming {
            Naming::OfBoard => looks_like_telemetry(bytes),
            Naming::Any => self.traits.has_lines || begins_object(bytes),
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

    fn accept(&mut self, decoded: Decoded, bytes: Arc<[u8]>, received: Received) {
        let time = decoded.time;
        let counts = Counts {
            uptime_ms: decoded.uptime_ms(),
            radio: decoded.radio_count,
            read: received.monotonic,
        };
        if let Some(number) = decoded.counter {
            self.losses.observe(&decoded.board, number);
            self.report_losses();
        }
        let at = received.wall;
        let nodes = self.decoder.catalogue().named(&decoded.nodes);
        let piece = self.notices.frame(at, Arc::clone(&bytes), nodes);
        let frame = Box::new(Frame {
            decoded,
            bytes,
            number: self.quality.begin(),
            piece,
            was_doubted: false,
            received,
            wrong_radio_count: false,
        });
        match time {
            FrameTime::Uptime(_) => {}
            FrameTime::Own(time) => return self.date(frame, Some(time)),
            FrameTime::Arrival => return self.date(frame, None),
        }
        let board = Arc::clone(&frame.decoded.board);
        let is_damaged = self.quality.is_damaged();
        self.frames
            .observe(&board, counts, is_damaged, frame, &mut self.verdicts);
        if let Some(frame) = self.frames.held_mut().find(|frame| frame.piece == piece) {
            frame.was_doubted = true;
            self.notices.judged(at, piece, TrafficVerdict::Doubted);
        }
        self.follow_verdicts();
    }

    /// Gives a frame its time of whose place nothing else speaks.
    fn date(&mut self, frame: Box<Frame>, own: Option<Timestamp>) {
        self.clocks.observe_dated(own, frame, &mut self.timed);
        self.judge_readings();
    }

    /// What comes from here on was recorded before.
    pub(super) fn begin_recording(&mut self, times: RecordedTimes) {
        self.clocks.begin_recording(times, &mut self.timed);
    }

    /// The gateway's clock was set by so many nanoseconds. How the times of what was read before are to move.
    pub(super) fn set_clock(&mut self, step: i64) -> TimeShift {
        self.clocks.set_clock(step, &mut self.timed);
        self.judge_readings();
        let shift = if self.clocks.is_recording() {
            TimeShift::of_reception(step)
        } else if self.traits.tells_time {
            TimeShift::of_arrivals(step)
        } else {
            TimeShift::of_all(step)
        };
        for frame in self.frames.held_mut() {
            frame.received.wall.0 = frame.received.wall.0.saturating_add(step);
        }
        self.decoder.catalogue().shift(shift);
        shift
    }

    /// Whether times are to be noted from here on.
    pub(super) fn note_times(&mut self, noting: bool) {
        self.clocks.note(noting);
    }

    /// What was noted since this was last asked.
    pub(super) fn take_notes(&mut self) -> Vec<TimeNote> {
        self.clocks.take_notes()
    }

    /// Time passed: decides on what was held for long enough.
    pub(super) fn advance(&mut self, now: Duration) {
        self.now = now;
        let is_damaged = self.quality.is_damaged();
        self.frames.advance(now, is_damaged, &mut self.verdicts);
        self.follow_verdicts();
        self.clocks.advance(now, &mut self.timed);
        self.judge_readings();
    }

    /// Nothing came for as long as something is held.
    pub(super) fn wait(&mut self) {
        if let Some(pause) = self.holds_for() {
            self.advance(self.now + pause);
        }
    }

    /// How long after the last chunk was read something held is due; `None`: nothing is.
    pub(super) fn holds_for(&self) -> Option<Duration> {
        let frames = self.frames.deadline();
        let frames = frames.map(|deadline| deadline.saturating_sub(self.now));
        [frames, self.clocks.holds_for()]
            .into_iter()
            .flatten()
            .min()
    }

    fn report_losses(&mut self) {
        for (node, missed) in self.losses.take_missed() {
            self.notices.missed(&node, missed);
        }
    }

    /// Nothing more will come: decides on all that waits.
    pub(super) fn finish(&mut self) {
        let is_damaged = self.quality.is_damaged();
        self.frames.finish(is_damaged, &mut self.verdicts);
        self.losses.finish();
        self.report_losses();
        self.follow_verdicts();
        self.clocks.release(&mut self.timed);
        self.judge_readings();
        let names = (self.decoder.catalogue(), &mut self.quality);
        self.readings.finish(names, &mut self.decisions);
    }

    fn follow_verdicts(&mut self) {
        let mut verdicts = std::mem::take(&mut self.verdicts);
        for verdict in verdicts.drain(..) {
            match verdict {
                Verdict::Accepted {
                    mut frame,
                    board,
                    wrong_radio_count,
                    wrong_board,
                    corrects_time,
                } => {
                    if wrong_radio_count || wrong_board {
                        self.quality.damage(frame.number);
                    }
                    frame.wrong_radio_count = wrong_radio_count;
                    let (stamp, received) = (Stamp::of(&frame.decoded), frame.received);
                    if frame.was_doubted {
                        let verdict = TrafficVerdict::Accepted;
                        self.notices.judged(received.wall, frame.piece, verdict);
                    }
                    if corrects_time {
                        self.clocks.correct(&board, stamp);
                    }
                    let timed = &mut self.timed;
                    self.clocks.observe(&board, stamp, received, frame, timed);
                }
                Verdict::SetAside { frame, detail } => {
                    let reason = RejectReason::ContradictsNeighbours;
                    self.quality.damage(frame.number);
                    self.notices.refused(&frame, reason);
                    self.set_frame_aside(frame.bytes, frame.received, reason, detail);
                }
            }
        }
        self.verdicts = verdicts;
        for board in self.frames.take_forgotten() {
            self.clocks.forget(&board, &mut self.timed);
        }
        self.judge_readings();
        for (board, missed) in self.frames.take_missed() {
            self.notices.missed(&board, missed);
        }
    }

    fn judge_readings(&mut self) {
        let mut timed = std::mem::take(&mut self.timed);
        for Timed {
            payload: frame,
            event_time,
            event,
            ..
        } in timed.drain(..)
        {
            self.notices.processed(event, &frame.decoded);
            let names = (self.decoder.catalogue(), &mut self.quality);
            let decisions = &mut self.decisions;
            self.readings.judge(*frame, event_time, names, decisions);
        }
        self.timed = timed;
    }

    fn set_frame_aside(
        &mut self,
        frame: Arc<[u8]>,
        received: Received,
        reason: RejectReason,
        detail: &str,
    ) {
        self.decisions.set_aside.push(SetAside {
            received: received.wall,
            event_time: None,
            reading: None,
            reason,
            detail: detail.to_owned(),
            frame,
        });
    }

    /// What came out since this was asked last, counted.
    pub(super) fn report(&mut self) -> Yield {
        let mut decisions = std::mem::take(&mut self.decisions);
        for packet in &mut decisions.packets {
            for reading in &mut packet.readings {
                self.calibration.apply(reading);
            }
        }
        self.notices.recorded(&decisions.packets);
        self.notices.heard(&decisions.hearings);
        for set_aside in &decisions.set_aside {
            self.notices.set_aside(set_aside);
        }
        for mark in &decisions.marks {
            self.notices.mark(*mark);
        }
        for name in &decisions.confirmed {
            self.notices.confirmed(name);
        }
        self.notices.left_out(self.decoder.take_left_out());
        self.notices.quality(&mut self.quality);
        Yield {
            packets: decisions.packets,
            set_aside: decisions.set_aside,
            learnt: decisions.learnt,
        }
    }
}

/// Whether these bytes begin as an object does that holds something.
fn begins_object(bytes: &[u8]) -> bool {
    let rest = bytes.strip_prefix(b"{");
    rest.is_some_and(|rest| rest.trim_ascii_start().starts_with(b"\""))
}
