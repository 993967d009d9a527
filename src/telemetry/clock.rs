//! Gives readings the time at which the board measured them.
//!
//! The board counts milliseconds since it booted. The first packet *anchors* that count to the
//! gateway's clock: the anchor is the gateway's time at which the board would have counted zero. From
//! then on a packet's time is anchor + count, so that readings keep the board's own spacing however
//! unevenly they arrive. The anchor is set anew when it proves wrong:
//!
//! | what is seen | what it is | what is done |
//! | --- | --- | --- |
//! | the count steps back, from close to its end to close to its beginning | the `u32` wrapped, every 49.7 days | the count goes on, times too |
//! | the count steps back otherwise | the board rebooted | anchored at this packet |
//! | both disagree, and the gateway's wall clock moved by as much against its monotonic clock | the gateway's clock was set (NTP at boot) | anchored at this packet |
//! | both disagree, and packets arrive faster than they were measured | a backlog or a recording is read | the anchor is kept |
//! | both disagree for longer than half a minute | one of the clocks drifts | anchored at this packet |

use std::time::Duration;

use super::Timestamp;

/// Milliseconds after which the board's count begins again.
const WRAP_MILLIS: i64 = 1 << 32;

/// A step back within this distance of the count's end and beginning is a wrap.
const WRAP_WINDOW: Duration = Duration::from_mins(10);

/// Disagreement for longer than this is no delay.
const PATIENCE: Duration = Duration::from_secs(30);

/// When the gateway received something, by both of its clocks.
#[derive(Debug, Clone, Copy)]
pub struct Received {
    /// The wall clock's time; can be set while the gateway runs.
    pub wall: Timestamp,
    /// Time since some fixed moment; never set, never steps.
    pub monotonic: Duration,
}

/// What the times of arrival say about the times of measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timeline {
    /// Packets arrive as they are measured.
    Live,
    /// Packets were recorded before; when they arrive says nothing.
    Recorded,
}

/// Why the clock was anchored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClockEvent {
    /// The first packet.
    FirstPacket,
    /// The board's count began again after 2³² ms.
    Wrapped,
    /// The board restarted.
    Rebooted,
    /// The gateway's clock was set.
    GatewayClockSet,
    /// Board and gateway ran apart.
    Drifted,
}

/// The clock of one board.
#[derive(Debug)]
pub struct DeviceClock {
    timeline: Timeline,
    tolerance: Duration,
    anchored: Option<Anchored>,
}

#[derive(Debug, Clone, Copy)]
struct Anchored {
    /// The gateway's time at the count of zero.
    anchor: Timestamp,
    last_uptime_ms: u32,
    last_received: Received,
    last_event: Timestamp,
    /// Since when both clocks have disagreed.
    disagreeing_since: Option<Duration>,
}

impl DeviceClock {
    /// A clock that was not anchored yet. `tolerance` is how far both may disagree.
    pub fn new(timeline: Timeline, tolerance: Duration) -> Self {
        Self {
            timeline,
            tolerance,
            anchored: None,
        }
    }

    /// The time of a packet, and why the clock was anchored for it, if it was.
    pub fn observe(
        &mut self,
        uptime_ms: u32,
        received: Received,
    ) -> (Timestamp, Option<ClockEvent>) {
        let Some(last) = self.anchored else {
            let event = self.anchor_at(received.wall, uptime_ms, received);
            return (event, Some(ClockEvent::FirstPacket));
        };
        if uptime_ms < last.last_uptime_ms {
            return self.step_back(last, uptime_ms, received);
        }
        let event = last.anchor.plus_millis(i64::from(uptime_ms));
        let (disagreeing_since, reason) = match self.timeline {
            Timeline::Recorded => (None, None),
            Timeline::Live => self.compare(&last, event, uptime_ms, received),
        };
        if let Some(reason) = reason {
            let event = self.anchor_at(received.wall, uptime_ms, received);
            return (event, Some(reason));
        }
        self.anchored = Some(Anchored {
            last_uptime_ms: uptime_ms,
            last_received: received,
            last_event: event,
            disagreeing_since,
            ..last
        });
        (event, None)
    }

