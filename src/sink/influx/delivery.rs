//! One write after the other to the server.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::answer::{Answer, Refusal, Rejected, Setback};
use super::batch::{Batch, Points};
use super::client::{Client, ClientError};
use super::isolation::{Isolation, Part, SearchState};
use super::line::LineFormat;
use super::pace::Pace;
use crate::config::Influxdb;
use crate::journal::Rejection;
use crate::monitor::{DeliveryOutcome, SinkId};
use crate::repeated::Topic;
use crate::sink::{Delivery, Failure, Lane, Wake};
use crate::telemetry::{MetricTable, Timestamp};

const REJECTIONS: Topic = Topic::new("rejected-points");
const TOO_LARGE: Topic = Topic::new("writes-too-large");

/// Delivers to the first that works of some servers that take line protocol.
pub struct InfluxDelivery {
    servers: Vec<Server>,
    prefer_first: Option<Duration>,
    style: Style,
}

/// How points are written, whoever takes them.
struct Style {
    metrics: Arc<MetricTable>,
    format: LineFormat,
    batch_size: usize,
    flush_interval: Duration,
}

/// A server, and what is known of it.
struct Server {
    address: String,
    client: Arc<Client>,
    pace: Pace,
    doubt: Option<Doubt>,
}

/// A batch of which not a point was taken, and not for its points' sake.
struct Doubt {
    points: usize,
    words: String,
    tries: u32,
}

/// Every so often a batch in doubt is searched anew: the points that were tried stand for the others by
/// chance alone.
const SEARCHED_ANEW: u32 = 10;

/// How a batch ended.
enum Written {
    /// All points of it are stored or rejected.
    Whole,
    /// Told to leave before that.
    Interrupted,
}

impl InfluxDelivery {
    /// A delivery that has not written yet, with or without a tag for the source of each point.
    pub fn new(
        config: &Influxdb,
        metrics: Arc<MetricTable>,
        tags_source: bool,
    ) -> Result<Self, ClientError> {
        let servers = config.each().map(|config| Server::new(&config));
        let format = LineFormat::new(config.gateway.as_deref());
        Ok(Self {
            servers: servers.collect::<Result<_, _>>()?,
            prefer_first: config.prefer_first,
            style: Style {
                metrics,
                format: format.with_source(tags_source),
                batch_size: config.batch_size,
                flush_interval: config.flush_interval,
            },
        })
    }
}

impl Server {
    fn new(config: &Influxdb) -> Result<Self, ClientError> {
        Ok(Self {
            address: config.url.to_string(),
            client: Arc::new(Client::new(config)?),
            pace: Pace::new(config.max_batch_size, config.timeout),
            doubt: None,
        })
    }

    /// Whether this very batch was refused with these words as a whole and in single points.
    fn is_known_refusal(&self, points: usize, words: &str) -> bool {
        self.doubt.as_ref().is_some_and(|doubt| {
            doubt.points == points && doubt.words == words && doubt.tries % SEARCHED_ANEW != 0
        })
    }

    fn doubt(&mut self, points: usize, words: &str) {
        let tries = self.doubt.as_ref().map_or(0, |doubt| doubt.tries);
        self.doubt = Some(Doubt {
            points,
            words: words.to_owned(),
            tries: tries + 1,
        });
    }
}

impl Delivery for InfluxDelivery {
    fn servers(&self) -> Vec<String> {
        let addresses = self.servers.iter().map(|it| it.address.clone());
        addresses.collect()
    }

    fn prefer_first(&self) -> Option<Duration> {
        self.prefer_first
    }

    fn reach_first(&self) -> impl Fn() -> BoxFuture<'static, bool> + Send + 'static {
        let first = self.servers.first().map(|it| Arc::clone(&it.client));
        move || {
            let first = first.clone();
            let reach = async move { first?.reach().await.ok() };
            reach.map(|answer| answer.is_some()).boxed()
        }
    }

