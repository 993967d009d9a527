//! From chunks to packets: framer, decoder and clocks in a row, and what is counted on the way.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::monitor::{Monitor, TrafficEntry, TrafficKind};
use crate::repeated::Topic;
use crate::source::Chunk;
use crate::telemetry::{
    ClockEvent, Clocks, Decoded, Decoder, Framer, LossCounter, MAX_FRAME, Packet, Received,
    RecordedTimes, RejectReason, Segment, Stamp, TimeNote, Timed, Timeline, Timestamp,
};

/// Boards that are told apart in one stream; a source has one, and a damaged name must not become
/// another for ever.
const MAX_BOARDS: usize = 16;

const NEW_KEYS: Topic = Topic::new("new-keys").at_once(16);
const NEW_BOARDS: Topic = Topic::new("new-boards").at_once(16);
const LOSSES: Topic = Topic::new("losses");
const CLOCKS: Topic = Topic::new("device-clocks");

/// Turns the bytes of one source into packets.
#[derive(Debug)]
pub struct Ingest {
    framer: Framer,
    interpreter: Interpreter,
}

#[derive(Debug)]
struct Interpreter {
    decoder: Decoder,
    clocks: Clocks<Decoded>,
    timed: Vec<Timed<Decoded>>,
    losses: HashMap<String, LossCounter>,
    monitor: Arc<Monitor>,
    packets: Vec<Packet>,
}

impl Ingest {
    /// `tolerance` is how far a board's clock and the gateway's may disagree.
    pub fn new(
        decoder: Decoder,
        timeline: Timeline,
        tolerance: Duration,
        monitor: Arc<Monitor>,
    ) -> Self {
        Self {
            framer: Framer::default(),
            interpreter: Interpreter {
                decoder,
                clocks: Clocks::new(timeline, tolerance),
                timed: Vec::new(),
                losses: HashMap::new(),
                monitor,
                packets: Vec::new(),
            },
        }
    }

    /// The packets that the next bytes complete.
    pub fn take(&mut self, chunk: &Chunk) -> Vec<Packet> {
        let received = Received {
            wall: chunk.received,
            monotonic: chunk.monotonic,
        };
        if chunk.discontinuity {
            self.end(received);
        }
        let interpreter = &mut self.interpreter;
        let timed = &mut interpreter.timed;
        interpreter.clocks.advance(received.monotonic, timed);
        interpreter.pass_on();
        self.framer.push(&chunk.bytes, &mut |segment| {
            interpreter.interpret(segment, received);
        });
        std::mem::take(&mut interpreter.packets)
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
    pub fn set_clock(&mut self, step: i64) -> (Vec<Packet>, bool) {
        let interpreter = &mut self.interpreter;
        interpreter.clocks.set_clock(step, &mut interpreter.timed);
        interpreter.pass_on();
        let follows = !interpreter.clocks.is_recording();
        (std::mem::take(&mut interpreter.packets), follows)
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
        self.interpreter.clocks.holds_for()
    }

    /// Packets that were held for what might follow them.
    pub fn tick(&mut self) -> Vec<Packet> {
        self.interpreter.release();
        std::mem::take(&mut self.interpreter.packets)
    }

    /// The stream ended: what is unfinished will stay so.
    pub fn finish(&mut self, received: Received) -> Vec<Packet> {
        self.end(received);
        self.tick()
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
            Segment::Text(bytes) => {
                self.monitor.counters.ignored_bytes.add(bytes.len() as u64);
                self.show(at, bytes, TrafficKind::Text);
            }
            Segment::Damaged { bytes, reason } => self.reject(at, bytes, reason, true),
            Segment::Frame(frame) => match self.decoder.decode(frame) {
                Err(reason) => self.reject(at, frame.as_bytes(), reason, false),
                Ok(decoded) => {
                    self.show(at, frame.as_bytes(), TrafficKind::Accepted);
                    self.accept(decoded, received);
                }
            },
        }
    }

    fn show(&self, at: Timestamp, bytes: &[u8], kind: TrafficKind) {
        // A noisy stream without a frame comes in pieces as large as they were read.
        for bytes in bytes.chunks(MAX_FRAME) {
            let bytes = bytes.into();
            self.monitor
                .activity
                .traffic
                .push(TrafficEntry { at, kind, bytes });
        }
    }

    fn reject(&self, at: Timestamp, bytes: &[u8], reason: RejectReason, broke_at_end: bool) {
        self.monitor.counters.frames_rejected[reason as usize].increment();
        self.show(
            at,
            bytes,
            TrafficKind::Rejected {
                reason,
                broke_at_end,
            },
        );
        tracing::debug!(
            reason = reason.name(),
            bytes = %bytes.escape_ascii(),
            "Rejected a frame: {}.", reason.explanation()
        );
    }

    fn accept(&mut self, mut decoded: Decoded, received: Received) {
        for key in std::mem::take(&mut decoded.new_keys) {
            NEW_KEYS.say("", "", move |sum| {
                let repeated = sum.words();
                tracing::info!(key, repeated, "Unknown key passes under its own name.");
            });
        }
        let stamp = Stamp::of(&decoded);
        let board = decoded.board.clone();
        let timed = &mut self.timed;
        self.clocks.observe(&board, stamp, received, decoded, timed);
        self.pass_on();
    }

    /// Has what the clocks hold go on.
    fn release(&mut self) {
        self.clocks.release(&mut self.timed);
        self.pass_on();
    }

    fn pass_on(&mut self) {
        let mut timed = std::mem::take(&mut self.timed);
        for packet in timed.drain(..) {
            self.record(packet);
        }
        self.timed = timed;
    }

    fn record(&mut self, timed: Timed<Decoded>) {
        let (decoded, event) = (timed.payload, timed.event);
        announce(event, &decoded.board, decoded.uptime_ms);
        if let Some(count) = decoded.radio_count {
            self.count_missed(decoded.board, count, event);
        }
        let packet = Packet {
            received: timed.received.wall,
            event_time: timed.event_time,
            readings: decoded.readings,
        };
        self.monitor.record(&packet);
        self.packets.push(packet);
    }

    fn count_missed(&mut self, board: String, count: u32, event: Option<ClockEvent>) {
        if self.losses.len() >= MAX_BOARDS && !self.losses.contains_key(&board) {
            self.losses.clear();
        }
        let losses = self.losses.entry(board).or_default();
        let missed = losses.observe(count, event == Some(ClockEvent::Rebooted));
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
        let mut ingest = Ingest::new(decoder, Timeline::Line, tolerance, monitor.clone());
        let received = Timestamp(1_700_000_000_000_000_000);
        let mut packets = ingest.take(&Chunk {
            bytes: Bytes::from_static(bytes),
            received,
            monotonic: Duration::ZERO,
            discontinuity: false,
        });
        packets.extend(ingest.finish(Received {
            wall: received,
            monotonic: Duration::ZERO,
        }));
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
        assert_eq!(packets.len(), 43);
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
        ];
        assert_eq!(rejected, expected);
        assert!(monitor.counters.packets_missed.get() > 0);
        assert!(monitor.counters.ignored_bytes.get() > 4096);
    }
}
