//! The clock of one board, anchored to the gateway's.

use std::time::Duration;

use super::{ClockEvent, Received, Stamp, nanoseconds};
use crate::telemetry::Timestamp;

/// Milliseconds after which the board's count begins again.
const WRAP_MILLIS: i64 = 1 << 32;

/// A step back within this distance of the count's end and beginning is a wrap.
const WRAP_WINDOW: Duration = Duration::from_mins(10);

/// Disagreement for longer than this is no delay.
const PATIENCE: Duration = Duration::from_secs(30);

/// As long as a board was not seen to report at the pace at which it measures, its times may be
/// ahead of the gateway's by this much: how unevenly packets of a live line are read.
const JITTER: i64 = 20_000_000;

/// Room for what tells packets of one millisecond apart.
const DISTINCTION: i64 = 1_000_000;

/// What an anchor says about a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judged {
    /// When it was measured, and why the clock was anchored for it, if it was.
    At(Timestamp, Option<ClockEvent>),
    /// There is no anchor for it, or none that can be right: it would be from the future.
    Adrift(Option<ClockEvent>),
}

/// The clock of one board.
#[derive(Debug, Default)]
pub(super) struct DeviceClock {
    anchored: Option<Anchored>,
}

#[derive(Debug, Clone, Copy)]
struct Anchored {
    /// The gateway's time at the count of zero.
    anchor: Timestamp,
    last: Stamp,
    last_received: Received,
    last_event: Timestamp,
    /// Whether a packet arrived no faster than it was measured since this anchor was set.
    confirmed: bool,
    /// Since when both clocks have disagreed.
    disagreeing_since: Option<Duration>,
}

impl DeviceClock {
    /// The time of a packet by the anchor that there is. `tolerance` is how far both clocks may
    /// disagree. A packet that is adrift changes nothing.
    pub(super) fn judge(
        &mut self,
        stamp: Stamp,
        received: Received,
        tolerance: Duration,
    ) -> Judged {
        let Some(last) = self.anchored else {
            return Judged::Adrift(Some(ClockEvent::FirstPacket));
        };
        if stamp == last.last {
            // The same packet again.
            return Judged::At(last.last_event, None);
        }
        let Some(zero) = last.zero_of(stamp, received) else {
            return Judged::Adrift(Some(ClockEvent::Rebooted));
        };
        let wrapped = (zero != last.anchor).then_some(ClockEvent::Wrapped);
        let natural = zero.plus_millis(i64::from(stamp.uptime_ms));
        let latest = Timestamp(received.wall.plus(tolerance).0 - DISTINCTION);
        let next_event = last.next_event(stamp, latest);
        match last.compare(natural, stamp, received, tolerance) {
            AnchorState::Holds(disagreeing_since) => {
                let confirmed = last.confirmed || !last.is_faster(stamp, received);
                let event = natural.max(next_event);
                let anchored = Anchored {
                    anchor: zero,
                    confirmed,
                    disagreeing_since,
                    ..Anchored::at(event, stamp, received)
                };
                self.anchored = Some(anchored);
                Judged::At(event, wrapped)
            }
            AnchorState::Set => {
                self.settle(received.wall, stamp, received, ClockEvent::GatewayClockSet)
            }
            AnchorState::Drifted => {
                let event = received.wall.max(next_event);
                let judged = self.settle(event, stamp, received, ClockEvent::Drifted);
                // A board that is ahead slows down until the gateway's clock is where it is.
                if let Some(anchored) = &mut self.anchored {
                    anchored.anchor = received.wall.plus_millis(-i64::from(stamp.uptime_ms));
                    anchored.confirmed = true;
                }
                judged
            }
            AnchorState::Ahead => Judged::Adrift(None),
        }
    }

    fn settle(
        &mut self,
        event: Timestamp,
        stamp: Stamp,
        received: Received,
        why: ClockEvent,
    ) -> Judged {
        self.anchor(event, stamp, received);
        Judged::At(event, Some(why))
    }

    /// Sets the anchor by a packet whose time is known.
    pub(super) fn anchor(&mut self, event: Timestamp, stamp: Stamp, received: Received) {
        self.anchored = Some(Anchored::at(event, stamp, received));
    }

    /// The count of the last packet was too high, as the next one tells.
    pub(super) fn correct(&mut self, next: Stamp) {
        if let Some(anchored) = &mut self.anchored {
            anchored.last.correct(next);
        }
    }

    /// The gateway's clock was set by so many nanoseconds since the last packet.
    pub(super) fn set_clock(&mut self, step: i64) {
        if let Some(anchored) = &mut self.anchored {
            let times = [
                &mut anchored.anchor,
                &mut anchored.last_event,
                &mut anchored.last_received.wall,
            ];
            for time in times {
                time.0 = time.0.saturating_add(step);
            }
        }
    }

