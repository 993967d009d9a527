//! A gateway board that never was: frames with plausible values, and broken ones if wanted.

use std::f64::consts::TAU;
use std::fmt::{self, Write as _};
use std::time::Duration;

use bytes::BytesMut;
use fastrand::Rng;

/// The number of the node that is the board itself.
const BOARD: u32 = 2;

/// The board's own sensor is silent in so many packets after its boot.
const WARM_UP_PACKETS: u64 = 4;

/// The board has booted so long ago when its first packet comes.
const FIRST_UPTIME: Duration = Duration::from_secs(12);

/// How often the radio receives a packet with a bad checksum, per good one.
const RADIO_ERRORS: f64 = 0.005;

/// What can happen to a frame between the board and the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// One byte is missing.
    DroppedByte,
    /// One bit of a byte is wrong.
    FlippedByte,
    /// The end is missing; the line feed is there.
    CutTail,
    /// The end is missing together with the line feed: the next frame begins in the middle.
    RunTogether,
    /// The signal strength is `NaN`, as firmware prints floats without a value.
    NotANumber,
}

impl Damage {
    const ALL: [Self; 5] = [
        Self::DroppedByte,
        Self::FlippedByte,
        Self::CutTail,
        Self::RunTogether,
        Self::NotANumber,
    ];
}

/// Makes frames as the gateway board sends them, without any clock or I/O: the same seed and the
/// same steps give the same bytes.
///
/// Packets come from the remote nodes in turn (1, 3, 4, …); each also carries the readings of the
/// board itself, node 2, once its sensor has warmed up. With one node the board has no sensor.
#[derive(Debug, Clone)]
pub struct Generator {
    random: Rng,
    /// Decides on damage alone: the frames are the same with and without it.
    accidents: Rng,
    damage: f64,
    uptime: Duration,
    packets: u64,
    radio_errors: u64,
    remotes: Vec<Node>,
    board: Option<Node>,
    next_remote: usize,
    frame: String,
}

impl Generator {
    /// A board that just booted, with so many nodes (at least one) and that share of damaged
    /// frames, 0 to 1.
    pub fn new(nodes: u32, damage: f64, seed: u64) -> Self {
        let mut random = Rng::with_seed(seed);
        let accidents = random.fork();
        let board = (nodes >= BOARD).then(|| Node::new(BOARD, &mut random));
        let remotes = (1..=nodes.max(1))
            .filter(|number| *number != BOARD)
            .map(|number| Node::new(number, &mut random))
            .collect();
        Self {
            random,
            accidents,
            damage,
            uptime: FIRST_UPTIME,
            packets: 0,
            radio_errors: 0,
            remotes,
            board,
            next_remote: 0,
            frame: String::new(),
        }
    }

    /// Appends the next frame to `out`, then lets `step` pass. Says what was done to the frame.
    pub fn write_next(&mut self, step: Duration, out: &mut BytesMut) -> Option<Damage> {
        let damage = (self.accidents.f64() < self.damage)
            .then(|| Damage::ALL[self.accidents.usize(..Damage::ALL.len())]);
        self.packets += 1;
        if self.random.f64() < RADIO_ERRORS {
            self.radio_errors += 1;
        }
        let mut frame = std::mem::take(&mut self.frame);
        frame.clear();
        let written = self.write_frame(damage == Some(Damage::NotANumber), &mut frame);
        debug_assert!(written.is_ok(), "writing to a string cannot fail");
        let start = out.len();
        out.extend_from_slice(frame.as_bytes());
        self.frame = frame;
        if let Some(damage) = damage {
            self.apply(damage, start, out);
        }
        self.uptime += step;
        damage
    }

