#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the numbers are small"
)]

use proptest::prelude::*;

use super::burst::{FIRST_LOOK, LONGEST, MAX_PACKETS, PAUSE};
use super::*;

const START: i64 = 1_700_000_000_000;

const TOLERANCE: Duration = Duration::from_secs(2);

/// A packet: milliseconds since the start by the gateway's monotonic clock, what its wall clock is
/// off, and the board's count; then the expected time since the start, and event.
type Case = (i64, i64, u32, i64, Option<ClockEvent>);

fn received(monotonic: i64, offset: i64) -> Received {
    Received {
        wall: Timestamp::default().plus_millis(START + monotonic + offset),
        monotonic: Duration::from_millis(monotonic.unsigned_abs()),
    }
}

fn stamp(uptime_ms: u32, content: u64) -> Stamp {
    Stamp {
        uptime_ms,
        readings: 1,
        content,
    }
}

/// Milliseconds since the start.
fn millis(time: Timestamp) -> i64 {
    time.0.div_euclid(1_000_000) - START
}

/// Each packet alone: nothing waits for the next one.
fn run(cases: &[Case]) {
    for timeline in [Timeline::Live, Timeline::Line] {
        let mut clocks = Clocks::new(timeline, TOLERANCE);
        let mut out = Vec::new();
        for (number, &(monotonic, offset, uptime_ms, ..)) in cases.iter().enumerate() {
            let received = received(monotonic, offset);
            clocks.observe("N2", stamp(uptime_ms, 0), received, number, &mut out);
            clocks.release(&mut out);
        }
        let times: Vec<_> = out
            .iter()
            .map(|it| (millis(it.event_time), it.event))
            .collect();
        let expected: Vec<_> = cases.iter().map(|case| (case.3, case.4)).collect();
        assert_eq!(times, expected, "{timeline:?}");
    }
}

const FIRST: Option<ClockEvent> = Some(ClockEvent::FirstPacket);
const REBOOTED: Option<ClockEvent> = Some(ClockEvent::Rebooted);
const WRAPPED: Option<ClockEvent> = Some(ClockEvent::Wrapped);
const SET: Option<ClockEvent> = Some(ClockEvent::GatewayClockSet);
const DRIFTED: Option<ClockEvent> = Some(ClockEvent::Drifted);

#[test]
fn readings_keep_the_spacing_of_the_board() {
    run(&[
        (0, 0, 12_000, 0, FIRST),
        (10_040, 0, 22_000, 10_000, None),
        (20_013, 0, 32_000, 20_000, None),
        (20_013, 0, 32_000, 20_000, None), // Sent again: the same time.
        (31_900, 0, 42_000, 30_000, None),
    ]);
}

#[test]
fn a_reboot_anchors_anew() {
    run(&[
        (0, 0, 500_000, 0, FIRST),
        (10_000, 0, 510_000, 10_000, None),
        (25_000, 0, 3_000, 25_000, REBOOTED),
        (35_000, 0, 13_000, 35_000, None),
    ]);
}

#[test]
fn a_wrap_goes_on_as_if_nothing_were() {
    let end = u32::MAX - 4_999;
    run(&[
        (0, 0, end, 0, FIRST),
        (10_020, 0, 5_000, 10_000, WRAPPED),
        (20_010, 0, 15_000, 20_000, None),
    ]);
    // The same after hours of silence.
    run(&[
        (0, 0, end, 0, FIRST),
        (7_200_000, 0, 7_195_000, 7_200_000, WRAPPED),
    ]);
    // A reboot shortly before the end.
    run(&[
        (0, 0, end, 0, FIRST),
        (10_000, 0, 1_900_000, 10_000, REBOOTED),
    ]);
}

#[test]
fn a_gateway_clock_that_is_set_anchors_anew() {
    let year = 365 * 86_400_000;
    run(&[
        (0, 0, 12_000, 0, FIRST),
        (10_000, 0, 22_000, 10_000, None),
        (20_000, year, 32_000, 20_000 + year, SET),
        (30_050, year, 42_000, 30_000 + year, None),
        (40_000, 0, 52_000, 40_000, SET),
        (50_000, 0, 62_000, 50_000, None),
    ]);
    // Set while the board rebooted: anchored once, at the time that is right now.
    run(&[
        (0, 0, 12_000, 0, FIRST),
        (10_000, -60_000, 2_000, -50_000, REBOOTED),
        (20_000, -60_000, 12_000, -40_000, None),
    ]);
}

