//! What is wrong with what is kept and when: queues, journal, disk, clock.

use std::time::Duration;

use super::finding::{Finding, View};
use super::{ProblemKind, Severity};
use crate::monitor::{JournalState, LinkState, SinkSnapshot, SourceSnapshot, Storage};
use crate::telemetry::Timestamp;

/// No gateway was built before this time: a clock that is behind it was never set.
const BUILT: Timestamp = Timestamp(1_735_689_600_000_000_000);

/// A queue is looked at over this stretch.
const STRETCH: Duration = Duration::from_secs(30);

/// A shorter one says nothing of a queue.
const SHORTEST_STRETCH: Duration = Duration::from_secs(4);

/// A queue that will be full within this is a problem; within the second, a grave one.
const FULL_WITHIN: (Duration, Duration) = (Duration::from_hours(24), Duration::from_hours(1));

/// What waits for a server that takes less than comes.
const TOO_SLOW: u64 = 1_000;

/// Free bytes of a disk that is nearly full, and of one that is as good as full.
const NEARLY_FULL: (u64, u64) = (256 << 20, 32 << 20);

/// A write-ahead log is cut before it is half as long.
const LONG_LOG: u64 = 16 << 20;

/// Bytes a day that wear a memory card out within a few years: each small write has the card write much more. Less
/// than the second is no problem any more.
const WEARS: (f64, f64) = ((2_u64 << 30) as f64, (3_u64 << 29) as f64);

pub(super) fn find(view: &View<'_>) -> Vec<Finding> {
    let sinks = &view.snapshot.sinks;
    let queues = sinks.iter().filter(|sink| !sink.is_disabled());
    let queues = queues.flat_map(|sink| [dropped(view, sink), backlog(view, sink)]);
    let storage = view.snapshot.storage.as_ref();
    let disk = storage
        .into_iter()
        .flat_map(|storage| [disk(view, storage), log(storage), wear(view, storage)]);
    let drifting = view.snapshot.sources.iter().map(|it| drift(view, it));
    let rest = [journal(view), clock(view)];
    let found = queues.chain(disk).chain(rest).chain(drifting);
    found.flatten().collect()
}

fn dropped(view: &View<'_>, sink: &SinkSnapshot) -> Option<Finding> {
    let name = sink.sink.to_string();
    let (before, _) = view.sink_before(&name, Duration::from_mins(5))?;
    let dropped = sink.dropped.saturating_sub(before.dropped);
    (dropped > 0).then(|| Finding {
        kind: ProblemKind::ReadingsDropped,
        severity: Severity::Error,
        sentence: format!(
            "the journal is full: {dropped} readings of the last 5 minutes never reach {name}"
        ),
        fix: "bring the server back, or raise journal.max_messages or journal.max_bytes".to_owned(),
        concerns: name,
    })
}

fn backlog(view: &View<'_>, sink: &SinkSnapshot) -> Option<Finding> {
    let name = sink.sink.to_string();
    let (before, stretch) = view.sink_before(&name, STRETCH)?;
    if stretch < SHORTEST_STRETCH || sink.queue_depth <= before.depth {
        return None;
    }
    let growth = (sink.queue_depth - before.depth) as f64 / stretch.as_secs_f64();
    let room = capacity(view).saturating_sub(sink.queue_depth) as f64;
    let left = Duration::try_from_secs_f64(room / growth).unwrap_or(Duration::MAX);
    // A server that answers may be a little behind.
    let is_up = sink.link.state == LinkState::Up;
    let is_too_slow = is_up && sink.queue_depth >= TOO_SLOW.min(capacity(view) / 2);
    if !is_too_slow && (is_up || left > FULL_WITHIN.0) {
        return None;
    }
    let time = if left > Duration::from_hours(24 * 365) {
        "more than a year".to_owned()
    } else {
        humantime::format_duration(rounded(left)).to_string()
    };
    Some(Finding {
        kind: ProblemKind::BacklogGrows,
        severity: if left <= FULL_WITHIN.1 {
            Severity::Error
        } else {
            Severity::Warning
        },
        sentence: format!(
            "{} messages wait for {name}, and more come than go: the journal is full in {time}",
            sink.queue_depth
        ),
        fix: if is_too_slow {
            "the server takes less than comes: look at its load, or send less".to_owned()
        } else {
            "bring the server back, or raise journal.max_messages or journal.max_bytes".to_owned()
        },
        concerns: name,
    })
}

