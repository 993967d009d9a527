use super::*;
use crate::telemetry::{Decoder, Reading, Received};

/// Decodes frames and judges them, one each second.
struct Line {
    decoder: Decoder,
    quality: LineQuality,
    judge: ReadingJudge,
    out: Decisions,
    second: u64,
}

impl Line {
    fn new(damaged: bool) -> Self {
        let mut quality = LineQuality::default();
        if damaged {
            let frame = quality.begin();
            quality.damage(frame);
        }
        Self {
            decoder: Decoder::default(),
            quality,
            judge: ReadingJudge::default(),
            out: Decisions::default(),
            second: 0,
        }
    }

    /// What a frame brings about: readings with the second in which they were measured.
    fn take(&mut self, content: &str) -> Vec<String> {
        self.second += 1;
        let frame = format!(r#"{{"ts":{},{content}}}"#, self.second * 1_000);
        let decoded = self.decoder.decode(&frame).unwrap();
        let time = Timestamp(i64::try_from(self.second).unwrap() * 1_000_000_000);
        let received = Received {
            wall: time,
            monotonic: Duration::from_secs(self.second),
        };
        let frame = Frame {
            decoded,
            bytes: frame.as_bytes().into(),
            number: self.quality.begin(),
            piece: 0,
            was_doubted: false,
            received,
            wrong_radio_count: false,
        };
        let names = (self.decoder.catalogue(), &mut self.quality);
        let out = &mut self.out;
        self.judge.judge(frame, time, names, out);
        self.delivered()
    }

    fn delivered(&mut self) -> Vec<String> {
        let packets = std::mem::take(&mut self.out.packets).into_iter();
        let readings = packets.flat_map(|packet| {
            let second = packet.event_time.0 / 1_000_000_000;
            let text =
                move |it: Reading| format!("{}/{} {} @{second}", it.node, it.metric, it.value);
            packet.readings.into_iter().map(text)
        });
        readings.collect()
    }

    fn finish(&mut self) -> Vec<(RejectReason, String, f64)> {
        let names = (self.decoder.catalogue(), &mut self.quality);
        self.judge.finish(names, &mut self.out);
        assert!(self.delivered().is_empty());
        let set_aside = std::mem::take(&mut self.out.set_aside).into_iter();
        let named = set_aside.map(|it| {
            let reading = it.reading.unwrap();
            let name = format!("{}/{}", reading.node, reading.metric);
            (it.reason, name, reading.value)
        });
        named.collect()
    }
}

#[test]
fn a_new_name_goes_out_with_its_third_frame_and_each_reading_at_its_own_time() {
    for damaged in [false, true] {
        let mut line = Line::new(damaged);
        for value in 0..20 {
            line.take(&format!(r#""n1":{{"t":21,"h":5{}}}"#, value % 3));
        }
        let known = r#""n1":{"t":21,"h":51"#;
        let usual = ["node1/temperature 21 @21", "node1/humidity 51 @21"];
        assert_eq!(line.take(&format!(r#"{known},"lux":7}}"#)), usual);
        line.take(&format!("{known}}}"));
        assert_eq!(line.take(&format!(r#"{known},"lux":8}}"#)).len(), 2);
        let third = [
            "node1/lux 7 @21",
            "node1/lux 8 @23",
            "node1/temperature 21 @24",
            "node1/humidity 51 @24",
            "node1/lux 9 @24",
        ];
        assert_eq!(line.take(&format!(r#"{known},"lux":9}}"#)), third);
        let learnt: Vec<_> = line
            .out
            .learnt
            .iter()
            .map(|it| it.metric.as_deref())
            .collect();
        assert_eq!(learnt, [Some("t"), Some("h"), Some("lux")]);
        // A node: as a whole.
        for (second, count) in [(25, 2), (26, 2), (27, 5)] {
            let frame = format!(r#"{known}}},"n7":{{"t":{second}}}"#);
            assert_eq!(line.take(&frame).len(), count, "{second}");
        }
        assert_eq!(line.finish(), []);
    }
}

#[test]
fn what_is_known_from_before_is_delivered_at_once() {
    let mut line = Line::new(true);
    let known = |metric: &str| KnownName {
        node: "n7".to_owned(),
        metric: Some(metric.to_owned()),
    };
    line.decoder.catalogue().know(&[known("t"), known("lux")]);
    assert_eq!(line.take(r#""n7":{"t":1,"lux":2}"#).len(), 2);
    // Something was known, so this first frame teaches nothing.
    assert_eq!(line.take(r#""n8":{"t":1}"#).len(), 0);
    assert_eq!(
        line.finish(),
        [(
            RejectReason::UnconfirmedName,
            "node8/temperature".to_owned(),
            1.0
        )]
    );
}

#[test]
fn the_same_damage_again_and_again_makes_no_name() {
    let mut line = Line::new(true);
    for number in 0..400 {
        let key = match number {
            0..20 => "n1",
            _ if number % 7 == 0 => "n9",
            _ => "n1",
        };
        let frame = format!(r#""{key}":{{"t":21,"h":50}},"n2":{{"p":1000}}"#);
        let delivered = line.take(&frame);
        assert!(!delivered.iter().any(|it| it.starts_with("node9")));
    }
    let set_aside = line.finish();
    assert!(
        set_aside
            .iter()
            .all(|it| it.0 == RejectReason::UnconfirmedName)
    );
    assert_eq!(set_aside.len(), 2 * 55);
}

#[test]
fn a_value_beyond_its_range_is_no_reading_on_any_line() {
    let mut line = Line::new(false);
    let frame = r#""n1":{"t":21,"h":541,"g":0,"p":101325},"sts":{"rx":1.5}"#;
    assert_eq!(line.take(frame), ["node1/temperature 21 @1"]);
    let reasons: Vec<_> = line.finish().into_iter().map(|it| it.0).collect();
    assert_eq!(reasons, [RejectReason::OutOfRange; 4]);
    assert!(line.quality.is_damaged());
}

#[test]
fn a_spike_waits_on_a_damaged_line_alone_and_a_step_is_late_by_one() {
    let noise = [0.0, 0.1, -0.1, 0.0, 0.2, -0.1, 0.1];
    for damaged in [false, true] {
        let mut line = Line::new(damaged);
        let frame = |value: f64| format!(r#""n1":{{"t":{value:.1}}}"#);
        for number in 0..60 {
            assert_eq!(line.take(&frame(21.0 + noise[number % 7])).len(), 1);
        }
        // A digit is lost.
        assert_eq!(line.take(&frame(1.4)).len(), usize::from(!damaged));
        assert_eq!(line.take(&frame(21.1)).len(), 1);
        // A heater is switched on, and the frame behind that is damaged as well.
        assert_eq!(line.take(&frame(36.0)).len(), usize::from(!damaged));
        assert_eq!(line.take(&frame(6.1)).len(), usize::from(!damaged));
        let confirmed = line.take(&frame(36.1));
        if damaged {
            let expected = ["node1/temperature 36 @63", "node1/temperature 36.1 @65"];
            assert_eq!(confirmed, expected);
        }
        assert_eq!(line.take(&frame(35.9)).len(), 1);
        let spikes: Vec<_> = line.finish().into_iter().map(|it| it.2).collect();
        let expected: &[f64] = if damaged { &[1.4, 6.1] } else { &[] };
        assert_eq!(spikes, expected);
    }
}

#[test]
fn noise_counters_and_saw_teeth_are_never_set_aside() {
    for seed in 0..20 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut line = Line::new(true);
        let mut delivered = 0;
        for number in 0..1_500 {
            // The line stays damaged.
            if number % 50 == 0 {
                let frame = line.quality.begin();
                line.quality.damage(frame);
            }
            let gauss = |random: &mut fastrand::Rng, spread: f64| {
                let sum: f64 = (0..12).map(|_| random.f64()).sum();
                (sum - 6.0) * spread
            };
            let (rssi, snr) = (
                gauss(&mut random, 6.0).round(),
                gauss(&mut random, 2.0).round(),
            );
            let heat = if number % 400 > 300 { 15.0 } else { 0.0 };
            let t = 21.0 + heat + gauss(&mut random, 0.1);
            let (g, co2, err) = (80_000 + number, 415 + number % 30, number / 300);
            let frame = format!(
                r#""n1":{{"t":{t:.1},"g":{g},"co2":{co2}}},"sig":{{"rssi":{},"snr":{}}},"sts":{{"rx":{number},"err":{err}}}"#,
                -60.0 + rssi,
                9.0 + snr,
            );
            delivered += line.take(&frame).len();
        }
        let left = line.finish();
        assert_eq!(left, [], "seed {seed}");
        assert_eq!(delivered, 1_500 * 7, "seed {seed}");
    }
}

#[test]
fn what_waits_is_bounded_and_what_is_made_up_is_forgotten() {
    let mut line = Line::new(true);
    line.take(r#""n1":{"t":21}"#);
    let mut delivered = 0;
    for number in 0..4_000 {
        let metrics: Vec<_> = (0..6).map(|it| format!(r#""m{number}_{it}":1"#)).collect();
        delivered += line
            .take(&format!(r#""n1":{{"t":21,{}}}"#, metrics.join(",")))
            .len();
        assert!(line.judge.waiting <= MAX_ALL_WAITING);
        assert!(line.decoder.catalogue().all().count() < 1_400);
    }
    assert_eq!(delivered, 4_000);
    assert_eq!(line.finish().len(), 4_000 * 6);
}

#[test]
fn two_values_that_damage_can_have_made_do_not_confirm_each_other_where_much_is_damaged() {
    for (much, expected) in [(false, 1), (true, 0)] {
        let mut line = Line::new(true);
        for number in 0..60 {
            line.take(&format!(r#""n1":{{"h":52.{}}}"#, number % 3));
            // Three of four.
            for _ in 0..if much { 3 } else { 0 } {
                let frame = line.quality.begin();
                line.quality.damage(frame);
            }
        }
        // A digit of each was lost.
        assert!(line.take(r#""n1":{"h":5.1}"#).is_empty());
        assert_eq!(line.take(r#""n1":{"h":5.2}"#).len(), 2 * expected);
        assert_eq!(line.take(r#""n1":{"h":52.1}"#).len(), 1 - expected);
        assert_eq!(line.finish().len(), 2 - expected);
        // What no single byte makes is confirmed by the next value.
        let mut step = Line::new(true);
        std::mem::swap(&mut step, &mut line);
        assert!(step.take(r#""n1":{"h":67.0}"#).is_empty());
        assert_eq!(step.take(r#""n1":{"h":67.1}"#).len(), 2);
    }
}

#[test]
fn what_goes_on_in_another_way_is_believed_in_the_end() {
    let mut line = Line::new(true);
    for number in 0..60 {
        line.take(&format!(r#""n1":{{"g":{}}}"#, 8_000 - number));
    }
    let values = [90_000, 89_000, 9_000, 88_500, 87_900];
    let delivered = values.map(|value| line.take(&format!(r#""n1":{{"g":{value}}}"#)).len());
    assert_eq!(delivered, [0, 0, 0, 0, 4]);
    assert_eq!(line.take(r#""n1":{"g":87800}"#).len(), 1);
    assert_eq!(line.finish().len(), 1);
}
