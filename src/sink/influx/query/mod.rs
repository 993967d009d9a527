//! What a database holds of a stretch of time, asked in the language that it speaks.
//!
//! | language | who speaks it | file |
//! | --- | --- | --- |
//! | [`Flux`](Language::Flux) | InfluxDB 2 | `flux` |
//! | [`Export`](Language::Export) | VictoriaMetrics | `export` |
//! | [`InfluxQl`](Language::InfluxQl) | InfluxDB 1 and 3 | `influxql` |

mod export;
mod flux;
mod influxql;

use std::ops::Range;
use std::time::Duration;

pub use export::FIELD_SUFFIX;

use super::answer::{Answer, Response};
use super::client::Client;
use super::line::{LineFormat, Series};
use super::words::words;
use crate::telemetry::Timestamp;

/// The most that is read of one answer.
const MAX_ANSWER: usize = 64 << 20;

/// How long an answer may take: a server reads more for it than for a write.
const PATIENCE: Duration = Duration::from_mins(1);

/// How a database is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// `POST /api/v2/query`.
    Flux,
    /// `/api/v1/export`.
    Export,
    /// `POST /query`.
    InfluxQl,
}

impl Language {
    /// In the order in which they are tried: VictoriaMetrics answers any question in `InfluxQL` with an
    /// empty list.
    const ALL: [Self; 3] = [Self::Flux, Self::Export, Self::InfluxQl];

    /// Its name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Flux => "Flux",
            Self::Export => "the export of VictoriaMetrics",
            Self::InfluxQl => "InfluxQL",
        }
    }

    /// Nanoseconds that the database does not tell apart.
    pub fn resolution(self) -> i64 {
        match self {
            Self::Flux | Self::InfluxQl => 1,
            Self::Export => 1_000_000,
        }
    }

    /// Whether a value of the database is one that was written to it: VictoriaMetrics keeps twelve digits.
    pub fn is_same(self, held: f64, written: f64) -> bool {
        let tolerance = match self {
            Self::Flux | Self::InfluxQl => 0.0,
            Self::Export => 1e-11 * written.abs(),
        };
        (held - written).abs() <= tolerance
    }
}

/// A value that the database holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// Where it is filed.
    pub series: Series,
    /// Its time.
    pub time: Timestamp,
    /// The value.
    pub value: f64,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// More than is read at once: ask for less.
    #[error("the server answers with more than {} MiB", MAX_ANSWER >> 20)]
    TooMuch,
    /// This is not understood there.
    #[error("{0}")]
    NotSpoken(String),
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

/// Asks one database what it holds of one gateway.
#[derive(Debug)]
pub struct Inquiry<'a> {
    client: &'a Client,
    gateway: Option<&'a str>,
    language: Language,
}

impl<'a> Inquiry<'a> {
    /// Finds out how the database can be asked.
    pub async fn begin(
        client: &'a Client,
        format: &'a LineFormat,
        now: Timestamp,
    ) -> Result<Self, QueryError> {
        let moment = now..now.plus_millis(1);
        let mut refusals = Vec::new();
        for language in Language::ALL {
            let inquiry = Self {
                client,
                gateway: format.gateway(),
                language,
            };
            match inquiry.points(&moment).await {
                Ok(_) => return Ok(inquiry),
                Err(QueryError::NotSpoken(words)) => {
                    refusals.push(format!("{}: {words}", language.name()));
                }
                Err(error) => return Err(error),
            }
        }
        let refusals = refusals.join("; ");
        Err(QueryError::Failed(format!(
            "the server cannot be asked what it holds ({refusals})"
        )))
    }

    /// How it is asked.
    pub fn language(&self) -> Language {
        self.language
    }

    /// Every point within a stretch, which is of whole milliseconds.
    pub async fn points(&self, times: &Range<Timestamp>) -> Result<Vec<Point>, QueryError> {
        match self.language {
            Language::Flux => flux::points(self, times).await,
            Language::Export => export::points(self, times).await,
            Language::InfluxQl => influxql::points(self, times).await,
        }
    }

    /// The body of an answer that is a success in whole.
    async fn ask(&self, request: reqwest::RequestBuilder) -> Result<Vec<u8>, QueryError> {
        let asked = self.client.ask(request, MAX_ANSWER, PATIENCE).await;
        let response = asked.map_err(|answer| QueryError::Failed(answer.reason().to_owned()))?;
        if !response.status.is_success() || response.is_page() {
            return Err(self.refused(&response));
        }
        match response.body {
            body if body.is_whole => Ok(body.bytes),
            body if body.bytes.len() >= MAX_ANSWER => Err(QueryError::TooMuch),
            _ => Err(QueryError::Failed(
                "the server broke off its answer".to_owned(),
            )),
        }
    }

    fn refused(&self, response: &Response) -> QueryError {
        if self.language == Language::Flux
            && let Some(words) = words(&response.body.text())
            && let Some(reason) = flux::misplaced(self, &words)
        {
            return QueryError::Failed(reason);
        }
        let said = self.client.refusal(response);
        let words = match &said {
            // What is nothing but a page of success.
            Answer::Accepted => response.status.to_string(),
            said => said.reason().to_owned(),
        };
        match response.status.as_u16() {
            // InfluxDB 1 answers 403 where Flux is switched off.
            200..=299 | 400 | 403 | 404 | 405 | 415 | 422 | 501 => QueryError::NotSpoken(words),
            _ => QueryError::Failed(words),
        }
    }
}

fn not_understood(error: impl std::fmt::Display) -> QueryError {
    QueryError::NotSpoken(format!("its answer is not understood: {error}"))
}