/// Messages that the journal can hold, by what they have taken so far.
fn capacity(view: &View<'_>) -> u64 {
    let journal = &view.snapshot.journal;
    let storage = view.snapshot.storage.as_ref();
    let by_bytes = storage.and_then(|storage| {
        let message = storage.journal_bytes.checked_div(journal.stored)?.max(1);
        Some(storage.max_bytes? / message)
    });
    by_bytes.unwrap_or(u64::MAX).min(journal.max_messages)
}

/// To two units that say something.
fn rounded(time: Duration) -> Duration {
    let seconds = time.as_secs();
    Duration::from_secs(match seconds {
        0..60 => seconds.max(1),
        60..3_600 => seconds - seconds % 60,
        _ => seconds - seconds % 3_600,
    })
}

fn disk(view: &View<'_>, storage: &Storage) -> Option<Finding> {
    let concerns = "journal";
    let is_known = view.is_known(ProblemKind::DiskNearlyFull, concerns);
    // A small disk is not nearly full for being small.
    let limit = |limit: u64| limit.min(storage.disk_bytes / 20);
    let begins = limit(NEARLY_FULL.0);
    let ends = if is_known {
        begins + begins / 4
    } else {
        begins
    };
    (storage.free_bytes < ends).then(|| Finding {
        kind: ProblemKind::DiskNearlyFull,
        severity: if storage.free_bytes < limit(NEARLY_FULL.1) {
            Severity::Error
        } else {
            Severity::Warning
        },
        concerns: concerns.to_owned(),
        sentence: format!(
            "the disk of the journal has {} MiB left",
            storage.free_bytes >> 20
        ),
        fix: "free some room, or set journal.max_bytes or a shorter journal.history".to_owned(),
    })
}

fn log(storage: &Storage) -> Option<Finding> {
    (storage.log_bytes > LONG_LOG).then(|| Finding {
        kind: ProblemKind::JournalLogGrows,
        severity: Severity::Warning,
        concerns: "journal".to_owned(),
        sentence: format!(
            "the journal's write-ahead log has {} MiB: another program reads it and keeps it from being cut",
            storage.log_bytes >> 20
        ),
        fix: "end the program that has the journal open, as `sqlite3` or a backup".to_owned(),
    })
}

fn wear(view: &View<'_>, storage: &Storage) -> Option<Finding> {
    let concerns = "journal";
    let limit = if view.is_known(ProblemKind::CardWears, concerns) {
        WEARS.1
    } else {
        WEARS.0
    };
    let per_day = view.written.per_day()?;
    (storage.is_card && per_day > limit).then(|| Finding {
        kind: ProblemKind::CardWears,
        severity: Severity::Warning,
        concerns: concerns.to_owned(),
        sentence: format!(
            "{:.1} GiB a day are written to the memory card, which wears it out",
            per_day / f64::from(1 << 30)
        ),
        fix: "set journal.durability = \"interval\", or put the journal on a disk".to_owned(),
    })
}

fn journal(view: &View<'_>) -> Option<Finding> {
    let JournalState::Fallback { reason } = &view.snapshot.journal.state else {
        return None;
    };
    Some(Finding {
        kind: ProblemKind::JournalInMemory,
        severity: Severity::Error,
        concerns: "journal".to_owned(),
        sentence: format!("the journal is kept in memory and is lost with the process: {reason}"),
        fix: "free some room and see who may write there; it goes back into the file by itself"
            .to_owned(),
    })
}

fn clock(view: &View<'_>) -> Option<Finding> {
    let snapshot = view.snapshot;
    let (severity, sentence, fix) = if snapshot.taken < BUILT {
        (
            Severity::Error,
            format!(
                "the gateway's clock was never set: it says {}",
                snapshot.taken
            ),
            "set it, or connect to a network with NTP; set telemetry.wait_for_clock",
        )
    } else if snapshot.clock_unsynchronised {
        (
            Severity::Warning,
            "the gateway's clock is not synchronised".to_owned(),
            "connect to a network with NTP, and see that its service runs (timedatectl)",
        )
    } else {
        return None;
    };
    Some(Finding {
        kind: ProblemKind::ClockWrong,
        severity,
        concerns: "clock".to_owned(),
        sentence,
        fix: fix.to_owned(),
    })
}

fn drift(view: &View<'_>, source: &SourceSnapshot) -> Option<Finding> {
    let is_only_wrong = clock(view).is_none() && view.lately(source).drifts > 0;
    is_only_wrong.then(|| Finding {
        kind: ProblemKind::ClockWrong,
        severity: Severity::Warning,
        concerns: view.concerns(source, "clock"),
        sentence: "a board's clock and the gateway's drift apart".to_owned(),
        fix: "see that the gateway's clock is synchronised; a larger telemetry.clock_tolerance follows \
              later"
            .to_owned(),
    })
}