    /// Whether the anchor still holds. Returns since when it is in doubt, and why it does not hold.
    fn compare(
        &self,
        last: &Anchored,
        event: Timestamp,
        uptime_ms: u32,
        received: Received,
    ) -> (Option<Duration>, Option<ClockEvent>) {
        let tolerance = nanoseconds(self.tolerance);
        let error = received.wall.0 - event.0;
        if error.abs() <= tolerance {
            return (None, None);
        }
        let gateway_pause = received
            .monotonic
            .saturating_sub(last.last_received.monotonic);
        let wall_step = received.wall.0 - last.last_received.wall.0 - nanoseconds(gateway_pause);
        if wall_step.abs() > tolerance / 2 && (error - wall_step).abs() <= tolerance {
            return (None, Some(ClockEvent::GatewayClockSet));
        }
        let device_pause = Duration::from_millis(u64::from(uptime_ms - last.last_uptime_ms));
        if device_pause > gateway_pause * 2 {
            return (last.disagreeing_since, None);
        }
        let since = last.disagreeing_since.unwrap_or(received.monotonic);
        let drifted = received.monotonic.saturating_sub(since) >= PATIENCE;
        (Some(since), drifted.then_some(ClockEvent::Drifted))
    }

    fn step_back(
        &mut self,
        last: Anchored,
        uptime_ms: u32,
        received: Received,
    ) -> (Timestamp, Option<ClockEvent>) {
        let forward = Duration::from_millis(u64::from(uptime_ms.wrapping_sub(last.last_uptime_ms)));
        let pause = received
            .monotonic
            .saturating_sub(last.last_received.monotonic);
        if forward <= pause + WRAP_WINDOW {
            let anchor = last.anchor.plus_millis(WRAP_MILLIS);
            let event = anchor.plus_millis(i64::from(uptime_ms));
            self.anchored = Some(Anchored {
                anchor,
                last_uptime_ms: uptime_ms,
                last_received: received,
                last_event: event,
                disagreeing_since: None,
            });
            return (event, Some(ClockEvent::Wrapped));
        }
        // Where a recording runs ahead of the gateway's clock, what was measured after the reboot
        // must not get times from before it.
        let at = match self.timeline {
            Timeline::Live if received.wall >= last.last_event => received.wall,
            Timeline::Live if !self.is_ahead(&last) => received.wall,
            Timeline::Live | Timeline::Recorded => {
                received.wall.max(last.last_event.plus_millis(1))
            }
        };
        let event = self.anchor_at(at, uptime_ms, received);
        (event, Some(ClockEvent::Rebooted))
    }

    /// Whether times ran ahead of the gateway's clock, as they do when a recording is read quickly.
    fn is_ahead(&self, last: &Anchored) -> bool {
        last.last_event.0 - last.last_received.wall.0 > nanoseconds(self.tolerance)
    }

    fn anchor_at(&mut self, event: Timestamp, uptime_ms: u32, received: Received) -> Timestamp {
        self.anchored = Some(Anchored {
            anchor: event.plus_millis(-i64::from(uptime_ms)),
            last_uptime_ms: uptime_ms,
            last_received: received,
            last_event: event,
            disagreeing_since: None,
        });
        event
    }
}

