//! Packets of boards that have no clock, or one that tells the time itself.

use super::{ClockEvent, Clocks, Received, TimeNote, Timed, nanoseconds};
use crate::telemetry::{Frame, Name, Reading, Timestamp};

/// A clock that says so or less was never set: 2015.
const EARLIEST: Timestamp = Timestamp(1_420_070_400_000_000_000);

/// A time of arrival that is further back is by a clock that was set.
const LARGEST_STEP: i64 = 3_600_000_000_000;

/// How far what is moved apart may get ahead of the time of reading, in milliseconds.
pub(super) const LEEWAY: i64 = 100;

const MILLI: i64 = 1_000_000;

/// Values of one time that are told apart.
const MAX_VALUES: usize = 256;

/// What was dated last.
#[derive(Debug, Default)]
pub(super) struct Dates {
    arrival: Option<Timestamp>,
    own: Option<OwnTime>,
}

/// A time that a board told, and what it told of it.
#[derive(Debug)]
struct OwnTime {
    told: Timestamp,
    given: Timestamp,
    values: Vec<(Name, Name, u64)>,
}

impl Dates {
    /// Two packets never share a time of arrival: they are a millisecond apart, which is what databases
    /// tell apart, as long as that does not get ahead of `latest`, and less if it would.
    fn arrival(&mut self, at: Timestamp, latest: Timestamp, never_after: Timestamp) -> Timestamp {
        let at = match self.arrival {
            Some(last) if at < last.plus_millis(1) && last.0 - at.0 <= LARGEST_STEP => {
                let apart = last.plus_millis(1);
                if at > last && at.since(last).as_nanos() > 500_000 {
                    at
                } else if apart <= latest {
                    apart
                } else {
                    let next = at.max(Timestamp(last.0 + 1));
                    if next <= never_after { next } else { at }
                }
            }
            _ => at,
        };
        self.arrival = Some(at);
        at
    }

    /// A board may measure several times in what its clock takes for one moment: each such value gets a
    /// time of its own, as a database would keep the last of them alone.
    fn own(&mut self, told: Timestamp, readings: &[Reading]) -> Timestamp {
        let values = readings
            .iter()
            .map(|it| (it.node.clone(), it.metric.clone(), it.value.to_bits()));
        let mut values: Vec<_> = values.take(MAX_VALUES).collect();
        let (given, values) = match self.own.take().filter(|own| own.told == told) {
            None => (told, values),
            Some(last) => {
                let is_other = |(node, metric, value): &(Name, Name, u64)| {
                    let mut last = last.values.iter();
                    last.any(|(n, m, v)| n == node && m == metric && v != value)
                };
                if values.iter().any(is_other) {
                    // A clock of milliseconds, or a finer one.
                    let step = if told.0 % MILLI == 0 { MILLI } else { 1 };
                    (Timestamp(last.given.0.saturating_add(step)), values)
                } else {
                    values.retain(|value| !last.values.contains(value));
                    let mut all = last.values;
                    all.extend(values);
                    all.truncate(MAX_VALUES);
                    (last.given, all)
                }
            }
        };
        self.own = Some(OwnTime {
            told,
            given,
            values,
        });
        given
    }

    /// The gateway's clock was set by so many nanoseconds.
    pub(super) fn set_clock(&mut self, step: i64) {
        if let Some(arrival) = &mut self.arrival {
            arrival.0 = arrival.0.saturating_add(step);
        }
    }
}

/// What has to be known of a packet to give it a time.
pub trait Dated {
    /// What it carries.
    fn readings(&self) -> &[Reading];
    /// The bytes it came in.
    fn bytes(&self) -> &[u8];
    /// When it was read.
    fn received(&self) -> Received;
}

impl Dated for Box<Frame> {
    fn readings(&self) -> &[Reading] {
        &self.decoded.readings
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn received(&self) -> Received {
        self.received
    }
}

impl<T: Dated> Clocks<T> {
    /// Takes the next packet of a board that does not count milliseconds, and puts it out. A time that
    /// is later than reception by more than the tolerance, or from before 2015, is by a clock that is
    /// not set: the time of arrival counts.
    pub fn observe_dated(&mut self, own: Option<Timestamp>, payload: T, out: &mut Vec<Timed<T>>) {
        let received = payload.received();
        self.advance(received.monotonic, out);
        let latest = received.wall.0.saturating_add(nanoseconds(self.tolerance));
        let latest = Timestamp(latest);
        let plausible = own.filter(|own| (EARLIEST..=latest).contains(own));
        let event_time = match plausible {
            Some(own) => self.dates.own(own, payload.readings()),
            None => self.arrival(payload.bytes(), received, latest),
        };
        let is_unset = own.is_some() && plausible.is_none();
        out.push(Timed {
            payload,
            received,
            event_time,
            event: is_unset.then_some(ClockEvent::NotSet),
        });
    }

