//! Any bytes of any format through all that makes packets of them, in pieces, with pauses, breaks of the line and
//! clocks that are set.
//!
//! Nothing panics; what is delivered is finite, under names that can go anywhere, and not of the future.

#![no_main]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fieldgate::monitor::{LinkId, Monitor};
use fieldgate::pipeline::{Ingest, Yield};
use fieldgate::source::Chunk;
use fieldgate::telemetry::{
    Beginning, Decoder, Format, MetricTable, Name, NodeRule, PRESETS, Received, Rules, TimeKind,
    TimeRule, Timeline, Timestamp, learn,
};
use libfuzzer_sys::fuzz_target;

/// When the stream begins, in nanoseconds since 1970.
const BEGIN: i64 = 1_790_000_000_000_000_000;

/// By how much clocks may disagree.
const TOLERANCE: Duration = Duration::from_secs(2);

const TIME_KINDS: [TimeKind; 6] = [
    TimeKind::Rfc3339,
    TimeKind::Seconds,
    TimeKind::Milliseconds,
    TimeKind::Microseconds,
    TimeKind::Nanoseconds,
    TimeKind::Uptime,
];

fn format(choice: u8) -> Format {
    let kind = TIME_KINDS.get(usize::from(choice / 16) % (TIME_KINDS.len() + 1));
    let rules = Rules {
        node: NodeRule::Keys(vec!["id".to_owned(), "node".to_owned()]),
        time: kind.map(|kind| TimeRule {
            key: "time".to_owned(),
            kind: *kind,
        }),
        rssi: Some("rssi".to_owned()),
        snr: Some("snr".to_owned()),
        counter: Some("n".to_owned()),
        ..Rules::default()
    };
    match choice % 16 {
        0..5 => Format::Board,
        5..8 => Format::Json(rules),
        8..10 => Format::Plotter(rules),
        10..12 => Format::LineProtocol(rules),
        preset => {
            let (_, preset) = PRESETS[usize::from(preset) % PRESETS.len()];
            Format::Json(preset.rules())
        }
    }
}

fn check(made: &Yield, now: i64) {
    let latest = now + i64::try_from(TOLERANCE.as_nanos()).unwrap();
    for packet in &made.packets {
        assert!(!packet.readings.is_empty(), "an empty packet");
        assert!(packet.event_time.0 <= latest, "{now}: {packet:?}");
        for reading in &packet.readings {
            assert!(reading.value.is_finite(), "{reading:?}");
            for name in [&reading.node, &reading.metric] {
                assert_eq!(&Name::new(name.as_str()), name, "no safe name");
            }
        }
    }
}

fuzz_target!(|input: &[u8]| {
    let [choice, steps, stream @ ..] = input else {
        return;
    };
    let _proposal = learn(stream);
    let beginning = if choice & 8 == 0 {
        Beginning::Whole
    } else {
        Beginning::Midway
    };
    let timeline = if steps & 1 == 0 {
        Timeline::Live
    } else {
        Timeline::Line
    };
    let monitor = Arc::<Monitor>::default().source(&LinkId::source());
    let format = format(*choice);
    let mut metrics = MetricTable::default();
    format.complete(&mut metrics, |_| false);
    let decoder = Decoder::new(metrics, HashMap::new(), &format);
    let mut ingest = Ingest::new(decoder, &[], timeline, TOLERANCE, monitor)
        .of_format(&format, beginning)
        .giving_signal(steps & 2 == 0);
    // The time of the wall and the one that never jumps.
    let (mut now, mut monotonic) = (BEGIN, Duration::ZERO);
    let length = 1 + usize::from(steps >> 2);
    for (number, bytes) in stream.chunks(length).enumerate() {
        // What comes next depends on the stream alone, so that a failure can be repeated.
        let what = bytes[0]
            .wrapping_mul(31)
            .wrapping_add(number.to_le_bytes()[0]);
        let pause = Duration::from_millis(1 << (what % 16));
        monotonic += pause;
        now += i64::try_from(pause.as_nanos()).unwrap();
        if what % 61 == 0 {
            let step = (i64::from(what) - 128) * 1_000_000_000;
            let (made, _) = ingest.set_clock(step);
            check(&made, now.max(now + step));
            now += step;
        }
        if what % 13 == 0 {
            let made = ingest.tick();
            check(&made, now);
        }
        let made = ingest.take(&Chunk {
            bytes: Bytes::copy_from_slice(bytes),
            received: Timestamp(now),
            monotonic,
            discontinuity: what % 59 == 0,
        });
        check(&made, now);
    }
    let received = Received {
        wall: Timestamp(now),
        monotonic,
    };
    check(&ingest.finish_input(received), now);
});