    async fn session(&mut self, server: usize, lane: &mut Lane) -> Result<(), Failure> {
        let Some(server) = self.servers.get_mut(server) else {
            return Ok(());
        };
        server.pace.begin_session();
        let mut session = Session {
            server,
            style: &self.style,
            is_up: false,
            batch: Batch::default(),
        };
        session.run(lane).await
    }
}

struct Session<'a> {
    server: &'a mut Server,
    style: &'a Style,
    /// Whether the server has shown that it works.
    is_up: bool,
    batch: Batch,
}

impl Session<'_> {
    async fn run(&mut self, lane: &mut Lane) -> Result<(), Failure> {
        // What waits at the beginning of a session goes at once: it shows whether the server is well.
        let mut is_flush = true;
        loop {
            self.fill(lane)?;
            if self.batch.points == 0 && !self.is_up {
                // Nothing to write: the health endpoint must do as proof for now.
                tokio::select! {
                    reached = self.server.client.reach() => {
                        reached.map_err(|answer| unreached(lane, answer))?;
                    }
                    () = lane.leave() => return Ok(()),
                }
                self.set_up(lane);
            }
            if self.is_due(is_flush || lane.is_draining()) {
                match self.write_batch(lane).await? {
                    Written::Whole => continue,
                    Written::Interrupted => return Ok(()),
                }
            }
            let due = self
                .batch
                .since
                .map(|since| since + self.style.flush_interval);
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
        let limit = self.server.pace.points();
        while self.batch.has_room(limit) {
            let rows = lane
                .read(limit - self.batch.points)
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
        let is_full = self.batch.points >= self.style.batch_size
            || !self.batch.has_room(self.server.pace.points());
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
        let points = Points::new(&batch, &self.style.format, &self.style.metrics);
        let limit = self.server.pace.points();
        let reading = |point| points.reading(&batch, point);
        let mut isolation = Isolation::new(points.len(), limit, reading);
        let received = batch.rows.first().map(|row| row.received);
        while let Some(part) = isolation.next_part() {
            let write = Write {
                lines: points.lines(&part.points),
                received: received.unwrap_or_else(Timestamp::now),
                of_batch: batch.points,
                part,
            };
            let start = Instant::now();
            let answer = tokio::select! {
                answer = self.server.client.write(&write.lines) => answer,
                () = lane.leave() => return Ok(Written::Interrupted),
            };
            if answer == Answer::Accepted {
                self.taken(lane, &write, start.elapsed());
                isolation.taken();
            } else {
                lane.counters().writes_failed.increment();
                self.not_taken(lane, &write, answer, &mut isolation)?;
            }
        }
        // Whoever has an opinion on every point is well, even if it took none of them.
        self.server.doubt = None;
        self.set_up(lane);
        acknowledge(lane, &batch, &points, isolation.into_rejected());
        Ok(Written::Whole)
    }

    fn taken(&mut self, lane: &mut Lane, write: &Write, after: Duration) {
        lane.counters().writes_succeeded.increment();
        self.server.pace.taken(write.points(), after);
        write.show(lane, DeliveryOutcome::Delivered);
        self.set_up(lane);
    }

    /// What is to be done with a write that was not taken; an error ends the session.
    fn not_taken(
        &mut self,
        lane: &mut Lane,
        write: &Write,
        answer: Answer,
        isolation: &mut Isolation<'_>,
    ) -> Result<(), Failure> {
        let (state, reason) = match answer {
            Answer::Accepted => return Ok(()),
            Answer::BackOff(setback) => {
                if setback.was_too_much {
                    self.server.pace.timed_out(write.points());
                }
                let failure = postponed(lane, setback);
                return Err(failed(lane, failure, write.of_batch));
            }
            Answer::Refused(Refusal { reason, .. }) => {
                return Err(failed(lane, Failure::Refused(reason), write.of_batch));
            }
            Answer::TooLarge { reason } => {
                self.server.pace.too_large(write.points());
                say_too_large(write.points(), &reason, lane.sink());
                (isolation.too_large(&write.part, &reason), reason)
            }
            Answer::BadPoints(rejected) => {
                let reason = rejected.reason.clone();
                (self.search(write, rejected, isolation, lane.sink()), reason)
            }
        };
        match state {
            SearchState::Open => Ok(()),
            SearchState::Rejected => {
                write.rejected(lane, reason);
                Ok(())
            }
            SearchState::Configuration => {
                self.server.doubt(write.of_batch, &reason);
                let failure = Failure::Refused(format!(
                    "the server refuses every write with the same words, check influxdb.org, \
                     influxdb.bucket and influxdb.url ({reason})"
                ));
                Err(failed(lane, failure, write.of_batch))
            }
        }
    }

    /// Looks for the bad points of a write, unless the whole batch is known to be refused like this.
    fn search(
        &self,
        write: &Write,
        rejected: Rejected,
        isolation: &mut Isolation<'_>,
        sink: &SinkId,
    ) -> SearchState {
        let (points, reason) = (write.points(), &rejected.reason);
        tracing::debug!(
            link = %sink, points, error = reason,
            "A write was rejected; looking for the bad points."
        );
        let is_known = self.server.is_known_refusal(write.of_batch, reason);
        if points > 1 && is_known && !rejected.is_about_points {
            SearchState::Configuration
        } else {
            isolation.bad(&write.part, rejected)
        }
    }
}

/// One write under way.
struct Write<'a> {
    lines: Cow<'a, str>,
    part: Part,
    /// When the first row of its batch was received.
    received: Timestamp,
    /// The points of its batch.
    of_batch: usize,
}

