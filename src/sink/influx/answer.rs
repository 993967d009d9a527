//! What the server's answer to a write means.

use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, LOCATION};
use reqwest::{StatusCode, Url};
use serde_json::Value;

use super::retry_after::retry_after;
use super::words::{self, words};
use crate::http::Body;

/// An acknowledgement with more than that to say is none.
const MAX_ACKNOWLEDGEMENT: usize = 1 << 10;

/// What became of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The points are stored.
    Accepted,
    /// Not now: the same write may work later.
    BackOff(Setback),
    /// Not before somebody changes the settings, here or there.
    Refused(Refusal),
    /// Fewer points at once may work.
    TooLarge {
        /// The server's words.
        reason: String,
    },
    /// The server does not take these points as they are, though it may take some of them.
    BadPoints(Rejected),
}

/// Why a write did not work this time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Setback {
    /// What went wrong, in plain words.
    pub reason: String,
    /// When the server wants to be asked again.
    pub retry_after: Option<Duration>,
    /// Whether the write may have been more than the server can take in time.
    pub was_too_much: bool,
}

/// What has to be changed before a write can work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What it is about.
    pub cause: Cause,
    /// What was refused and what to do.
    pub reason: String,
}

/// What a refusal is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Something else than InfluxDB answers at the address, or not as it is spoken to.
    Address,
    /// The server is too old for this way to write.
    Version,
    /// The token is missing or wrong.
    Token,
    /// The token is right and may not write.
    Rights,
    /// The organisation or the bucket does not exist.
    Place,
    /// The server does not take compressed writes.
    Gzip,
    /// The server does not say.
    Other,
}

/// Points that were not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// The server's words.
    pub reason: String,
    /// Whether the words are about points. If not, they may be about anything.
    pub is_about_points: bool,
    /// How many of the points it dropped, if it says so. It has stored the others.
    pub dropped: Option<usize>,
}

/// An answer, as far as it was read.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Body,
}

/// What a write was like, as far as its answer is to be understood by it.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) org: String,
    pub(super) bucket: String,
    /// Whether the points were compressed.
    pub(super) gzip: bool,
}

impl Answer {
    /// What went wrong, and what to do if that is known; nothing when the points are stored.
    pub fn reason(&self) -> &str {
        match self {
            Self::Accepted => "",
            Self::BackOff(Setback { reason, .. })
            | Self::Refused(Refusal { reason, .. })
            | Self::TooLarge { reason }
            | Self::BadPoints(Rejected { reason, .. }) => reason,
        }
    }

    /// What an answer to a write means.
    pub(super) fn new(response: &Response, target: &Target) -> Self {
        let Response { status, body, .. } = response;
        let body = body.text();
        let words = words(&body);
        match status.as_u16() {
            200..=299 => response.acknowledgement(),
            400 if wants_tls(&body) => refused(
                Cause::Address,
                "the server wants TLS on this port, use https:// in influxdb.url",
            ),
            415 if target.gzip => refused(Cause::Gzip, &no_gzip(*status, words)),
            400 | 422 if target.gzip && is_about_gzip(&body) => {
                refused(Cause::Gzip, &no_gzip(*status, words))
            }
            400 | 422 if !response.is_page() => {
                Self::BadPoints(Rejected::new(*status, words, &body))
            }
            401 => refused(Cause::Token, &token_rejected(words)),
            403 => refused(Cause::Rights, &token_rejected(words)),
            404 if !is_of_another_server(response, &body) => {
                refused(Cause::Place, &not_found(words, target))
            }
            413 => Self::TooLarge {
                reason: words.unwrap_or_else(|| status.to_string()),
            },
            500..=599 if is_partial_write(&body) => {
                Self::BadPoints(Rejected::new(*status, words, &body))
            }
            408 | 425 | 429 | 500..=599 => Self::BackOff(Setback {
                reason: with_words(format!("the server answered {status}"), words),
                retry_after: retry_after(&response.headers),
                was_too_much: is_timeout(*status, &body),
            }),
            _ => response.strange(words),
        }
    }
}

