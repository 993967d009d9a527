//! What is counted, shown and logged of a stream.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::escape::escape;
use crate::monitor::{SourceMonitor, TrafficKind, TrafficVerdict};
use crate::repeated::Topic;
use crate::telemetry::{
    ClockEvent, Decoded, Frame, Hearing, KnownName, LeftOut, LineQuality, MAX_FRAME, Mark, Name,
    Packet, RejectReason, SetAside, Timestamp, Turn,
};

const NEW_KEYS: Topic = Topic::new("new-keys").at_once(16);
const NEW_BOARDS: Topic = Topic::new("new-boards").at_once(16);
const LOSSES: Topic = Topic::new("losses");
const CLOCKS: Topic = Topic::new("device-clocks");
const LEFT_OUT: Topic = Topic::new("left-out");
const ASIDE: Topic = Topic::new("set-aside");
const QUALITY: Topic = Topic::new("line-quality");

/// Where something that is rejected is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FaultPlace {
    /// As a whole, or at a place that its reason tells.
    Whole,
    At(usize),
    AtEnd,
}

/// Tells the monitor and the log what happens.
#[derive(Debug)]
pub(super) struct Notices {
    monitor: SourceMonitor,
}

impl Notices {
    pub(super) fn new(monitor: SourceMonitor) -> Self {
        Self { monitor }
    }

    /// Bytes between frames.
    pub(super) fn text(&self, at: Timestamp, bytes: &[u8]) {
        self.monitor
            .counters()
            .ignored_bytes
            .add(bytes.len() as u64);
        // A noisy stream without a frame comes in pieces as large as they were read.
        for bytes in bytes.chunks(MAX_FRAME) {
            self.show(at, bytes.into(), TrafficKind::Text);
        }
    }

    /// A piece of the stream. Returns the number under which it is shown.
    pub(super) fn show(&self, at: Timestamp, bytes: Arc<[u8]>, kind: TrafficKind) -> u64 {
        self.monitor.show(at, bytes, kind)
    }

    /// A telemetry frame that names these nodes. Returns the number under which it is shown.
    pub(super) fn frame(&self, at: Timestamp, bytes: Arc<[u8]>, nodes: Arc<[Name]>) -> u64 {
        self.monitor.show_frame(at, bytes, nodes)
    }

    /// What became of a piece that was shown before.
    pub(super) fn judged(&self, at: Timestamp, piece: u64, verdict: TrafficVerdict) {
        self.monitor.show_verdict(at, piece, verdict);
    }

    /// A frame that is not believed.
    pub(super) fn refused(&self, frame: &Frame, reason: RejectReason) {
        self.count_rejected(&frame.bytes, reason);
        let verdict = TrafficVerdict::Rejected { reason };
        self.judged(frame.received.wall, frame.piece, verdict);
    }

    fn count_rejected(&self, bytes: &[u8], reason: RejectReason) {
        self.monitor.counters().frames_rejected[reason as usize].increment();
        tracing::debug!(
            reason = reason.name(),
            bytes = %escape(bytes),
            "Rejected a frame: {}.", reason.explanation()
        );
    }

    /// A frame that is none.
    pub(super) fn rejected(
        &self,
        at: Timestamp,
        bytes: Arc<[u8]>,
        reason: RejectReason,
        fault: FaultPlace,
    ) {
        self.count_rejected(&bytes, reason);
        let kind = TrafficKind::Rejected {
            reason,
            broke_at_end: fault == FaultPlace::AtEnd,
            place: match fault {
                FaultPlace::At(place) => Some(place as u64),
                FaultPlace::Whole | FaultPlace::AtEnd => None,
            },
        };
        self.show(at, bytes, kind);
    }

    /// A frame that has its time.
    pub(super) fn processed(&self, event: Option<ClockEvent>, frame: &Decoded) {
        self.monitor.counters().packets_processed.increment();
        let uptime_ms = frame.uptime_ms();
        let (name, source) = (self.monitor.name().as_str(), self.monitor.own_name());
        let (detail, words) = match event {
            None => return,
            Some(ClockEvent::FirstPacket) => return new_board(name, source, &frame.board),
            Some(ClockEvent::Wrapped) => {
                return CLOCKS.say(name, "wrapped", move |sum| {
                    let repeated = sum.words();
                    let words = "The device clock wrapped after 49.7 days.";
                    tracing::info!(source, uptime_ms, repeated, "{words}");
                });
            }
            Some(ClockEvent::Rebooted) => {
                self.monitor.note_reboot(self.monitor.source());
                let words = "The board rebooted; its clock is anchored anew.";
                ("rebooted", words)
            }
            Some(ClockEvent::GatewayClockSet) => {
                let words = "The gateway's clock was set; the device clock is anchored anew.";
                ("set", words)
            }
            Some(ClockEvent::NotSet) => {
                let words = "The time that a board tells cannot be right; that of arrival counts.";
                ("not-set", words)
            }
            Some(ClockEvent::Drifted) => {
                self.monitor.counters().clock_drifts.increment();
                let words = "Device and gateway clock drifted apart; anchored anew.";
                ("drifted", words)
            }
        };
        CLOCKS.say(name, detail, move |sum| {
            let repeated = sum.words();
            tracing::warn!(source, uptime_ms, repeated, "{words}");
        });
    }