    /// The time that the board's next packets must come after; `None`: there is none, or the
    /// gateway's clock was set since.
    pub(super) fn floor(&self, received: Received, tolerance: Duration) -> Option<Timestamp> {
        let last = self.anchored?;
        let was_set = last.wall_step(received).abs() > nanoseconds(tolerance) / 2;
        (!was_set).then_some(last.last_event)
    }
}

/// What comparing both clocks says about an anchor.
enum AnchorState {
    /// It holds, and has been in doubt since then.
    Holds(Option<Duration>),
    /// The gateway's clock was set.
    Set,
    /// One of the clocks runs too fast or too slow.
    Drifted,
    /// The packet would be from the future.
    Ahead,
}

impl Anchored {
    fn at(event: Timestamp, stamp: Stamp, received: Received) -> Self {
        Self {
            anchor: event.plus_millis(-i64::from(stamp.uptime_ms)),
            last: stamp,
            last_received: received,
            last_event: event,
            confirmed: false,
            disagreeing_since: None,
        }
    }

    /// The gateway's time at the count of zero that a packet counts from; `None`: the board
    /// restarted.
    fn zero_of(&self, stamp: Stamp, received: Received) -> Option<Timestamp> {
        if stamp.uptime_ms >= self.last.uptime_ms {
            return Some(self.anchor);
        }
        let is_wrap = wraps(self.last.uptime_ms, stamp.uptime_ms, self.pause(received));
        is_wrap.then(|| self.anchor.plus_millis(WRAP_MILLIS))
    }

    fn compare(
        &self,
        natural: Timestamp,
        stamp: Stamp,
        received: Received,
        tolerance: Duration,
    ) -> AnchorState {
        let limit = nanoseconds(tolerance);
        let error = received.wall.0.saturating_sub(natural.0);
        let wall_step = self.wall_step(received);
        if error.abs() > limit && wall_step.abs() > limit / 2 && (error - wall_step).abs() <= limit
        {
            return AnchorState::Set;
        }
        let is_faster = self.is_faster(stamp, received);
        if is_faster && error < 0 {
            let allowed = if self.confirmed {
                limit - DISTINCTION
            } else {
                JITTER.min(limit - DISTINCTION)
            };
            return if error < -allowed {
                AnchorState::Ahead
            } else {
                AnchorState::Holds(self.disagreeing_since)
            };
        }
        // Others of the same millisecond may follow, and come behind it.
        if (DISTINCTION - limit..=limit).contains(&error) {
            return AnchorState::Holds(None);
        }
        if is_faster {
            return AnchorState::Holds(self.disagreeing_since);
        }
        let since = self.disagreeing_since.unwrap_or(received.monotonic);
        if error < 0 || received.monotonic.saturating_sub(since) >= PATIENCE {
            return AnchorState::Drifted;
        }
        AnchorState::Holds(Some(since))
    }

    /// How far the gateway's wall clock was set since the last packet.
    fn wall_step(&self, received: Received) -> i64 {
        let passed = received.wall.0.saturating_sub(self.last_received.wall.0);
        passed.saturating_sub(nanoseconds(self.pause(received)))
    }

    /// Since the last packet, by the gateway's clock.
    fn pause(&self, received: Received) -> Duration {
        received
            .monotonic
            .saturating_sub(self.last_received.monotonic)
    }

    /// Since the last packet, by the board's clock.
    fn device_pause(&self, stamp: Stamp) -> Duration {
        Duration::from_millis(stamp.uptime_ms.wrapping_sub(self.last.uptime_ms).into())
    }

    /// Whether a packet arrives faster than it was measured.
    fn is_faster(&self, stamp: Stamp, received: Received) -> bool {
        self.device_pause(stamp) > self.pause(received) * 2
    }

    /// The earliest time that another packet of the board may have: the board's clock is slowed down
    /// to half its speed at the most, unless that leads behind `latest`, and two packets never share a time.
    fn next_event(&self, stamp: Stamp, latest: Timestamp) -> Timestamp {
        let half = nanoseconds(self.device_pause(stamp)) / 2;
        let behind = |nanos: i64| Timestamp(self.last_event.0.saturating_add(nanos));
        behind(half).min(latest).max(behind(1))
    }
}

/// Whether a count that steps back began again after its end.
pub(in crate::telemetry) fn wraps(last_ms: u32, next_ms: u32, pause: Duration) -> bool {
    let forward = Duration::from_millis(u64::from(next_ms.wrapping_sub(last_ms)));
    forward <= pause + WRAP_WINDOW
}