    fn write_frame(&mut self, not_a_number: bool, frame: &mut String) -> fmt::Result {
        let Self {
            random,
            remotes,
            board,
            ..
        } = self;
        let uptime = self.uptime;
        let turn = self.next_remote;
        self.next_remote = (turn + 1) % remotes.len();
        let remote = &mut remotes[turn];
        remote.live(uptime, random);
        let ts = device_clock(uptime);
        write!(frame, "{{\"ts\":{ts},\"id\":\"N{BOARD}\"")?;
        if remote.number < BOARD {
            remote.write_remote(frame)?;
        }
        write!(frame, ",\"n{BOARD}\":{{")?;
        if let Some(board) = board
            && self.packets > WARM_UP_PACKETS
        {
            board.live(uptime, random);
            let (t, p) = (board.temperature(), board.pressure());
            write!(frame, "\"t\":{t:.1},\"p\":{p:.2}")?;
        }
        frame.push('}');
        if remote.number > BOARD {
            remote.write_remote(frame)?;
        }
        let (rssi, snr) = remote.signal(random);
        if not_a_number {
            frame.push_str(",\"sig\":{\"rssi\":NaN");
        } else {
            write!(frame, ",\"sig\":{{\"rssi\":{rssi}")?;
        }
        let (rx, err) = (self.packets, self.radio_errors);
        writeln!(
            frame,
            ",\"snr\":{snr}}},\"sts\":{{\"rx\":{rx},\"err\":{err}}}}}"
        )
    }

    /// Does to the frame at the end of `out` what can happen on the way.
    fn apply(&mut self, damage: Damage, start: usize, out: &mut BytesMut) {
        // Not the line feed: that one has its own kind of damage.
        let last = out.len() - 1;
        let place = self.accidents.usize(start..last);
        match damage {
            Damage::DroppedByte => {
                out.copy_within(place + 1.., place);
                out.truncate(last);
            }
            Damage::FlippedByte => out[place] ^= 1 << self.accidents.u8(..8),
            Damage::CutTail => {
                out.truncate(place);
                out.extend_from_slice(b"\n");
            }
            Damage::RunTogether => out.truncate(place),
            Damage::NotANumber => {}
        }
    }
}

/// The board counts milliseconds in 32 bits, which wrap after 49.7 days.
fn device_clock(uptime: Duration) -> u32 {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the device clock wraps in just this way"
    )]
    let millis = uptime.as_millis() as u32;
    millis
}

/// A place with weather, and a radio.
#[derive(Debug, Clone)]
struct Node {
    number: u32,
    /// Where in its day the node was when the board booted, as a share of the day.
    morning: f64,
    mean_temperature: f64,
    mean_signal: f64,
    /// The share of the day's temperature wave that has been run through: -1 to 1.
    wave: f64,
    temperature: Drift,
    humidity: Drift,
    gas: Drift,
    pressure: Drift,
    seen: Duration,
}

impl Node {
    fn new(number: u32, random: &mut Rng) -> Self {
        Self {
            number,
            morning: random.f64(),
            mean_temperature: 21.0 + 4.0 * random.f64(),
            mean_signal: -50.0 - 45.0 * random.f64(),
            wave: 0.0,
            temperature: Drift::new(0.3),
            humidity: Drift::new(1.5),
            gas: Drift::new(4_000.0),
            pressure: Drift::new(2.0),
            seen: Duration::ZERO,
        }
    }

    /// Lets the time pass since the node was last looked at.
    fn live(&mut self, uptime: Duration, random: &mut Rng) {
        let passed = uptime.saturating_sub(self.seen).as_secs_f64();
        self.seen = uptime;
        self.wave = (TAU * (self.morning + uptime.as_secs_f64() / 86_400.0)).sin();
        for drift in [
            &mut self.temperature,
            &mut self.humidity,
            &mut self.gas,
            &mut self.pressure,
        ] {
            drift.live(passed, random);
        }
    }

    fn temperature(&self) -> f64 {
        self.mean_temperature + 5.0 * self.wave + self.temperature.value
    }

    /// Warm air of the same water content is drier.
    fn humidity(&self) -> f64 {
        (55.0 - 12.0 * self.wave + self.humidity.value).clamp(5.0, 99.0)
    }

    fn gas_resistance(&self) -> f64 {
        (88_000.0 + 6_000.0 * self.wave + self.gas.value).max(1_000.0)
    }

    fn pressure(&self) -> f64 {
        1013.25 + self.pressure.value
    }

    fn write_remote(&self, frame: &mut String) -> fmt::Result {
        let (number, t, h) = (self.number, self.temperature(), self.humidity());
        let g = self.gas_resistance();
        write!(
            frame,
            ",\"n{number}\":{{\"t\":{t:.1},\"h\":{h:.1},\"g\":{g:.0}}}"
        )
    }