    /// Which nodes were heard of.
    pub(super) fn heard(&self, hearings: &[Hearing]) {
        self.monitor.hear_nodes(hearings);
    }

    /// Packets that are to be delivered.
    pub(super) fn recorded(&self, packets: &[Packet]) {
        self.monitor.record(packets);
    }

    /// Where a reading stands that was set aside.
    pub(super) fn mark(&self, mark: Mark) {
        let verdict = TrafficVerdict::SetAside {
            at: mark.at.map(|at| at as u64),
            reason: mark.reason,
        };
        self.judged(Timestamp::now(), mark.piece, verdict);
    }

    /// A reading, or a frame that was told of before.
    pub(super) fn set_aside(&self, set_aside: &SetAside) {
        let reason = set_aside.reason;
        let Some(reading) = set_aside.reading.clone() else {
            return;
        };
        self.monitor.counters().readings_rejected[reason as usize].increment();
        let (name, source) = (self.monitor.name().as_str(), self.monitor.own_name());
        ASIDE.say(name, reason.name(), move |sum| {
            tracing::warn!(
                source,
                node = %reading.node,
                metric = %reading.metric,
                value = reading.value,
                repeated = sum.words(),
                "Set a reading aside: {}.", reason.explanation()
            );
        });
    }

    /// A name that came often enough.
    pub(super) fn confirmed(&self, name: &KnownName) {
        let key = match &name.metric {
            None => name.node.clone(),
            Some(metric) => format!("{}.{metric}", name.node),
        };
        let (name, source) = (self.monitor.name().as_str(), self.monitor.own_name());
        NEW_KEYS.say(name, "", move |sum| {
            let repeated = sum.words();
            tracing::info!(
                source,
                key,
                repeated,
                "Unknown key passes under its own name."
            );
        });
    }

    /// Values that are no readings.
    pub(super) fn left_out(&self, left_out: BTreeMap<String, LeftOut>) {
        if left_out.is_empty() {
            return;
        }
        for (key, LeftOut { count, absent }) in &left_out {
            let present = count - absent;
            if present > 0 {
                let (named, source) = (key.clone(), self.monitor.own_name());
                let subject = format!("{} {key}", self.monitor.name());
                LEFT_OUT.count(&subject, "", present, move |sum| {
                    tracing::warn!(
                        source,
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

    /// How many of the last frames were damaged.
    pub(super) fn quality(&self, quality: &mut LineQuality) {
        let ratio = quality.ratio();
        self.monitor.set_line_damage(ratio);
        let percent = (ratio * 100.0).round();
        let (name, source) = (self.monitor.name().as_str(), self.monitor.own_name());
        match quality.turn() {
            None => {}
            Some(Turn::Bad) => QUALITY.say(name, "bad", move |sum| {
                tracing::warn!(
                    source,
                    percent,
                    repeated = sum.words(),
                    "Many frames arrive damaged: check the cable, the USB hub and the baud rate."
                );
            }),
            Some(Turn::Good) => QUALITY.say(name, "good", move |sum| {
                tracing::info!(
                    source,
                    percent,
                    repeated = sum.words(),
                    "Hardly any frame arrives damaged any more."
                );
            }),
        }
    }

    /// Packets that the radio received and the gateway did not.
    pub(super) fn missed(&self, board: &str, missed: u64) {
        self.monitor.miss(board, missed);
        self.monitor.counters().packets_missed.add(missed);
        let (name, source) = (self.monitor.name().as_str(), self.monitor.own_name());
        LOSSES.count(name, "", missed, move |sum| {
            tracing::warn!(
                source,
                missed = sum.amount(),
                repeated = sum.words(),
                "Packets were lost between the board and the gateway."
            );
        });
    }
}

fn new_board(name: &str, source: Option<String>, board: &str) {
    let board = board.to_owned();
    NEW_BOARDS.say(name, "", move |sum| {
        let repeated = sum.words();
        tracing::info!(source, board, repeated, "Board reports.");
    });
}