#[test]
fn a_stall_that_is_made_up_for_changes_nothing() {
    run(&[
        (0, 0, 10_000, 0, FIRST),
        (60_000, 0, 20_000, 10_000, None), // 50 s late,
        (60_001, 0, 30_000, 20_000, None), // and the rest right behind it.
        (60_002, 0, 40_000, 30_000, None),
        (60_003, 0, 50_000, 40_000, None),
        (60_004, 0, 60_000, 50_000, None),
        (60_005, 0, 70_000, 60_000, None),
        (70_000, 0, 80_000, 70_000, None),
    ]);
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
    run(&cases);
}

/// What comes out of a line: by board and count, with times since the start in milliseconds.
fn read(packets: &[(i64, &str, u32)]) -> Vec<(u32, i64, Option<ClockEvent>)> {
    let mut clocks = Clocks::new(Timeline::Line, TOLERANCE);
    let mut out = Vec::new();
    for &(monotonic, board, uptime_ms) in packets {
        let received = received(monotonic, 0);
        clocks.observe(board, stamp(uptime_ms, 0), received, uptime_ms, &mut out);
    }
    clocks.release(&mut out);
    out.iter()
        .map(|it| (it.payload, millis(it.event_time), it.event))
        .collect()
}

#[test]
fn a_backlog_ends_at_the_time_of_reading() {
    // In one piece, in pieces of five packets, and with live packets right behind it.
    for pause in [0, 40, 240] {
        let backlog = (0..30).map(|n| (n / 5 * pause, "N2", 12_000 + n as u32 * 10_000));
        let end = 5 * pause;
        let live = (1..=3).map(|n| (end + 10_000 * n, "N2", 302_000 + n as u32 * 10_000));
        let found = read(&backlog.chain(live).collect::<Vec<_>>());
        let times: Vec<_> = found.iter().map(|(_, time, _)| *time).collect();
        let expected: Vec<_> = (0..33).map(|n| end - 290_000 + 10_000 * n).collect();
        assert_eq!(times, expected, "{pause}");
        assert!(found[1..].iter().all(|(.., event)| event.is_none()));
    }
}

#[test]
fn a_live_packet_is_held_for_a_moment_and_the_next_one_not_at_all() {
    let mut clocks = Clocks::new(Timeline::Line, TOLERANCE);
    let mut out = Vec::new();
    clocks.observe("N2", stamp(12_000, 0), received(0, 0), 0, &mut out);
    assert_eq!((out.len(), clocks.holds_for()), (0, Some(FIRST_LOOK)));
    clocks.release(&mut out);
    for number in 1..200 {
        // As unevenly as a line is read.
        let at = 20 * i64::from(number) + [0, 6, 19, 3][number as usize % 4];
        let stamp = stamp(12_000 + 20 * number, 0);
        clocks.observe("N2", stamp, received(at, 0), number, &mut out);
        assert_eq!((out.len(), clocks.holds_for()), (number as usize + 1, None));
        assert_eq!(
            millis(out[number as usize].event_time),
            20 * i64::from(number)
        );
    }
}

#[test]
fn a_count_that_was_too_high_is_no_restart() {
    for recorded in [false, true] {
        let mut clocks = Clocks::new(Timeline::Line, TOLERANCE);
        let mut out = Vec::new();
        if recorded {
            let start = Timestamp(START * 1_000_000);
            let notes = Vec::new();
            clocks.begin_recording(RecordedTimes { start, notes }, &mut out);
        }
        for (number, uptime) in [12_000, 12_300, 12_920, 12_900, 13_200]
            .into_iter()
            .enumerate()
        {
            let at = received(300 * i64::try_from(number).unwrap() + 10_000, 0);
            if number == 3 {
                clocks.correct("N2", stamp(uptime, 0));
            }
            clocks.observe("N2", stamp(uptime, 0), at, number, &mut out);
            clocks.release(&mut out);
        }
        let first = millis(out[0].event_time);
        let times: Vec<_> = out.iter().map(|it| millis(it.event_time) - first).collect();
        assert_eq!(times, [0, 300, 920, 920, 1_200], "{recorded}");
        assert!(out[1..].iter().all(|it| it.event.is_none()));
        assert!(out.is_sorted_by(|a, b| a.event_time < b.event_time));
    }
}

