use super::*;

/// A frame: milliseconds at which it is read, the board's count of them, and its count of packets.
type Case = (u64, u32, Option<u32>);

/// What becomes of it: accepted, accepted without its count of packets, or set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Good,
    Miscounted,
    Bad,
}
use Fate::{Bad, Good, Miscounted};

/// Frames of one board. Returns the fate of each, the order in which frames were accepted, and how
/// many packets are missed.
fn judge(damaged_line: bool, cases: &[Case]) -> (Vec<Fate>, Vec<usize>, u64) {
    let mut judge = FrameJudge::default();
    let mut out = Vec::new();
    for (number, (read, uptime_ms, radio)) in cases.iter().enumerate() {
        let counts = Counts {
            uptime_ms: *uptime_ms,
            radio: *radio,
            read: Duration::from_millis(*read),
        };
        judge.advance(counts.read, damaged_line, &mut out);
        judge.observe("N2", counts, damaged_line, number, &mut out);
    }
    judge.finish(damaged_line, &mut out);
    let mut fates = vec![None; cases.len()];
    let mut order = Vec::new();
    for verdict in out {
        match verdict {
            Verdict::Accepted {
                frame,
                wrong_radio_count,
                wrong_board,
                ..
            } => {
                assert!(!wrong_board);
                order.push(frame);
                let fate = if wrong_radio_count { Miscounted } else { Good };
                assert_eq!(fates[frame].replace(fate), None);
            }
            Verdict::SetAside { frame, .. } => assert_eq!(fates[frame].replace(Bad), None),
        }
    }
    let fates = fates.into_iter().map(Option::unwrap).collect();
    let missed = judge.take_missed().into_iter();
    (fates, order, missed.map(|(_, missed)| missed).sum())
}

/// Packets at a steady pace, a millisecond for each if they are read at once.
fn steady(first: u32, count: u32, pace: u32, live: bool) -> Vec<Case> {
    let packet = |number| {
        let read = if live { u64::from(number * pace) } else { 0 };
        (read, 12_000 + (first + number) * pace, Some(first + number))
    };
    (0..count).map(packet).collect()
}

#[test]
fn a_jump_that_the_next_frame_does_not_confirm_is_damage() {
    for jump in [90_015_000, 4_294_967_000, 1_500] {
        for radio in [true, false] {
            for (live, damaged) in [(true, false), (true, true), (false, false), (false, true)] {
                let read = |millis| if live { millis } else { 0 };
                let radio = |count| radio.then_some(count);
                let cases = [
                    (read(0), 12_000, radio(1)),
                    (read(1_000), 13_000, radio(2)),
                    (read(3_000), jump, radio(4)),
                    (read(4_000), 16_000, radio(5)),
                    (read(5_000), 17_000, radio(6)),
                ];
                let (fates, order, _) = judge(damaged, &cases);
                let case = format!("{jump} {live} {damaged}");
                assert_eq!(fates, [Good, Good, Bad, Good, Good], "{case}");
                assert_eq!(order, [0, 1, 3, 4]);
            }
        }
    }
}

#[test]
fn a_reboot_is_a_step_back_that_the_next_frame_confirms() {
    for damaged in [false, true] {
        let mut cases = steady(50, 5, 10_000, true);
        cases.extend([(60_000, 3_000, Some(1)), (70_000, 13_000, Some(2))]);
        let (fates, order, missed) = judge(damaged, &cases);
        assert_eq!((fates, missed), (vec![Good; 7], 0));
        assert_eq!(order, [0, 1, 2, 3, 4, 5, 6]);
        // Nobody confirms it.
        cases[6] = (61_000, 12_000 + 56 * 10_000, Some(56));
        let (fates, _, _) = judge(damaged, &cases);
        assert_eq!(fates, [Good, Good, Good, Good, Good, Bad, Good]);
    }
    // The last word of the input: both step back, which no single byte can do.
    let mut cases = steady(50, 5, 10_000, true);
    cases.push((60_000, 3_000, Some(1)));
    assert_eq!(judge(true, &cases).0, [Good; 6]);
}

#[test]
fn a_wrong_count_of_packets_is_no_loss_and_costs_itself_alone() {
    let mut cases = steady(10, 10, 10_000, false);
    cases[6].2 = Some(716);
    let (mut fates, _, missed) = judge(true, &cases);
    assert_eq!((fates.remove(6), missed), (Miscounted, 0));
    assert_eq!(fates, [Good; 9]);
    // Really lost.
    let mut cases = steady(10, 10, 10_000, false);
    cases.drain(5..8);
    let (fates, _, missed) = judge(true, &cases);
    assert_eq!((fates, missed), (vec![Good; 7], 3));
}

#[test]
fn a_time_that_was_too_high_is_corrected_by_the_next_frame() {
    let mut cases = steady(10, 10, 300, false);
    for case in cases.iter_mut().skip(1).step_by(2) {
        case.1 += 130;
    }
    // Within the pace, and beyond the next one.
    cases[7].1 += 180;
    let mut judge = FrameJudge::default();
    let mut out = Vec::new();
    for (number, (_, uptime_ms, radio)) in cases.into_iter().enumerate() {
        let counts = Counts {
            uptime_ms,
            radio,
            read: Duration::ZERO,
        };
        judge.observe("N2", counts, true, number, &mut out);
    }
    let corrects = |verdict| match verdict {
        Verdict::Accepted {
            frame,
            corrects_time,
            ..
        } => corrects_time.then_some(frame),
        Verdict::SetAside { frame, .. } => panic!("{frame}"),
    };
    let corrects: Vec<usize> = out.into_iter().filter_map(corrects).collect();
    assert_eq!(corrects, [8]);
}