    /// Strength and signal-to-noise ratio of one packet, whole dBm and dB as the radio gives them.
    fn signal(&self, random: &mut Rng) -> (i32, i32) {
        let strength = self.mean_signal + 6.0 * (random.f64() - 0.5);
        let margin = (strength + 75.0).min(0.0) / 3.0;
        let ratio = 10.0 + margin + 6.0 * (random.f64() - 0.5);
        #[expect(
            clippy::cast_possible_truncation,
            reason = "both lie between -130 and 20"
        )]
        let whole = (strength.round() as i32, ratio.round() as i32);
        whole
    }
}

/// A value that wanders about zero and finds back to it within the hour, however often it is
/// looked at.
#[derive(Debug, Clone)]
struct Drift {
    value: f64,
    /// How far it strays: its standard deviation.
    spread: f64,
}

impl Drift {
    const MEMORY_SECONDS: f64 = 1_800.0;

    fn new(spread: f64) -> Self {
        Self { value: 0.0, spread }
    }

    fn live(&mut self, seconds: f64, random: &mut Rng) {
        let kept = (-seconds / Self::MEMORY_SECONDS).exp();
        // Evenly spread over [-√3, √3]: a standard deviation of one.
        let noise = 12.0_f64.sqrt() * (random.f64() - 0.5);
        self.value = self.value * kept + self.spread * (1.0 - kept * kept).sqrt() * noise;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    const STEP: Duration = Duration::from_millis(100);

    fn frames(nodes: u32, count: usize, step: Duration) -> Vec<Value> {
        let mut generator = Generator::new(nodes, 0.0, 7);
        let mut out = BytesMut::new();
        for _ in 0..count {
            assert_eq!(generator.write_next(step, &mut out), None);
        }
        let text = std::str::from_utf8(&out).unwrap();
        assert!(text.ends_with('\n'));
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    fn keys(value: &Value) -> Vec<&str> {
        value
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect()
    }

    #[test]
    fn frames_look_like_the_wire_format() {
        let mut generator = Generator::new(2, 0.0, 1);
        let mut out = BytesMut::new();
        for _ in 0..=WARM_UP_PACKETS {
            out.clear();
            generator.write_next(Duration::from_secs(10), &mut out);
        }
        let text = std::str::from_utf8(&out).unwrap();
        let shape: String = text
            .chars()
            .map(|c| if c.is_ascii_digit() { '9' } else { c })
            .collect();
        assert_eq!(
            shape
                .replace("99999", "9")
                .replace("9999", "9")
                .replace("99", "9"),
            concat!(
                r#"{"ts":9,"id":"N9","n9":{"t":9.9,"h":9.9,"g":9},"n9":{"t":9.9,"p":9.9},"#,
                r#""sig":{"rssi":-9,"snr":9},"sts":{"rx":9,"err":9}}"#,
                "\n"
            )
        );
        assert!(
            text.starts_with(r#"{"ts":52000,"id":"N2","n1":{"#),
            "{text}"
        );
        assert!(text.contains(r#"},"n2":{"t""#), "{text}");
        assert!(text.ends_with("\"sts\":{\"rx\":5,\"err\":0}}\n"), "{text}");
    }

    #[test]
    fn nodes_take_turns_and_the_board_warms_up() {
        for (nodes, turns) in [
            (0, vec![1]),
            (1, vec![1]),
            (2, vec![1]),
            (3, vec![1, 3]),
            (5, vec![1, 3, 4, 5]),
        ] {
            for (index, frame) in frames(nodes, 20, STEP).iter().enumerate() {
                let remote = format!("n{}", turns[index % turns.len()]);
                let mut expected = vec!["id", "n2", "sig", "sts", "ts", &remote];
                expected.sort_unstable();
                assert_eq!(keys(frame), expected);
                assert_eq!(keys(&frame[&remote]), ["g", "h", "t"]);
                let board_speaks = nodes >= 2 && index >= 4;
                let board: &[&str] = if board_speaks { &["p", "t"] } else { &[] };
                assert_eq!(keys(&frame["n2"]), board);
                assert_eq!(frame["sts"]["rx"], index + 1);
                assert_eq!(frame["ts"], 12_000 + 100 * index);
            }
        }
    }

    #[test]
    fn values_stay_plausible_and_move_slowly_for_a_year() {
        let frames = frames(2, 50_000, Duration::from_mins(10));
        let values = |node: &str, key: &str| -> Vec<f64> {
            frames
                .iter()
                .filter_map(|frame| frame[node][key].as_f64())
                .collect()
        };
        for (node, key, lowest, highest, largest_step) in [
            ("n1", "t", 10.0, 35.0, 3.0),
            ("n1", "h", 20.0, 90.0, 12.0),
            ("n1", "g", 50_000.0, 130_000.0, 30_000.0),
            ("n2", "t", 10.0, 35.0, 3.0),
            ("n2", "p", 1_000.0, 1_030.0, 15.0),
            ("sig", "rssi", -100.0, -40.0, 60.0),
            ("sig", "snr", -15.0, 15.0, 30.0),
        ] {
            let values = values(node, key);
            assert!(
                values.iter().all(|v| (lowest..=highest).contains(v)),
                "{node} {key}"
            );
            assert!(
                values
                    .windows(2)
                    .all(|w| (w[0] - w[1]).abs() <= largest_step),
                "{node} {key}"
            );
            assert!(values.windows(2).any(|w| w[0] < w[1]), "{node} {key}");
        }
        let (t, h) = (values("n1", "t"), values("n1", "h"));
        let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
        let (mean_t, mean_h) = (mean(&t), mean(&h));
        let covariance: f64 = t
            .iter()
            .zip(&h)
            .map(|(t, h)| (t - mean_t) * (h - mean_h))
            .sum();
        assert!(covariance < 0.0, "warm air is dry");
    }

    #[test]
    fn the_device_clock_wraps_at_32_bits() {
        let frames = frames(2, 2, Duration::from_millis(1 << 32));
        assert_eq!(frames[0]["ts"], frames[1]["ts"]);
    }

    #[test]
    fn one_seed_gives_one_stream() {
        let stream = |seed| {
            let mut generator = Generator::new(4, 0.3, seed);
            let mut out = BytesMut::new();
            for _ in 0..500 {
                generator.write_next(STEP, &mut out);
            }
            out
        };
        assert_eq!(stream(1), stream(1));
        assert_ne!(stream(1), stream(2));
    }

    #[test]
    fn damage_is_what_it_says_and_as_frequent_as_asked() {
        let mut damaging = Generator::new(2, 0.2, 3);
        let mut careful = Generator::new(2, 0.0, 3);
        let mut counts = [0; Damage::ALL.len()];
        for _ in 0..10_000 {
            let (mut out, mut intact) = (BytesMut::new(), BytesMut::new());
            let damage = damaging.write_next(STEP, &mut out);
            careful.write_next(STEP, &mut intact);
            let Some(damage) = damage else {
                assert_eq!(out, intact);
                continue;
            };
            counts[damage as usize] += 1;
            let differing = out.iter().zip(&intact).filter(|(a, b)| a != b).count();
            match damage {
                Damage::DroppedByte => assert_eq!(out.len() + 1, intact.len()),
                Damage::FlippedByte => assert_eq!((out.len(), differing), (intact.len(), 1)),
                Damage::CutTail => {
                    assert!(out.ends_with(b"\n") && out.len() <= intact.len());
                    assert!(intact.starts_with(&out[..out.len() - 1]));
                }
                Damage::RunTogether => {
                    assert!(out.len() < intact.len() && intact.starts_with(&out));
                    assert!(!out.ends_with(b"\n"));
                }
                Damage::NotANumber => {
                    let text = std::str::from_utf8(&out).unwrap();
                    assert!(text.contains(r#""rssi":NaN,"snr""#), "{text}");
                }
            }
        }
        assert!(
            (1_800..2_200).contains(&counts.iter().sum::<u32>()),
            "{counts:?}"
        );
        assert!(counts.iter().all(|count| *count > 300), "{counts:?}");
    }
}
