//! What an audit finds, in words or as JSON.

use std::fmt::Write as _;
use std::io;

use serde_json::{Value, json};

use super::due::{Difference, Summary};
use crate::commands::print;
use crate::sink::influx::line::Series;
use crate::telemetry::Timestamp;

/// All that was found.
#[derive(Debug, Default)]
pub(super) struct Totals {
    pub(super) compared: u64,
    pub(super) missing: u64,
    pub(super) different: u64,
    pub(super) waiting: u64,
    pub(super) refused: u64,
    pub(super) unknown: u64,
    pub(super) repair: Repair,
}

/// What came of what was sent.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Repair {
    /// What was sent and is there.
    pub(super) repaired: u64,
    /// What was sent and cannot be seen there.
    pub(super) unseen: u64,
}

/// Says what is found as it is found.
pub(super) struct Report {
    pub(super) is_json: bool,
    pub(super) totals: Totals,
    /// What the server said when it refused something that was sent again.
    pub(super) refusal: Option<String>,
}

impl Report {
    /// What is compared with what.
    pub(super) fn begin(&self, what: &str) -> io::Result<()> {
        if self.is_json {
            return Ok(());
        }
        print(format!("{what}\n").as_bytes())
    }

    /// A series within a stretch that begins then.
    pub(super) fn add(
        &mut self,
        begin: Timestamp,
        series: &Series,
        found: &Difference,
        repair: Repair,
    ) -> io::Result<()> {
        let totals = &mut self.totals;
        totals.missing += found.missing.len() as u64;
        totals.different += found.different.len() as u64;
        totals.waiting += found.waiting;
        totals.refused += found.refused;
        totals.unknown += found.unknown;
        totals.repair.repaired += repair.repaired;
        totals.repair.unseen += repair.unseen;
        if found.lacking() == 0 && found.unknown == 0 {
            return Ok(());
        }
        let line = if self.is_json {
            format!("{}\n", as_json(begin, series, found, repair))
        } else {
            in_words(begin, series, found, repair)
        };
        print(line.as_bytes())
    }

    /// All there is to say at the end.
    pub(super) fn end(&self) -> io::Result<()> {
        let Totals {
            compared,
            missing,
            different,
            waiting,
            refused,
            unknown,
            repair: Repair { repaired, unseen },
        } = &self.totals;
        let text = if self.is_json {
            let total = json!({
                "compared": compared, "missing": missing, "different": different,
                "waiting": waiting, "rejected": refused, "unknown": unknown, "repaired": repaired,
                "unseen": unseen, "refusal": self.refusal,
            });
            format!("{}\n", json!({ "total": total }))
        } else {
            let mut text = format!(
                "{compared} readings: {missing} missing, {different} different, {waiting} waiting, \
                 {refused} rejected"
            );
            // Writing to a `String` cannot fail.
            if *unknown > 0 {
                let _infallible = write!(text, "; {unknown} are there that the journal has not");
            }
            if *repaired > 0 {
                let _infallible = write!(text, "; {repaired} were sent again and are there");
            }
            if *unseen > 0 {
                let _infallible = write!(text, "; {unseen} were sent again and are not seen there");
            }
            if let Some(words) = &self.refusal {
                let _infallible = write!(text, " (the server: {words})");
            }
            text + "\n"
        };
        print(text.as_bytes())
    }

    /// Whether something that should be there is not.
    pub(super) fn lacks(&self) -> bool {
        self.totals.missing + self.totals.different > self.totals.repair.repaired
    }
}

fn name(series: &Series) -> String {
    let (node, metric) = (&series.node, &series.metric);
    match &series.source {
        Some(source) => format!("{source} {node}/{metric}"),
        None => format!("{node}/{metric}"),
    }
}

/// `2026-03-01T12:00:00.000Z node1/temperature: 3 of 60 missing, the first at …, the last at …`.
fn in_words(begin: Timestamp, series: &Series, found: &Difference, repair: Repair) -> String {
    let mut text = format!("{begin} {}:", name(series));
    let of = found.journal.count;
    // Writing to a `String` cannot fail.
    for (points, what) in [(&found.missing, "missing"), (&found.different, "different")] {
        if let (Some((first, _)), Some((last, _))) = (points.first(), points.last()) {
            let count = points.len();
            let _infallible = write!(
                text,
                " {count} of {of} {what}, the first at {first}, the last at {last};"
            );
        }
    }
    if found.unknown > 0 {
        let _infallible = write!(text, " {} that the journal has not;", found.unknown);
    }
    for (count, what) in [
        (repair.repaired, "sent again"),
        (repair.unseen, "sent again and not seen there"),
    ] {
        if count > 0 {
            let _infallible = write!(text, " {count} {what};");
        }
    }
    text.truncate(text.trim_end_matches(';').len());
    text + "\n"
}

fn as_json(begin: Timestamp, series: &Series, found: &Difference, repair: Repair) -> Value {
    let times = |points: &[(Timestamp, f64)]| {
        let ends = points.first().zip(points.last());
        ends.map(|((first, _), (last, _))| {
            json!({
                "count": points.len(),
                "first": first.to_rfc3339_nanos(),
                "last": last.to_rfc3339_nanos(),
            })
        })
    };
    let summary = |it: &Summary| {
        json!({
            "count": it.count,
            "first": (it.count > 0).then(|| it.first.to_rfc3339_nanos()),
            "last": (it.count > 0).then(|| it.last.to_rfc3339_nanos()),
            "checksum": it.checksum,
        })
    };
    json!({
        "from": begin.to_rfc3339_nanos(),
        "source": series.source, "node": series.node, "metric": series.metric,
        "journal": summary(&found.journal), "database": summary(&found.database),
        "missing": times(&found.missing), "different": times(&found.different),
        "unknown": found.unknown, "waiting": found.waiting, "rejected": found.refused,
        "repaired": repair.repaired, "unseen": repair.unseen,
    })
}
