//! One write after the other to the server.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::answer::Answer;
use super::client::{Client, ClientError};
use super::line::LineFormat;
use crate::config::Influxdb;
use crate::journal::{Rejection, Row};
use crate::monitor::{DeliveryOutcome, SinkId};
use crate::repeated::Topic;
use crate::sink::{Delivery, Failure, Lane, Wake};
use crate::telemetry::{MetricTable, Timestamp};

const REJECTIONS: Topic = Topic::new("rejected-points");
const TOO_LARGE: Topic = Topic::new("writes-too-large");

/// Delivers to a server that takes line protocol.
pub struct InfluxDelivery {
    client: Client,
    metrics: Arc<MetricTable>,
    format: LineFormat,
    batch_size: usize,
    flush_interval: Duration,
    max_batch_size: usize,
}

/// Rows that go into the next write.
#[derive(Default)]
struct Batch {
    rows: Vec<Row>,
    points: usize,
    /// When the first of them was read.
    since: Option<Instant>,
}

/// How a batch ended.
enum Written {
    /// All points of it are stored or rejected.
    Whole,
    /// Told to leave before that.
    Interrupted,
}

impl InfluxDelivery {
    /// A delivery that has not written yet.
    pub fn new(config: &Influxdb, metrics: Arc<MetricTable>) -> Result<Self, ClientError> {
        Ok(Self {
            client: Client::new(config)?,
            metrics,
            format: LineFormat::new(config.gateway.as_deref()),
            batch_size: config.batch_size,
            flush_interval: config.flush_interval,
            max_batch_size: config.max_batch_size,
        })
    }
}

impl Delivery for InfluxDelivery {
    const SINK: SinkId = SinkId::Influxdb;

    async fn session(&mut self, lane: &mut Lane) -> Result<(), Failure> {
        let mut session = Session {
            delivery: self,
            limit: self.max_batch_size,
            is_up: false,
            batch: Batch::default(),
        };
        session.run(lane).await
    }
}

struct Session<'a> {
    delivery: &'a InfluxDelivery,
    /// Points that the server takes at once.
    limit: usize,
    /// Whether the server has shown that it works.
    is_up: bool,
    batch: Batch,
}

impl Session<'_> {
    async fn run(&mut self, lane: &mut Lane) -> Result<(), Failure> {
        if lane.waiting() == 0 {
            // Nothing to write: the health endpoint must do as proof for now.
            tokio::select! {
                reached = self.delivery.client.reach() => reached.map_err(Failure::Unavailable)?,
                () = lane.leave() => return Ok(()),
            }
            self.set_up(lane);
        }
        // What waits at the beginning of a session goes at once: it shows whether the server is well.
        let mut is_flush = true;
        loop {
            self.fill(lane)?;
            if self.is_due(is_flush || lane.is_draining()) {
                match self.write_batch(lane).await? {
                    Written::Whole => continue,
                    Written::Interrupted => return Ok(()),
                }
            }
            let due = self
                .batch
                .since
                .map(|since| since + self.delivery.flush_interval);
            let overdue = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            is_flush = tokio::select! {
                wake = lane.wake(true) => match wake {
                    Wake::Leave => return Ok(()),
                    Wake::Flush => true,
                    Wake::Rows => false,
                },
                () = overdue => true,
            };
        }
    }

    /// Reads on, as far as a write may be large.
    fn fill(&mut self, lane: &mut Lane) -> Result<(), Failure> {
        while self.batch.points < self.limit {
            let rows = lane
                .read(self.limit - self.batch.points)
                .map_err(|error| Failure::Unavailable(error.to_string()))?;
            if rows.is_empty() {
                break;
            }
            self.batch.since.get_or_insert_with(Instant::now);
            self.batch.points += rows.iter().map(|row| row.readings.len()).sum::<usize>();
            self.batch.rows.extend(rows);
        }
        Ok(())
    }

    fn is_due(&self, is_flush: bool) -> bool {
        let is_full = self.batch.points >= self.delivery.batch_size;
        self.batch.points > 0 && (is_full || is_flush)
    }

    fn set_up(&mut self, lane: &mut Lane) {
        if !self.is_up {
            self.is_up = true;
            lane.set_up();
        }
    }

    /// Writes all that was read, in parts where the server asks for it, and acknowledges it.
    async fn write_batch(&mut self, lane: &mut Lane) -> Result<Written, Failure> {
        let batch = std::mem::take(&mut self.batch);
        let points = Points::new(&batch, &self.delivery.format, &self.delivery.metrics);
        let mut rejected: Vec<(usize, String)> = Vec::new();
        // The parts still to be written, the next one last.
        let whole = 0..points.len();
        let mut parts = vec![whole];
        while let Some(part) = parts.pop() {
            let lines = points.lines(&part);
            let answer = tokio::select! {
                answer = self.delivery.client.write(lines) => answer,
                () = lane.leave() => return Ok(Written::Interrupted),
            };
            let counters = &lane.monitor().counters.influxdb;
            let show = |outcome| {
                let received = batch
                    .rows
                    .first()
                    .map_or_else(Timestamp::now, |row| row.received);
                let first_line = lines.lines().next().unwrap_or_default().to_owned();
                lane.show(first_line, part.len() as u64, outcome, received);
            };
            if matches!(answer, Answer::Accepted) {
                counters.writes_succeeded.increment();
                show(DeliveryOutcome::Delivered);
                self.set_up(lane);
                continue;
            }
            counters.writes_failed.increment();
            match answer {
                Answer::Accepted => {}
                Answer::BackOff { reason } => {
                    return Err(failed(lane, Failure::Unavailable(reason), batch.points));
                }
                Answer::Refused { reason } => {
                    return Err(failed(lane, Failure::Refused(reason), batch.points));
                }
                Answer::TooLarge { reason } | Answer::BadPoints { reason } if part.len() == 1 => {
                    let (point, error) = (lines.trim_end().to_owned(), reason.clone());
                    REJECTIONS.say("", "", move |sum| {
                        tracing::warn!(
                            link = %SinkId::Influxdb, point, error, repeated = sum.words(),
                            "Rejected for good; the point stands in the journal's table `rejected`."
                        );
                    });
                    show(DeliveryOutcome::Rejected {
                        reason: reason.clone(),
                    });
                    rejected.push((part.start, reason));
                }
                Answer::TooLarge { reason } => {
                    self.limit = (part.len() / 2).max(1);
                    let points = part.len();
                    TOO_LARGE.say("", "", move |sum| {
                        tracing::warn!(
                            link = %SinkId::Influxdb, points, error = reason, repeated = sum.words(),
                            "The write was too large; halving it."
                        );
                    });
                    parts.extend(halves(part));
                }
                Answer::BadPoints { reason } => {
                    tracing::debug!(
                        link = %SinkId::Influxdb, points = part.len(), error = reason,
                        "A write was rejected; looking for the bad points."
                    );
                    parts.extend(halves(part));
                }
            }
        }
        // Whoever has an opinion on every point is well, even if it took none of them.
        self.set_up(lane);
        acknowledge(lane, &batch, &points, rejected);
        Ok(Written::Whole)
    }
}