fn nanoseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: i64 = 1_700_000_000_000;

    /// A packet: milliseconds since the start by the gateway's monotonic clock, what its wall clock
    /// is off, and the board's count; then the expected time since the start, and event.
    type Case = (i64, i64, u32, i64, Option<ClockEvent>);

    fn run(timeline: Timeline, cases: &[Case]) {
        let mut clock = DeviceClock::new(timeline, Duration::from_secs(2));
        for (number, &(monotonic, offset, uptime_ms, expected, expected_event)) in
            cases.iter().enumerate()
        {
            let received = Received {
                wall: Timestamp::default().plus_millis(START + monotonic + offset),
                monotonic: Duration::from_millis(monotonic.unsigned_abs()),
            };
            let (time, event) = clock.observe(uptime_ms, received);
            assert_eq!(
                (time.0 / 1_000_000 - START, event),
                (expected, expected_event),
                "packet {number}"
            );
        }
    }

    const FIRST: Option<ClockEvent> = Some(ClockEvent::FirstPacket);
    const REBOOTED: Option<ClockEvent> = Some(ClockEvent::Rebooted);
    const WRAPPED: Option<ClockEvent> = Some(ClockEvent::Wrapped);
    const SET: Option<ClockEvent> = Some(ClockEvent::GatewayClockSet);
    const DRIFTED: Option<ClockEvent> = Some(ClockEvent::Drifted);

    #[test]
    fn readings_keep_the_spacing_of_the_board() {
        run(
            Timeline::Live,
            &[
                (0, 0, 12_000, 0, FIRST),
                (10_040, 0, 22_000, 10_000, None),
                (20_013, 0, 32_000, 20_000, None),
                (20_013, 0, 32_000, 20_000, None), // Sent again: the same time.
                (31_900, 0, 42_000, 30_000, None),
            ],
        );
    }

    #[test]
    fn a_reboot_anchors_anew() {
        run(
            Timeline::Live,
            &[
                (0, 0, 500_000, 0, FIRST),
                (10_000, 0, 510_000, 10_000, None),
                (25_000, 0, 3_000, 25_000, REBOOTED),
                (35_000, 0, 13_000, 35_000, None),
            ],
        );
    }

    #[test]
    fn a_wrap_goes_on_as_if_nothing_were() {
        let end = u32::MAX - 4_999;
        run(
            Timeline::Live,
            &[
                (0, 0, end, 0, FIRST),
                (10_020, 0, 5_000, 10_000, WRAPPED),
                (20_010, 0, 15_000, 20_000, None),
            ],
        );
        // The same after hours of silence.
        run(
            Timeline::Live,
            &[
                (0, 0, end, 0, FIRST),
                (7_200_000, 0, 7_195_000, 7_200_000, WRAPPED),
            ],
        );
        // A reboot shortly before the end.
        run(
            Timeline::Live,
            &[
                (0, 0, end, 0, FIRST),
                (10_000, 0, 1_900_000, 10_000, REBOOTED),
            ],
        );
    }

    #[test]
    fn a_gateway_clock_that_is_set_anchors_anew() {
        let year = 365 * 86_400_000;
        run(
            Timeline::Live,
            &[
                (0, 0, 12_000, 0, FIRST),
                (10_000, 0, 22_000, 10_000, None),
                (20_000, year, 32_000, 20_000 + year, SET),
                (30_050, year, 42_000, 30_000 + year, None),
                (40_000, 0, 52_000, 40_000, SET),
                (50_000, 0, 62_000, 50_000, None),
            ],
        );
        // Set while the board rebooted: anchored once, at the time that is right now.
        run(
            Timeline::Live,
            &[
                (0, 0, 12_000, 0, FIRST),
                (10_000, -60_000, 2_000, -50_000, REBOOTED),
                (20_000, -60_000, 12_000, -40_000, None),
            ],
        );
    }

    #[test]
    fn a_stall_that_is_made_up_for_changes_nothing() {
        run(
            Timeline::Live,
            &[
                (0, 0, 10_000, 0, FIRST),
                (60_000, 0, 20_000, 10_000, None), // 50 s late,
                (60_001, 0, 30_000, 20_000, None), // and the rest right behind it.
                (60_002, 0, 40_000, 30_000, None),
                (60_003, 0, 50_000, 40_000, None),
                (60_004, 0, 60_000, 50_000, None),
                (60_005, 0, 70_000, 60_000, None),
                (70_000, 0, 80_000, 70_000, None),
            ],
        );
    }

    #[test]
    fn a_drift_beyond_the_tolerance_is_mended() {
        let mut cases = vec![(0, 0, 10_000, 0, FIRST)];
        // The board runs 1 % slow: after 200 s it is 2 s behind.
        for packet in 1..=20_u32 {
            let spacing = 10_100;
            cases.push((
                i64::from(packet) * spacing,
                0,
                10_000 + packet * 10_000,
                i64::from(packet) * 10_000,
                None,
            ));
        }
        cases.push((212_100, 0, 220_000, 210_000, None));
        cases.push((222_200, 0, 230_000, 220_000, None));
        cases.push((232_300, 0, 240_000, 230_000, None));
        cases.push((242_400, 0, 250_000, 242_400, DRIFTED));
        cases.push((252_500, 0, 260_000, 252_400, None));
        run(Timeline::Live, &cases);
    }

    #[test]
    fn a_recording_read_at_once_keeps_its_spacing() {
        for timeline in [Timeline::Live, Timeline::Recorded] {
            run(
                timeline,
                &[
                    (0, 0, 12_000, 0, FIRST),
                    (0, 0, 22_000, 10_000, None),
                    (1, 0, 3_612_000, 3_600_000, None),
                    (1, 0, 2_000, 3_600_001, REBOOTED),
                    (1, 0, 12_000, 3_610_001, None),
                ],
            );
        }
    }
}