#[test]
fn a_burst_ends_when_packets_arrive_as_they_are_measured() {
    let mut clocks = Clocks::new(Timeline::Line, TOLERANCE);
    let mut out = Vec::new();
    for number in 0..100_u32 {
        let stamp = stamp(number * 1_000, 0);
        clocks.observe("N2", stamp, received(0, 0), number, &mut out);
    }
    for number in 1..=15_u32 {
        assert_eq!(out.len(), 0, "{number}");
        let stamp = stamp(99_000 + number * 20, 0);
        let at = received(i64::from(number) * 20, 0);
        if u128::from(number) * 20 >= PAUSE.as_millis() {
            break;
        }
        clocks.observe("N2", stamp, at, number, &mut out);
    }
    clocks.observe("N2", stamp(99_260, 0), received(260, 0), 0, &mut out);
    assert_eq!(clocks.holds_for(), None);
    assert_eq!(millis(out[99].event_time), 0);
    assert_eq!(millis(out.last().unwrap().event_time), 260);
}

#[test]
fn a_reboot_within_a_backlog_leaves_room_for_the_count_since() {
    let packets = [100_000, 110_000, 120_000, 2_000, 12_000].map(|count| (0, "N2", count));
    let rebooted = Some(ClockEvent::Rebooted);
    assert_eq!(
        read(&packets),
        [
            (100_000, -32_000, FIRST),
            (110_000, -22_000, None),
            (120_000, -12_000, None),
            (2_000, -10_000, rebooted),
            (12_000, 0, None),
        ]
    );
}

#[test]
fn boards_of_one_backlog_stay_together() {
    let packets = [
        (0, "A", 50_000),
        (0, "A", 60_000),
        (0, "B", 1_000),
        (0, "A", 70_000),
        (0, "B", 11_000),
    ];
    let times: Vec<_> = read(&packets).iter().map(|it| it.1).collect();
    assert_eq!(times, [-20_000, -10_000, -10_000, 0, 0]);
}

#[test]
fn a_stall_in_which_the_board_rebooted_ends_now() {
    let packets = [
        (0, "N2", 100_000),
        (10_000, "N2", 110_000),
        (20_000, "N2", 120_000),
        // Nothing is read for five minutes.
        (320_000, "N2", 130_000),
        (320_000, "N2", 2_000),
        (320_001, "N2", 12_000),
        (320_001, "N2", 22_000),
        (330_000, "N2", 32_000),
    ];
    let times: Vec<_> = read(&packets).iter().map(|it| it.1).collect();
    assert_eq!(
        times,
        [
            0, 10_000, 20_000, 30_000, 300_001, 310_001, 320_001, 330_001
        ]
    );
}

#[test]
fn a_board_that_is_too_fast_never_gets_ahead() {
    // 2 % fast: after 100 s it is 2 s ahead.
    let mut clocks = Clocks::new(Timeline::Line, TOLERANCE);
    let mut out = Vec::new();
    for number in 0..3_000_i64 {
        let at = received(number * 98, 0);
        let stamp = stamp(number as u32 * 100, 0);
        clocks.observe("N2", stamp, at, number, &mut out);
    }
    clocks.release(&mut out);
    let drifts = out
        .iter()
        .filter(|it| it.event == Some(ClockEvent::Drifted));
    assert!((2..=4).contains(&drifts.count()));
    for pair in out.windows(2) {
        let spacing = pair[1].event_time.since(pair[0].event_time);
        assert!(spacing >= Duration::from_millis(50), "{spacing:?}");
        assert!(pair[1].event_time <= pair[1].received.wall.plus_millis(2_000));
    }
}

#[test]
fn an_endless_fast_pipe_is_held_in_bounds() {
    let mut clocks = Clocks::new(Timeline::Line, TOLERANCE);
    let mut out: Vec<Timed<u32>> = Vec::new();
    let mut last = i64::MIN;
    for number in 0..400_000_u32 {
        // Ten seconds of the board every ten microseconds.
        let at = Duration::from_micros(u64::from(number) * 10);
        let received = Received {
            wall: Timestamp(START * 1_000_000 + nanoseconds(at)),
            monotonic: at,
        };
        let stamp = stamp((number % 400_000) * 10_000, 0);
        clocks.observe("N2", stamp, received, number, &mut out);
        for timed in out.drain(..) {
            let latest = received.wall.plus_millis(100);
            assert!(timed.event_time.0 > last && timed.event_time <= latest);
            assert!(number - timed.payload <= MAX_PACKETS as u32);
            assert!(at.saturating_sub(timed.received.monotonic) <= LONGEST);
            last = timed.event_time.0;
        }
    }
}

#[test]
fn a_recording_with_a_known_beginning_is_not_held() {
    let mut clocks = Clocks::new(Timeline::Line, TOLERANCE);
    let mut out = Vec::new();
    let times = RecordedTimes {
        start: Timestamp::default().plus_millis(5_000),
        notes: Vec::new(),
    };
    clocks.begin_recording(times, &mut out);
    for count in [12_000, 22_000, 3_612_000, 2_000, 12_000] {
        clocks.observe("N2", stamp(count, 0), received(0, 0), count, &mut out);
        assert_eq!(clocks.holds_for(), None);
    }
    let times: Vec<_> = out.iter().map(|it| it.event_time.0 / 1_000_000).collect();
    assert_eq!(times, [5_000, 15_000, 3_605_000, 3_607_000, 3_617_000]);
}

