//! What a database should hold of a stretch of time, and how that differs from what it holds. Pure, but
//! for the reading of the journal.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;

use crate::journal::{Archive, JournalError, Position, Row};
use crate::sink::influx::line::{CHECK_MEASUREMENT, LineFormat, Series};
use crate::sink::influx::query::{FIELD_SUFFIX, Language, Point};
use crate::telemetry::{Choice, Name, Timestamp};

/// Readings that are compared at once; a stretch with more is halved.
const MOST: usize = 100_000;

/// What is the same for every stretch.
pub(super) struct Terms<'a> {
    pub(super) language: Language,
    pub(super) format: &'a LineFormat,
    /// Which readings go there at all.
    pub(super) choice: &'a Choice,
    /// How far the sink is.
    pub(super) acknowledged: Position,
    /// What the server refused for good.
    pub(super) refused: HashSet<(Name, Name, Timestamp)>,
    /// Rows from before this may have left the journal.
    pub(super) oldest: Timestamp,
}

/// Why a reading need not be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Excuse {
    Waiting,
    Refused,
}

/// A reading that the database should hold.
#[derive(Debug)]
struct Reading {
    time: Timestamp,
    value: f64,
    /// Other values that the database does not tell apart from it by their time.
    others: Vec<f64>,
    excuse: Option<Excuse>,
}

/// What the database should hold of a stretch, each reading under its time as the database has it.
pub(super) struct Due(BTreeMap<Series, BTreeMap<Timestamp, Reading>>);

/// What all points of a series within a stretch come to.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Summary {
    pub(super) count: u64,
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
    /// The sum of the values, each weighted by its time, in the order of time.
    pub(super) checksum: f64,
}

/// The weights of a checksum are below this, which is a prime.
const WEIGHTS: i64 = 65_521;

impl Summary {
    /// Takes in the next value in the order of time.
    fn add(&mut self, time: Timestamp, value: f64) {
        if self.count == 0 {
            self.first = time;
        }
        self.count += 1;
        self.last = time;
        let weight = time.0 / 1_000_000 % WEIGHTS + 1;
        self.checksum += value * weight as f64;
    }
}

/// How one series differs.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Difference {
    /// What the journal has, without what waits or was refused.
    pub(super) journal: Summary,
    /// What the database has.
    pub(super) database: Summary,
    /// What is not there.
    pub(super) missing: Vec<(Timestamp, f64)>,
    /// What is there with another value.
    pub(super) different: Vec<(Timestamp, f64)>,
    /// What is there and not in the journal.
    pub(super) unknown: u64,
    pub(super) waiting: u64,
    pub(super) refused: u64,
}

impl Due {
    /// Reads the journal; `None`: there is too much for one look.
    pub(super) fn read(
        archive: &Archive,
        times: &Range<Timestamp>,
        terms: &Terms<'_>,
    ) -> Result<Option<Self>, JournalError> {
        let mut due = Self(BTreeMap::new());
        let mut room = MOST;
        archive.visit(times.clone(), |row| {
            due.add(row, terms);
            let taken = room.checked_sub(row.readings.len());
            room = taken.unwrap_or_default();
            taken.is_some()
        })?;
        Ok((room > 0).then_some(due))
    }

    fn add(&mut self, row: &Row, terms: &Terms<'_>) {
        let time = row.event_time;
        let held_as = terms.held_as(time);
        for reading in &row.readings {
            let (node, metric) = (&reading.node, &reading.metric);
            if !terms.choice.takes(node.as_str(), metric.as_str()) {
                continue;
            }
            let is_refused = || {
                let key = (node.clone(), metric.clone(), time);
                terms.refused.contains(&key)
            };
            let excuse = if row.sequence > terms.acknowledged.sequence {
                Some(Excuse::Waiting)
            } else {
                is_refused().then_some(Excuse::Refused)
            };
            let series = self.0.entry(terms.format.series(row, reading)).or_default();
            let new = Reading {
                time,
                value: reading.value,
                others: Vec::new(),
                excuse,
            };
            // The last one written is what stays, where the database can tell.
            if let Some(before) = series.insert(held_as, new)
                && terms.language.resolution() > 1
                && let Some(new) = series.get_mut(&held_as)
            {
                new.others = before.others;
                new.others.push(before.value);
            }
        }
    }

    /// Whether there is nothing to compare: before the journal begins, nobody can tell what it had.
    pub(super) fn is_moot(&self, times: &Range<Timestamp>, terms: &Terms<'_>) -> bool {
        self.0.is_empty() && times.end <= terms.oldest
    }

    /// Readings that are compared.
    pub(super) fn len(&self) -> u64 {
        self.0.values().map(|series| series.len() as u64).sum()
    }