    fn arrival(&mut self, frame: &[u8], received: Received, latest: Timestamp) -> Timestamp {
        let recorded = self
            .recording
            .as_mut()
            .map(|it| it.arrival(checksum(frame)));
        let (at, soon) = match recorded {
            Some(recorded) if recorded <= latest => (recorded, received.wall),
            _ => (received.wall, latest.min(received.wall.plus_millis(LEEWAY))),
        };
        let event_time = self.dates.arrival(at, soon, latest);
        if let Some(notes) = &mut self.notes {
            notes.push(TimeNote {
                board: String::new(),
                ts: checksum(frame),
                event_time,
                arrival: true,
            });
        }
        event_time
    }
}

/// Tells a frame from those around it.
pub fn checksum(frame: &[u8]) -> u32 {
    frame.iter().fold(0x811c_9dc5, |sum, byte| {
        (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::telemetry::{RecordedTimes, Timeline};

    const NOW: i64 = 1_700_000_000_000_000_000;

    fn reading(node: &str, value: f64) -> Reading {
        Reading {
            node: node.into(),
            metric: "t".into(),
            value,
        }
    }

    fn received(wall: i64) -> Received {
        Received {
            wall: Timestamp(wall),
            monotonic: Duration::ZERO,
        }
    }

    /// A packet of one reading.
    struct One([Reading; 1], String, i64);

    impl Dated for One {
        fn readings(&self) -> &[Reading] {
            &self.0
        }

        fn bytes(&self) -> &[u8] {
            self.1.as_bytes()
        }

        fn received(&self) -> Received {
            received(self.2)
        }
    }

    /// The times of frames of one node: what each says, its value, when it is read.
    fn times(clocks: &mut Clocks<One>, frames: &[(Option<i64>, f64, i64)]) -> Vec<i64> {
        let mut out = Vec::new();
        for (own, value, wall) in frames {
            let one = One([reading("a", *value)], value.to_string(), *wall);
            clocks.observe_dated(own.map(Timestamp), one, &mut out);
        }
        out.into_iter().map(|timed| timed.event_time.0).collect()
    }

    fn clocks() -> Clocks<One> {
        Clocks::new(Timeline::Line, Duration::from_secs(2))
    }

    #[test]
    fn the_time_of_arrival_is_never_shared() {
        let frames = [(None, 1.0, NOW), (None, 1.0, NOW), (None, 2.0, NOW + 5)];
        assert_eq!(
            times(&mut clocks(), &frames),
            [NOW, NOW + MILLI, NOW + 2 * MILLI]
        );
        // A clock that was set back unnoticed.
        let frames = [(None, 1.0, NOW), (None, 1.0, NOW - 7_200_000_000_000)];
        assert_eq!(
            times(&mut clocks(), &frames),
            [NOW, NOW - 7_200_000_000_000]
        );
    }

    #[test]
    fn a_board_may_tell_the_time_within_reason() {
        let second = 1_000_000_000;
        let told = [
            NOW - 86_400 * second,
            NOW + second,
            NOW + 3 * second,
            12 * second,
        ];
        let frames: Vec<_> = told.iter().map(|own| (Some(*own), 1.0, NOW)).collect();
        let given = times(&mut clocks(), &frames);
        assert_eq!(given, [told[0], told[1], NOW, NOW + MILLI]);
    }

    #[test]
    fn several_values_of_one_moment_are_kept_apart() {
        let at = Some(NOW - 5);
        let frames = [
            (at, 1.0, NOW),
            (at, 1.0, NOW),
            (at, 2.0, NOW),
            (at, 3.0, NOW),
        ];
        let given = times(&mut clocks(), &frames);
        assert_eq!(given, [NOW - 5, NOW - 5, NOW - 4, NOW - 3]);
        let mut dates = Dates::default();
        let of = |node, value| [reading(node, value)];
        assert_eq!(dates.own(Timestamp(7), &of("a", 1.0)), Timestamp(7));
        assert_eq!(dates.own(Timestamp(7), &of("b", 2.0)), Timestamp(7));
        assert_eq!(dates.own(Timestamp(7), &of("a", 2.0)), Timestamp(8));
    }

    #[test]
    fn a_replay_gives_each_packet_its_time_of_then() {
        let mut live = clocks();
        live.note(true);
        let frames = [
            (None, 1.0, NOW),
            (None, 2.0, NOW + 7 * MILLI),
            (None, 1.0, NOW + 9 * MILLI),
        ];
        let given = times(&mut live, &frames);
        let notes = live.take_notes();
        assert_eq!(notes.len(), 3);
        let line = serde_json::to_string(&notes[0]).unwrap();
        assert_eq!(serde_json::from_str::<TimeNote>(&line).unwrap(), notes[0]);
        let mut replay = clocks();
        let start = Timestamp(NOW);
        replay.begin_recording(RecordedTimes { start, notes }, &mut Vec::new());
        let later: Vec<_> = frames
            .map(|(own, value, wall)| (own, value, wall + 1_000_000_000))
            .into();
        assert_eq!(times(&mut replay, &later), given);
        // Without notes, from its beginning on.
        let mut replay = clocks();
        let notes = Vec::new();
        replay.begin_recording(RecordedTimes { start, notes }, &mut Vec::new());
        assert_eq!(
            times(&mut replay, &later),
            [NOW, NOW + MILLI, NOW + 2 * MILLI]
        );
    }
}