impl Response {
    /// What a success means: only an answer as the write API gives it is an acknowledgement. A portal
    /// that wants a login, or another web server, answers a write with a page.
    fn acknowledgement(&self) -> Answer {
        let is_empty = self.body.bytes.trim_ascii().is_empty();
        match self.status.as_u16() {
            // It has no body, whatever its head says.
            204 => Answer::Accepted,
            200..=202 if !self.is_page() && !self.body.is_whole && is_empty => {
                Answer::BackOff(Setback {
                    reason: "the server broke off its answer".into(),
                    ..Setback::default()
                })
            }
            200..=202 if !self.is_page() && (is_empty || self.is_small_success()) => {
                Answer::Accepted
            }
            _ => self.not_influxdb(),
        }
    }

    /// Whether it is something small in JSON that speaks of no error, as some servers and proxies have
    /// it instead of 204.
    fn is_small_success(&self) -> bool {
        let Body { bytes, is_whole } = &self.body;
        let json = serde_json::from_slice::<Value>(bytes);
        let has_error = |body: &Value| {
            let said = ["error", "errors", "message"].map(|key| &body[key]);
            said.iter().any(|said| !said.is_null())
        };
        *is_whole
            && bytes.len() <= MAX_ACKNOWLEDGEMENT
            && json.is_ok_and(|body| body.is_object() && !has_error(&body))
    }