impl Write<'_> {
    fn points(&self) -> usize {
        self.part.points.len()
    }

    fn show(&self, lane: &Lane, outcome: DeliveryOutcome) {
        let first_line = self.lines.lines().next().unwrap_or_default().to_owned();
        lane.show(first_line, self.points() as u64, outcome, self.received);
    }

    fn rejected(&self, lane: &Lane, reason: String) {
        let point = self.lines.lines().next().unwrap_or_default().to_owned();
        let (points, error) = (self.points() as u64, reason.clone());
        let link = lane.sink().clone();
        REJECTIONS.count(lane.sink().as_str(), "", points, move |sum| {
            tracing::warn!(
                %link, point, points = sum.amount(), error,
                repeated = sum.words(),
                "Rejected for good; the point stands in the journal's table `rejected`."
            );
        });
        self.show(lane, DeliveryOutcome::Rejected { reason });
    }
}

fn say_too_large(points: usize, reason: &str, sink: &SinkId) {
    let error = reason.to_owned();
    let link = sink.clone();
    TOO_LARGE.say(sink.as_str(), "", move |sum| {
        tracing::warn!(
            %link, points, error, repeated = sum.words(),
            "The write was too large; halving it."
        );
    });
}

/// A failure after which the server is left alone for as long as it wants.
fn postponed(lane: &mut Lane, setback: Setback) -> Failure {
    if let Some(wait) = setback.retry_after {
        lane.retry_after(wait);
    }
    Failure::Unavailable(setback.reason)
}

/// A failure to reach the server.
fn unreached(lane: &mut Lane, answer: Answer) -> Failure {
    match answer {
        Answer::BackOff(setback) => postponed(lane, setback),
        other => Failure::Refused(other.reason().to_owned()),
    }
}

fn failed(lane: &Lane, failure: Failure, points: usize) -> Failure {
    lane.failed(&failure, points as u64);
    failure
}

fn acknowledge(lane: &mut Lane, batch: &Batch, points: &Points, rejected: Vec<(usize, String)>) {
    let mut rejected_of_row = vec![0_u64; batch.rows.len()];
    let mut rejections = Vec::with_capacity(rejected.len());
    for (point, reason) in rejected {
        let (row, reading) = points.origin(point);
        rejected_of_row[row] += 1;
        let row = &batch.rows[row];
        rejections.push(Rejection {
            sink: lane.sink().clone(),
            source: row.source.clone(),
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
        lane.delivered(row.received, row.readings.len() as u64 - rejected);
    }
    if let Some(last) = batch.rows.last() {
        lane.acknowledge(last.end());
    }
}
