//! What becomes of readings that are not present any more: after an outage the whole backlog would run
//! through whatever acts on what it hears.

use std::collections::HashMap;
use std::time::Duration;

use super::Session;
use crate::config::Late;
use crate::journal::Row;
use crate::sink::Lane;
use crate::sink::mqtt::connection::Ending;
use crate::telemetry::{Name, Reading, Timestamp};

/// Messages read at once while the backlog is looked through.
const BLOCK: usize = 4_096;

/// Metrics of nodes that are told apart; what is beyond goes out, however old it is.
const MAX_METRICS: usize = 4_096;

/// Where each metric stands in the journal for the last time.
#[derive(Debug, Default)]
pub(super) struct Newest {
    /// Sequences, by source, node and metric.
    last: HashMap<(Name, Name, Name), u64>,
}

impl Newest {
    /// A row that is in the journal.
    pub(super) fn note(&mut self, row: &Row) {
        for reading in &row.readings {
            let key = key(&row.source, reading);
            if let Some(sequence) = self.last.get_mut(&key) {
                *sequence = row.sequence.max(*sequence);
            } else if self.last.len() < MAX_METRICS {
                self.last.insert(key, row.sequence);
            }
        }
    }

    /// Whether a later row has this metric, too.
    fn is_superseded(&self, row: &Row, reading: &Reading) -> bool {
        let newest = self.last.get(&key(&row.source, reading));
        newest.is_some_and(|newest| *newest > row.sequence)
    }
}

fn key(source: &Name, reading: &Reading) -> (Name, Name, Name) {
    let (node, metric) = (reading.node.clone(), reading.metric.clone());
    (source.clone(), node, metric)
}

/// Whether something was measured so long ago.
fn is_older_than(age: Duration, time: Timestamp) -> bool {
    time.plus(age) < Timestamp::now()
}

impl Session<'_> {
    /// Whether a reading of that time is late, and treated as such.
    pub(super) fn is_late(&self, time: Timestamp) -> bool {
        self.setting.late != Late::Same && is_older_than(self.setting.late_after, time)
    }

    /// Looks through the backlog for the newest reading of each metric, if no others are to go out.
    pub(super) async fn look_through(&mut self, lane: &mut Lane) -> Result<(), Ending> {
        if self.setting.late != Late::Skip {
            return Ok(());
        }
        let mut after = lane.acknowledged();
        while !lane.must_leave() {
            let rows = lane.look_ahead(after, BLOCK);
            let rows = rows.map_err(|error| Ending::unavailable(error.to_string()))?;
            let Some(last) = rows.last() else {
                break;
            };
            after = last.end();
            for row in &rows {
                self.newest.note(row);
            }
            tokio::select! {
                biased;
                exchanged = self.connection.exchange() => exchanged?,
                () = tokio::task::yield_now() => {}
            }
        }
        Ok(())
    }

    /// Passes over the next message if it is late and all of it is said again later; false: it is not.
    pub(super) fn skip(&mut self) -> bool {
        if self.setting.late != Late::Skip {
            return false;
        }
        let Some((row, readings)) = self.flight.next_readings() else {
            return false;
        };
        let is_superseded = |reading| self.newest.is_superseded(row, reading);
        if !self.is_late(row.event_time) || !readings.iter().all(is_superseded) {
            return false;
        }
        if let Some(publish) = self.flight.begin_reading() {
            self.flight.skip(publish);
        }
        true
    }

    /// Readings of a message that are to be said: of late ones the newest alone.
    pub(super) fn said<'a>(
        &'a self,
        row: &'a Row,
        readings: &'a [Reading],
    ) -> impl Iterator<Item = &'a Reading> {
        let skips = self.setting.late == Late::Skip && self.is_late(row.event_time);
        let is_said = move |reading: &&Reading| !skips || !self.newest.is_superseded(row, reading);
        readings.iter().filter(is_said)
    }

    /// Where a message with these readings goes.
    pub(super) fn topic(&self, row: &Row, reading: &Reading) -> String {
        let topics = self.setting.topics;
        if self.goes_aside(row) {
            topics.late_topic(&row.source, reading)
        } else {
            topics.topic(&row.source, reading)
        }
    }

    /// Whether a row goes where nobody takes it for the present.
    pub(super) fn goes_aside(&self, row: &Row) -> bool {
        self.setting.late == Late::Topic && self.is_late(row.event_time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(sequence: u64, metrics: &[&str]) -> Row {
        let reading = |metric: &&str| Reading {
            node: "node1".into(),
            metric: (*metric).into(),
            value: 1.0,
        };
        Row {
            source: "source".into(),
            sequence,
            total: sequence,
            received: Timestamp(0),
            event_time: Timestamp(0),
            readings: metrics.iter().map(reading).collect(),
        }
    }

    #[test]
    fn only_the_newest_of_a_metric_is_not_superseded() {
        let mut newest = Newest::default();
        let rows = [row(1, &["t", "h"]), row(2, &["t"]), row(3, &["p"])];
        for row in &rows {
            newest.note(row);
        }
        let superseded = rows.iter().flat_map(|row| {
            let newest = &newest;
            let readings = row.readings.iter();
            readings.map(|reading| newest.is_superseded(row, reading))
        });
        assert_eq!(superseded.collect::<Vec<_>>(), [true, false, false, false]);
    }

    #[test]
    fn names_without_end_fill_no_memory() {
        let mut newest = Newest::default();
        for number in 0..2 * MAX_METRICS as u64 {
            newest.note(&row(number, &[&format!("m{number}")]));
        }
        assert_eq!(newest.last.len(), MAX_METRICS);
        let beyond = row(5, &[&format!("m{}", MAX_METRICS + 1)]);
        assert!(!newest.is_superseded(&beyond, &beyond.readings[0]));
    }
}