fn failed(lane: &Lane, failure: Failure, points: usize) -> Failure {
    lane.failed(&failure, points as u64);
    failure
}

/// The second half first: the next part is taken from the end.
fn halves(part: Range<usize>) -> [Range<usize>; 2] {
    let middle = part.start + part.len() / 2;
    [middle..part.end, part.start..middle]
}

fn acknowledge(lane: &mut Lane, batch: &Batch, points: &Points, rejected: Vec<(usize, String)>) {
    let mut rejected_of_row = vec![0_u64; batch.rows.len()];
    let mut rejections = Vec::with_capacity(rejected.len());
    for (point, reason) in rejected {
        let (row, reading) = points.origin(point);
        rejected_of_row[row] += 1;
        let row = &batch.rows[row];
        rejections.push(Rejection {
            sink: SinkId::Influxdb,
            sequence: row.sequence,
            event_time: row.event_time,
            reading: row.readings[reading].clone(),
            reason,
        });
    }
    if !rejections.is_empty() {
        lane.reject(rejections);
    }
    for (row, rejected) in batch.rows.iter().zip(rejected_of_row) {
        lane.acknowledge(
            row.end(),
            row.received,
            row.readings.len() as u64 - rejected,
        );
    }
}

/// A batch as lines.
struct Points {
    text: String,
    /// Where each line ends in the text.
    ends: Vec<usize>,
    /// The number of the first point of each row.
    first_of_row: Vec<usize>,
}

impl Points {
    fn new(batch: &Batch, format: &LineFormat, metrics: &MetricTable) -> Self {
        let mut points = Self {
            text: String::with_capacity(batch.points * 96),
            ends: Vec::with_capacity(batch.points),
            first_of_row: Vec::with_capacity(batch.rows.len()),
        };
        for row in &batch.rows {
            points.first_of_row.push(points.ends.len());
            for reading in &row.readings {
                let sensor_type = metrics.sensor_type(&reading.metric);
                format.push_reading(&mut points.text, reading, row.event_time, sensor_type);
                points.ends.push(points.text.len());
            }
        }
        points
    }

    fn len(&self) -> usize {
        self.ends.len()
    }

    fn lines(&self, part: &Range<usize>) -> &str {
        let end_of = |point: usize| point.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[end_of(part.start)..end_of(part.end)]
    }

    /// Row and reading of a point.
    fn origin(&self, point: usize) -> (usize, usize) {
        let row = self.first_of_row.partition_point(|first| *first <= point) - 1;
        (row, point - self.first_of_row[row])
    }
}
