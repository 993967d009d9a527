//! The rows of a write, and their lines.

use std::borrow::Cow;

use tokio::time::Instant;

use super::line::LineFormat;
use crate::journal::Row;
use crate::telemetry::{MetricTable, Reading};

/// Rows that go into the next write.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) rows: Vec<Row>,
    pub(super) points: usize,
    /// When the first of them was read.
    pub(super) since: Option<Instant>,
}

impl Batch {
    /// Whether one more row like the last one fits into a write of this size.
    pub(super) fn has_room(&self, limit: usize) -> bool {
        let row = self.rows.last().map_or(0, |row| row.readings.len());
        self.points < limit && self.points + row <= limit
    }
}

/// A batch as lines.
pub(super) struct Points {
    text: String,
    /// Where each line ends in the text.
    ends: Vec<usize>,
    /// The number of the first point of each row.
    first_of_row: Vec<usize>,
}

impl Points {
    /// The lines of all rows.
    pub(super) fn new(batch: &Batch, format: &LineFormat, metrics: &MetricTable) -> Self {
        let mut points = Self {
            text: String::with_capacity(batch.points * 96),
            ends: Vec::with_capacity(batch.points),
            first_of_row: Vec::with_capacity(batch.rows.len()),
        };
        for row in &batch.rows {
            points.first_of_row.push(points.ends.len());
            for reading in &row.readings {
                let sensor_type = metrics.sensor_type(&reading.metric);
                format.push_reading_of(&mut points.text, row, reading, sensor_type);
                points.ends.push(points.text.len());
            }
        }
        points
    }

    /// How many points there are.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The lines of these points, which are in their order.
    pub(super) fn lines(&self, points: &[usize]) -> Cow<'_, str> {
        let start_of = |point: usize| point.checked_sub(1).map_or(0, |before| self.ends[before]);
        let line = |point: usize| &self.text[start_of(point)..self.ends[point]];
        match points {
            [] => Cow::Borrowed(""),
            [first, .., last] if last - first + 1 == points.len() => {
                Cow::Borrowed(&self.text[start_of(*first)..self.ends[*last]])
            }
            points => points.iter().map(|point| line(*point)).collect(),
        }
    }

    /// What a point says.
    pub(super) fn reading<'a>(&self, batch: &'a Batch, point: usize) -> &'a Reading {
        let (row, reading) = self.origin(point);
        &batch.rows[row].readings[reading]
    }

    /// Row and reading of a point.
    pub(super) fn origin(&self, point: usize) -> (usize, usize) {
        let row = self.first_of_row.partition_point(|first| *first <= point) - 1;
        (row, point - self.first_of_row[row])
    }
}