    /// Whether it is a page for a browser.
    pub(super) fn is_page(&self) -> bool {
        let kind = self.headers.get(CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let kind = kind.trim_start().to_ascii_lowercase();
        kind.starts_with("text/html")
            || kind.starts_with("application/xhtml")
            || words::is_page(&self.body.text())
    }

    /// Says that something else answers here, and what it shows.
    pub(super) fn not_influxdb(&self) -> Answer {
        let body = self.body.text();
        let shown = if self.is_page() {
            words::page_words(&body).map(|title| format!(" with the page {title:?}"))
        } else {
            words(&body).map(|words| format!(" with {words:?}"))
        };
        let shown = shown.unwrap_or_default();
        let status = self.status;
        refused(
            Cause::Address,
            &format!("this is not InfluxDB, check influxdb.url (it answered {status}{shown})"),
        )
    }

    /// An answer that no database gives to a write.
    fn strange(&self, words: Option<String>) -> Answer {
        let status = self.status;
        if let (StatusCode::NOT_FOUND, Some(version)) = (status, self.early_version()) {
            let reason = format!("InfluxDB {version} does not take these writes, 1.8 and later do");
            return refused(Cause::Version, &reason);
        }
        let points_to = self
            .location()
            .map_or_else(String::new, |place| format!(" and points to {place}"));
        let reason = format!("the server answered {status}{points_to}, check influxdb.url");
        refused(Cause::Address, &with_words(reason, words))
    }

    /// The version of an InfluxDB that is too old, as Debian's is: what it does not know it answers with its
    /// version all the same.
    fn early_version(&self) -> Option<&str> {
        let version = self.headers.get("x-influxdb-version")?.to_str().ok()?;
        let mut numbers = version.split('.').map(str::parse::<u32>);
        match (numbers.next()?.ok()?, numbers.next()?.ok()?) {
            (0, _) | (1, ..8) => Some(version),
            _ => None,
        }
    }

    /// Where a redirection leads, without what could be a secret.
    fn location(&self) -> Option<String> {
        if !self.status.is_redirection() {
            return None;
        }
        let text = self.headers.get(LOCATION)?.to_str().ok()?;
        let place = match Url::parse(text) {
            Ok(url) => format!("{}{}", url.origin().ascii_serialization(), url.path()),
            Err(_) => text.split(['?', '#']).next()?.to_owned(),
        };
        words(&place)
    }
}

impl Rejected {
    fn new(status: StatusCode, words: Option<String>, body: &str) -> Self {
        let reason = words.unwrap_or_else(|| status.to_string());
        let lower = reason.to_ascii_lowercase();
        let is_about_points = POINT_WORDS.iter().any(|word| lower.contains(word));
        // InfluxDB 2.7 names the oldest and the newest point first, so the words may be cut before it.
        let dropped = body.rsplit_once("dropped=").and_then(|(_, count)| {
            let digits = count.split(|c: char| !c.is_ascii_digit()).next()?;
            digits.parse().ok()
        });
        Self {
            reason,
            is_about_points,
            dropped,
        }
    }
}

/// Words that tell a server's opinion on points from one on the request.
const POINT_WORDS: [&str; 10] = [
    "pars",
    "partial write",
    "retention",
    "conflict",
    "dropped",
    "field",
    "timestamp",
    "measurement",
    "schema",
    "line protocol",
];

/// Some versions answer 500 where points are at fault: `partial write: points beyond retention policy
/// dropped=3`. A cluster in trouble says `partial write` as well, but not that it dropped any.
fn is_partial_write(body: &str) -> bool {
    let at_fault = ["dropped=", "beyond retention policy", "field type conflict"];
    body.contains("partial write") && at_fault.iter().any(|words| body.contains(words))
}

/// A server that is spoken to in the clear on its port for TLS answers 400, as if the points were at
/// fault: Go's `Client sent an HTTP request to an HTTPS server.`, nginx's `The plain HTTP request was
/// sent to HTTPS port`.
fn wants_tls(body: &str) -> bool {
    body.contains("HTTP request") && (body.contains("HTTPS server") || body.contains("HTTPS port"))
}

/// A server that does not know compressed writes says so, or takes the compressed bytes for lines and
/// quotes them. A point may be called anything, so what quotes a line is about that.
fn is_about_gzip(body: &str) -> bool {
    let magic = [
        "\u{1f}\u{fffd}",
        "\u{1f}\u{8b}",
        "\\x1f",
        "\\u001f",
        "\\037",
    ];
    if magic.iter().any(|bytes| body.contains(bytes)) {
        return true;
    }
    let lower = body.to_ascii_lowercase();
    let speaks_of_it = ["gzip", "content-encoding", "content encoding"];
    speaks_of_it.iter().any(|words| lower.contains(words))
        && !["pars", "partial write"]
            .iter()
            .any(|words| lower.contains(words))
}

/// Whether somebody on the way, or the server itself, gave up waiting for the write to be done.
fn is_timeout(status: StatusCode, body: &str) -> bool {
    let lower = body.to_ascii_lowercase();
    matches!(status.as_u16(), 408 | 504)
        || ["timeout", "timed out"]
            .iter()
            .any(|words| lower.contains(words))
}

fn no_gzip(status: StatusCode, words: Option<String>) -> String {
    let reason = format!(
        "the server does not take compressed writes, set influxdb.gzip = false (it answered {status}"
    );
    match words {
        Some(words) => format!("{reason}: {words})"),
        None => reason + ")",
    }
}

fn token_rejected(words: Option<String>) -> String {
    // Of a token that it does not know, InfluxDB only says `unauthorized access`.
    let words = words.filter(|words| words != "unauthorized access");
    with_words(
        "token rejected, set INFLUXDB_TOKEN or influxdb.token".into(),
        words,
    )
}

/// Whether nothing is there that takes writes: a page, or what web servers say without one.
fn is_of_another_server(response: &Response, body: &str) -> bool {
    let lower = body.to_ascii_lowercase();
    let speaks_of_path = [
        "page not found",
        "path not found",
        "no route",
        "cannot post",
    ];
    response.is_page() || speaks_of_path.iter().any(|words| lower.contains(words))
}

/// InfluxDB says `bucket "x" not found` or `organization name "y" not found`. The names may hold
/// any word, so the one that the message begins with decides.
fn not_found(words: Option<String>, target: &Target) -> String {
    let Target { org, bucket, .. } = target;
    match words {
        Some(words) if words.starts_with("org") => format!("org {org:?} not found"),
        Some(words) if words.contains("bucket") => format!("bucket {bucket:?} not found"),
        words => with_words(format!("bucket {bucket:?} or org {org:?} not found"), words),
    }
}

fn refused(cause: Cause, reason: &str) -> Answer {
    Answer::Refused(Refusal {
        cause,
        reason: reason.to_owned(),
    })
}

fn with_words(reason: String, words: Option<String>) -> String {
    match words {
        Some(words) => format!("{reason} ({words})"),
        None => reason,
    }
}

#[cfg(test)]
mod tests;