    /// How each series differs from what the database holds, point by point.
    pub(super) fn compare(
        &self,
        held: Vec<Point>,
        terms: &Terms<'_>,
    ) -> BTreeMap<Series, Difference> {
        let mut of_series: HashMap<Series, BTreeMap<Timestamp, f64>> = HashMap::new();
        for Point {
            mut series,
            time,
            value,
        } in held
        {
            // Points from before there were several sources have no tag for it.
            let is_ours = self.0.contains_key(&series);
            if !is_ours && series.source.is_some() {
                series.source = None;
            }
            let reading = self.0.get(&series).and_then(|all| all.get(&time));
            let is_right = |held: f64| reading.is_some_and(|it| terms.is_written(it, held));
            // Some databases hold several values of one time.
            match of_series.entry(series.clone()).or_default().entry(time) {
                Entry::Occupied(before) if is_right(*before.get()) => {}
                entry => drop(entry.insert_entry(value)),
            }
        }
        let nothing = BTreeMap::new();
        let compare = |(series, readings): (&Series, &BTreeMap<Timestamp, Reading>)| {
            let without_source = Series {
                source: None,
                ..series.clone()
            };
            let own = of_series.get(series).unwrap_or(&nothing);
            let older = of_series.get(&without_source).unwrap_or(&nothing);
            let older = if series.source.is_some() {
                older
            } else {
                &nothing
            };
            let difference = terms.compare_series(readings, own, older);
            (series.clone(), difference)
        };
        let mut differences: BTreeMap<_, _> = self.0.iter().map(compare).collect();
        let names: HashSet<_> = self.0.keys().map(names).collect();
        for (series, held) in &of_series {
            if !names.contains(&self::names(series)) && terms.would_send(series, &names) {
                let difference = terms.compare_series(&BTreeMap::new(), held, &nothing);
                differences.insert(series.clone(), difference);
            }
        }
        differences
    }
}

/// What a series is called, of whichever source.
fn names(series: &Series) -> (&str, &str) {
    (series.node.as_str(), series.metric.as_str())
}

impl Terms<'_> {
    /// A time as the database keeps it.
    fn held_as(&self, time: Timestamp) -> Timestamp {
        let resolution = self.language.resolution();
        Timestamp(time.0.div_euclid(resolution) * resolution)
    }

    /// Whether a value of the database is this reading's.
    fn is_written(&self, reading: &Reading, held: f64) -> bool {
        let mut written = reading.others.iter().chain([&reading.value]);
        written.any(|it| self.language.is_same(held, *it))
    }

    /// Whether a series of which the journal has nothing could only be there by a gateway's doing.
    fn would_send(&self, series: &Series, due: &HashSet<(&str, &str)>) -> bool {
        let (node, metric) = names(series);
        // It names two series, of which one may be right.
        let is_other_name = self.language == Language::Export
            && (metric.ends_with(FIELD_SUFFIX)
                || due.contains(&(node, &*format!("{metric}{FIELD_SUFFIX}"))));
        let is_check = metric == CHECK_MEASUREMENT;
        !is_other_name && !is_check && self.choice.takes(node, metric)
    }

    fn compare_series(
        &self,
        readings: &BTreeMap<Timestamp, Reading>,
        own: &BTreeMap<Timestamp, f64>,
        older: &BTreeMap<Timestamp, f64>,
    ) -> Difference {
        let mut difference = Difference {
            journal: summary(readings),
            ..Difference::default()
        };
        for (time, value) in own {
            difference.database.add(*time, *value);
        }
        for (time, reading) in readings {
            let held = own.get(time).or_else(|| older.get(time));
            let is_there = |held: &f64| self.is_written(reading, *held);
            let point = (reading.time, reading.value);
            match (held.map(is_there), reading.excuse) {
                (Some(true), _) => {}
                (_, Some(Excuse::Waiting)) => difference.waiting += 1,
                (_, Some(Excuse::Refused)) => difference.refused += 1,
                (None, None) => difference.missing.push(point),
                (Some(false), None) => difference.different.push(point),
            }
        }
        let is_unknown = |time: &&Timestamp| **time >= self.oldest && !readings.contains_key(*time);
        difference.unknown = own.keys().filter(is_unknown).count() as u64;
        difference
    }
}

/// What readings come to that have no excuse.
fn summary(readings: &BTreeMap<Timestamp, Reading>) -> Summary {
    let mut summary = Summary::default();
    let due = readings.iter().filter(|(_, it)| it.excuse.is_none());
    due.for_each(|(time, reading)| summary.add(*time, reading.value));
    summary
}

impl Difference {
    /// What has to be sent for the database to hold what it should.
    pub(super) fn to_send(&self) -> impl Iterator<Item = (Timestamp, f64)> {
        self.missing.iter().chain(&self.different).copied()
    }

    /// How much that is.
    pub(super) fn lacking(&self) -> u64 {
        (self.missing.len() + self.different.len()) as u64
    }
}
