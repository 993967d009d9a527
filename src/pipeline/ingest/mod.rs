//! From chunks to packets: framer, decoder, judges and clocks in a row. One board's line has one of it.
//!
//! ```text
//! framer → decoder → frame judge (ts and rx against the neighbours) → clocks
//!                  → reading judge (ranges, names, spikes) → journal
//! ```

mod interpreter;
mod notices;

use std::time::Duration;

use crate::monitor::SourceMonitor;
use crate::source::Chunk;
use crate::telemetry::{
    Beginning, Calibration, Decoder, Format, Framer, KnownName, Packet, Received, RecordedTimes,
    SetAside, TimeNote, TimeShift, Timeline,
};
use interpreter::Interpreter;

/// Turns the bytes of one source into packets.
#[derive(Debug)]
pub struct Ingest {
    framer: Framer,
    interpreter: Interpreter,
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

impl Ingest {
    /// `tolerance` is how far a board's clock and the gateway's may disagree; `known` the names that
    /// were confirmed before.
    pub fn new(
        mut decoder: Decoder,
        known: &[KnownName],
        timeline: Timeline,
        tolerance: Duration,
        monitor: SourceMonitor,
    ) -> Self {
        decoder.catalogue().know(known);
        Self {
            framer: Framer::default(),
            interpreter: Interpreter::new(decoder, timeline, tolerance, monitor),
        }
    }

    /// Has readings of the signal go out under the node that it is of as well, if so.
    #[must_use]
    pub fn giving_signal(mut self, gives_signal: bool) -> Self {
        self.interpreter = self.interpreter.giving_signal(gives_signal);
        self
    }

    /// The same for streams of a format, by a decoder for it.
    #[must_use]
    pub fn of_format(mut self, format: &Format, beginning: Beginning) -> Self {
        self.framer = Framer::new(format, beginning);
        self.interpreter.expect(format);
        self
    }

    /// Corrects what is delivered.
    #[must_use]
    pub fn calibrated(mut self, calibration: Calibration) -> Self {
        self.interpreter.calibrate(calibration);
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
        self.interpreter.begin_recording(times);
    }

    /// The gateway's clock was set by so many nanoseconds. What was read before comes out, at times by
    /// the clock as it was; how these are to move is returned too.
    /// What waits to be confirmed is moved along.
    pub fn set_clock(&mut self, step: i64) -> (Yield, TimeShift) {
        let shift = self.interpreter.set_clock(step);
        (self.interpreter.report(), shift)
    }

    /// Whether times are to be noted from here on.
    pub fn note_times(&mut self, noting: bool) {
        self.interpreter.note_times(noting);
    }

    /// What was noted since this was last asked.
    pub fn take_notes(&mut self) -> Vec<TimeNote> {
        self.interpreter.take_notes()
    }

    /// How long after the last chunk was read [`tick`](Self::tick) is due, if nothing else comes.
    pub fn holds_for(&self) -> Option<Duration> {
        self.interpreter.holds_for()
    }

    /// What was held for what might follow it.
    pub fn tick(&mut self) -> Yield {
        self.interpreter.wait();
        self.interpreter.report()
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
        self.interpreter.finish();
        self.interpreter.report()
    }

    fn end(&mut self, received: Received) {
        let interpreter = &mut self.interpreter;
        self.framer
            .finish(&mut |segment| interpreter.interpret(segment, received));
    }
}

#[cfg(test)]
mod tests;