#[test]
fn what_really_happens_waits_for_nothing() {
    // An hour without any packet, one without the cable, the count's end, the same packet again.
    let hour = 3_600_000_u32;
    let end = u32::MAX - 24_999;
    let at = |time: u32, uptime, radio| (u64::from(time), uptime, Some(radio));
    let usual: Vec<Case> = (0..5)
        .map(|n| at(n * 10_000, 12_000 + n * 10_000, n))
        .collect();
    let silent = [usual.clone(), vec![at(hour, 12_000 + hour, 5)]].concat();
    let unplugged = [usual, vec![at(hour, 12_000 + hour, 360)]].concat();
    let wrap: Vec<Case> = (0..6)
        .map(|n| at(n * 10_000, end.wrapping_add(n * 10_000), n))
        .collect();
    let again = [steady(3, 5, 10_000, true), vec![(41_000, 82_000, Some(7))]].concat();
    for (name, cases) in [
        ("silent", silent),
        ("unplugged", unplugged),
        ("wrap", wrap),
        ("again", again),
    ] {
        for damaged in [false, true] {
            let mut judge = FrameJudge::default();
            let mut out = Vec::new();
            for (number, (read, uptime_ms, radio)) in cases.iter().enumerate() {
                let read = Duration::from_millis(*read);
                let (uptime_ms, radio) = (*uptime_ms, *radio);
                let counts = Counts {
                    uptime_ms,
                    radio,
                    read,
                };
                judge.observe("N2", counts, damaged, number, &mut out);
                assert_eq!(out.len(), number + 1, "{name} {damaged}");
            }
            assert_eq!(judge.deadline(), None);
        }
    }
}

#[test]
fn whole_frames_are_accepted_whatever_the_board_does() {
    for seed in 0..300 {
        let mut random = fastrand::Rng::with_seed(seed);
        let pace = random.u32(20..100_000);
        let counts_packets = random.bool();
        let (mut uptime, mut radio, mut read) = (random.u32(..), random.u32(1..10_000), 0_u64);
        let mut cases = Vec::new();
        let mut since_boot = 0;
        for _ in 0..200 {
            since_boot += 1;
            cases.push((read, uptime, counts_packets.then_some(radio)));
            let pause = pace / 2 + random.u32(..pace);
            read += u64::from(pause);
            // One that comes back up while nobody can tell it from a pause is none of these.
            if since_boot > 10 && random.u32(..50) == 0 {
                since_boot = 0;
                (uptime, radio) = (random.u32(500..pace + 600), 1);
            } else {
                let lost = if random.u32(..30) == 0 {
                    random.u32(1..9)
                } else {
                    0
                };
                uptime = uptime.wrapping_add(pause * (lost + 1));
                read += u64::from(pause * lost);
                radio += 1 + lost;
            }
        }
        let (fates, order, _) = judge(false, &cases);
        let bad: Vec<_> = fates
            .iter()
            .enumerate()
            .filter(|(_, fate)| **fate != Good)
            .collect();
        assert!(bad.is_empty(), "seed {seed}, pace {pace}: {bad:?}");
        assert!(order.is_sorted(), "seed {seed}");
    }
}

#[test]
fn made_up_boards_come_and_go_and_the_real_one_stays() {
    for damaged in [false, true] {
        let mut judge = FrameJudge::default();
        let mut out = Vec::new();
        for number in 0..2_000_u32 {
            let read = Duration::from_millis(u64::from(number) * 1_000);
            let counts = Counts {
                uptime_ms: number * 1_000,
                radio: Some(number),
                read,
            };
            judge.observe("real", counts, damaged, number, &mut out);
            let counts = Counts {
                uptime_ms: number.wrapping_mul(2_654_435_761),
                radio: None,
                read,
            };
            judge.observe(&format!("x{number}"), counts, damaged, number, &mut out);
            assert!(judge.boards.len() <= MAX_BOARDS);
        }
        let forgotten = judge.take_forgotten();
        assert!(forgotten.len() > 1_900);
        assert!(!forgotten.iter().any(|name| &**name == "real"));
        let real = |verdict: &&Verdict<u32>| matches!(verdict, Verdict::Accepted { board, .. } if &**board == "real");
        assert_eq!(out.iter().filter(real).count(), 2_000);
    }
}

#[test]
fn a_damaged_name_of_a_board_is_known_by_what_it_counts() {
    let mut judge = FrameJudge::default();
    let mut out = Vec::new();
    for number in 0..20_u32 {
        let counts = Counts {
            uptime_ms: 12_000 + number * 10_000,
            radio: Some(number),
            read: Duration::ZERO,
        };
        let name = if number == 10 { "F2" } else { "N2" };
        judge.observe(name, counts, true, number, &mut out);
    }
    let boards: Vec<_> = out
        .iter()
        .map(|verdict| match verdict {
            Verdict::Accepted {
                frame,
                board,
                wrong_board,
                ..
            } => (*frame, &**board, *wrong_board),
            Verdict::SetAside { .. } => panic!("{verdict:?}"),
        })
        .collect();
    let expected: Vec<_> = (0..20).map(|number| (number, "N2", number == 10)).collect();
    assert_eq!(boards, expected);
}