#[test]
fn packets_of_one_millisecond_are_told_apart_and_the_same_one_again_is_not() {
    let mut clocks = Clocks::new(Timeline::Line, TOLERANCE);
    let mut out = Vec::new();
    for (at, uptime, content) in [
        (0, 12, 1),
        (0, 12, 1),
        (0, 12, 2),
        (50, 62, 3),
        (50, 62, 4),
        (51, 62, 4),
    ] {
        clocks.observe("N2", stamp(uptime, content), received(at, 0), (), &mut out);
    }
    clocks.release(&mut out);
    let times: Vec<_> = out
        .iter()
        .map(|it| it.event_time.0 - out[0].event_time.0)
        .collect();
    assert_eq!(times, [0, 0, 1, 50_000_001, 50_000_002, 50_000_002]);
}

#[test]
fn the_last_packet_of_a_millisecond_is_within_the_tolerance_too() {
    let mut clocks = Clocks::new(Timeline::Line, TOLERANCE);
    let mut out = Vec::new();
    // So far ahead as it may be, and then another one.
    for (content, (uptime, now)) in [
        (1_000, 0),
        (14_008, 12_984),
        (14_985, 12_984),
        (20_111, 17_111),
        (20_111, 17_111),
    ]
    .into_iter()
    .enumerate()
    {
        let stamp = stamp(uptime, content as u64);
        clocks.observe("A", stamp, received(now, 0), (), &mut out);
    }
    clocks.release(&mut out);
    assert_eq!(out.len(), 5);
    for timed in out {
        assert!(timed.event_time <= timed.received.wall.plus_millis(2_000));
    }
}

proptest! {
    /// Whatever comes, and however: all of it goes out in order, never from the future, no two
    /// packets of a board at one time.
    #[test]
    fn times_rise_and_are_never_from_the_future(
        live in any::<bool>(),
        packets in prop::collection::vec(
            (
                0..3_usize,
                prop_oneof![5 => 0..20_000_u32, 1 => any::<u32>()],
                prop_oneof![5 => Just(0_u64), 3 => 0..12_000_u64, 1 => 0..400_000_u64],
                prop_oneof![9 => Just(false), 1 => Just(true)],
            ),
            1..80,
        )
    ) {
        let timeline = if live { Timeline::Live } else { Timeline::Line };
        let mut clocks = Clocks::new(timeline, TOLERANCE);
        let (mut out, mut now) = (Vec::new(), 0_u64);
        let mut counts = [1_000_u32; 3];
        for (number, (board, step, pause, released)) in packets.iter().enumerate() {
            now += pause;
            counts[*board] = counts[*board].wrapping_add(*step);
            let at = received(i64::try_from(now).unwrap(), 0);
            let stamp = stamp(counts[*board], number as u64);
            clocks.observe(["A", "B", "C"][*board], stamp, at, (number, *board), &mut out);
            if *released {
                clocks.release(&mut out);
            }
        }
        clocks.release(&mut out);
        let mut last = [i64::MIN; 3];
        prop_assert_eq!(out.len(), packets.len());
        for (number, timed) in out.iter().enumerate() {
            let (order, board) = timed.payload;
            prop_assert_eq!(order, number);
            prop_assert!(timed.event_time.0 > last[board]);
            prop_assert!(timed.event_time <= timed.received.wall.plus_millis(2_000));
            last[board] = timed.event_time.0;
        }
    }
}

#[test]
fn a_clock_that_is_slowed_down_gets_no_further_ahead() {
    let mut clock = DeviceClock::default();
    let at = |millis| received(millis, 0);
    // A count that was too high, so that all that follows seems late.
    let first = at(0);
    clock.anchor(first.wall, stamp(372_000, 1), first);
    clock.correct(stamp(222_000, 2));
    // Packets of ten seconds each that arrive within a few.
    for number in 1..9 {
        let it = at(100 * number);
        let uptime_ms = 222_000 + 10_000 * number as u32;
        let Judged::At(event_time, _) = clock.judge(stamp(uptime_ms, 3), it, TOLERANCE) else {
            panic!("packet {number} is adrift");
        };
        let ahead = millis(event_time) - millis(it.wall);
        assert!(ahead < 2_000, "packet {number} is {ahead} ms ahead");
    }
}
