//! What became of a write, by what the server or the network said.

use std::io;
use std::time::Duration;

use influxdb2::RequestError;
use reqwest::StatusCode;
use serde::Deserialize;

use crate::causes::{causes, root_cause};
use crate::sink::{Failure, tls};

/// The key that says whom to trust.
pub(super) const CA_KEY: &str = "influxdb.ca_file";

/// The server's words are cut to so many characters: it may answer with a page, or quote a batch.
const MAX_WORDS: usize = 200;

/// What became of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The points are stored.
    Accepted,
    /// Not now: the same write may work later.
    BackOff {
        /// What went wrong, in plain words.
        reason: String,
    },
    /// Not before somebody changes the settings, here or there.
    Refused {
        /// What was refused and what to do.
        reason: String,
    },
    /// Fewer points at once may work.
    TooLarge {
        /// The server's words.
        reason: String,
    },
    /// The server never takes these points as they are, though it may take some of them.
    BadPoints {
        /// The server's words.
        reason: String,
    },
}

/// Whom the writes go to, as far as reasons name it.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) host: String,
    pub(super) org: String,
    pub(super) bucket: String,
    pub(super) connect_timeout: Duration,
    pub(super) timeout: Duration,
}

impl Answer {
    /// What the result of a write means.
    pub(super) fn new(result: Result<(), RequestError>, peer: &Peer) -> Self {
        match result {
            Ok(()) => Self::Accepted,
            // The client takes every status but 204 for an error.
            Err(RequestError::Http { status, text }) => Self::from_status(status, &text, peer),
            Err(RequestError::ReqwestProcessing { source }) => Self::BackOff {
                reason: failure(&source.without_url(), peer),
            },
            Err(error) => Self::BackOff {
                reason: error.to_string(),
            },
        }
    }

    fn from_status(status: StatusCode, body: &str, peer: &Peer) -> Self {
        let words = words(body);
        match status.as_u16() {
            200..=299 => Self::Accepted,
            400 if wants_tls(body) => Self::Refused {
                reason: "the server wants TLS on this port, use https:// in influxdb.url".into(),
            },
            400 | 422 => Self::BadPoints {
                reason: words.unwrap_or_else(|| status.to_string()),
            },
            401 | 403 => Self::Refused {
                reason: token_rejected(words),
            },
            404 => Self::Refused {
                reason: not_found(words, peer),
            },
            413 => Self::TooLarge {
                reason: words.unwrap_or_else(|| status.to_string()),
            },
            408 | 429 | 500..=599 => Self::BackOff {
                reason: with_words(format!("the server answered {status}"), words),
            },
            _ => Self::Refused {
                reason: with_words(
                    format!("the server answered {status}, check influxdb.url"),
                    words,
                ),
            },
        }
    }
}

/// A server that is spoken to in the clear on its port for TLS answers 400, as if the points were at
/// fault: Go's `Client sent an HTTP request to an HTTPS server.`, nginx's `The plain HTTP request was
/// sent to HTTPS port`.
fn wants_tls(body: &str) -> bool {
    body.contains("HTTP request") && (body.contains("HTTPS server") || body.contains("HTTPS port"))
}

fn token_rejected(words: Option<String>) -> String {
    // Of a token that it does not know, InfluxDB only says `unauthorized access`.
    let words = words.filter(|words| words != "unauthorized access");
    with_words(
        "token rejected, set INFLUXDB_TOKEN or influxdb.token".into(),
        words,
    )
}

/// InfluxDB says `bucket "x" not found` or `organization name "y" not found`. The names may hold
/// any word, so the one that the message begins with decides.
fn not_found(words: Option<String>, peer: &Peer) -> String {
    let Peer { org, bucket, .. } = peer;
    match words {
        Some(words) if words.starts_with("org") => format!("org {org:?} not found"),
        Some(words) if words.contains("bucket") => format!("bucket {bucket:?} not found"),
        words => with_words(format!("bucket {bucket:?} or org {org:?} not found"), words),
    }
}

fn with_words(reason: String, words: Option<String>) -> String {
    match words {
        Some(words) => format!("{reason} ({words})"),
        None => reason,
    }
}

/// The message in the body of an error, on one line, or whatever else the body says.
pub(crate) fn words(body: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Body {
        #[serde(alias = "error")]
        message: String,
    }
    let message = serde_json::from_str(body).map_or(body.into(), |it: Body| it.message);
    let printable = message.replace(char::is_control, " ");
    let mut words = printable.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((cut, _)) = words.char_indices().nth(MAX_WORDS) {
        words.truncate(cut);
        words.push('…');
    }
    (!words.is_empty()).then_some(words)
}

/// Why no answer came, in plain words. `error` must be without its URL, which may hold a password.
pub(super) fn failure(error: &reqwest::Error, peer: &Peer) -> String {
    if error.is_timeout() {
        let (what, timeout) = if error.is_connect() {
            ("connection", peer.connect_timeout)
        } else {
            ("answer", peer.timeout)
        };
        return format!("no {what} within {}", humantime::format_duration(timeout));
    }
    let kind = causes(error).find_map(|cause| Some(cause.downcast_ref::<io::Error>()?.kind()));
    let root = root_cause(error);
    if causes(error).any(|cause| cause.to_string().starts_with("dns error")) {
        // The words are the resolver's: `failed to lookup address information: …`.
        let words = root.rsplit(": ").next().unwrap_or_default();
        return format!("host {:?} not found ({words})", peer.host);
    }
    if let Some(Failure::Refused(fault) | Failure::Unavailable(fault)) =
        tls::certificate_fault(&root, "server", CA_KEY)
    {
        return fault;
    }
    if root.contains("corrupt message") {
        return "the server does not speak TLS on this port, use http:// in influxdb.url".into();
    }
    if root.contains("handshake eof") {
        return "the server ended the TLS handshake; if this stays so, the port is not one for TLS"
            .into();
    }
    match kind {
        Some(io::ErrorKind::ConnectionRefused) => "connection refused".into(),
        Some(io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe) => {
            "connection closed by the server".into()
        }
        _ => words(&root).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        let peer = Peer {
            host: "influx.example".into(),
            org: "iiot".into(),
            bucket: "telemetry".into(),
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(10),
        };
        let error = RequestError::Http {
            status: StatusCode::from_u16(status).unwrap(),
            text: body.into(),
        };
        Answer::new(Err(error), &peer)
    }

    fn refused(reason: &str) -> Answer {
        Answer::Refused {
            reason: reason.into(),
        }
    }

    fn back_off(reason: &str) -> Answer {
        Answer::BackOff {
            reason: reason.into(),
        }
    }

    fn bad_points(reason: &str) -> Answer {
        Answer::BadPoints {
            reason: reason.into(),
        }
    }

    #[test]
    fn every_success_is_accepted() {
        for status in [200, 201, 202, 204] {
            assert_eq!(answer(status, "whatever"), Answer::Accepted);
        }
    }

    #[test]
    fn a_rejected_token_says_what_to_set() {
        let advice = "token rejected, set INFLUXDB_TOKEN or influxdb.token";
        let unauthorized = r#"{"code":"unauthorized","message":"unauthorized access"}"#;
        assert_eq!(answer(401, unauthorized), refused(advice));
        assert_eq!(answer(401, ""), refused(advice));
        assert_eq!(
            answer(
                403,
                r#"{"code":"forbidden","message":"insufficient permissions for write"}"#
            ),
            refused(&format!("{advice} (insufficient permissions for write)"))
        );
    }

    #[test]
    fn what_is_not_found_is_named() {
        for (body, reason) in [
            (
                r#"{"code":"not found","message":"bucket \"telemetry\" not found"}"#,
                "bucket \"telemetry\" not found",
            ),
            (
                r#"{"code":"not found","message":"organization name \"iiot\" not found"}"#,
                "org \"iiot\" not found",
            ),
            (
                r#"{"code":"not found","message":"organization name \"my bucket\" not found"}"#,
                "org \"iiot\" not found",
            ),
            (
                r#"{"code":"not found","message":"bucket \"organization\" not found"}"#,
                "bucket \"telemetry\" not found",
            ),
            (
                "404 page not found\n",
                "bucket \"telemetry\" or org \"iiot\" not found (404 page not found)",
            ),
            ("", "bucket \"telemetry\" or org \"iiot\" not found"),
        ] {
            assert_eq!(answer(404, body), refused(reason), "{body}");
        }
    }

    #[test]
    fn bad_points_come_with_the_words_of_the_server() {
        let conflict = "failure writing points to database: partial write: field type conflict: \
                        input field \"value\" on measurement \"t\" is type float, already exists \
                        as type integer dropped=1";
        let body = serde_json::json!({"code": "unprocessable entity", "message": conflict});
        assert_eq!(answer(422, &body.to_string()), bad_points(conflict));
        let body = r#"{"code":"invalid","message":"unable to parse 'x': missing fields"}"#;
        assert_eq!(
            answer(400, body),
            bad_points("unable to parse 'x': missing fields")
        );
        let body = r#"{"error":"points beyond retention policy"}"#;
        assert_eq!(
            answer(400, body),
            bad_points("points beyond retention policy")
        );
        assert_eq!(answer(400, " \r\n"), bad_points("400 Bad Request"));
    }

    #[test]
    fn plain_http_on_a_port_for_tls_is_no_fault_of_the_points() {
        let reason = "the server wants TLS on this port, use https:// in influxdb.url";
        for body in [
            "Client sent an HTTP request to an HTTPS server.\n",
            "<center>The plain HTTP request was sent to HTTPS port</center>",
        ] {
            assert_eq!(answer(400, body), refused(reason));
        }
    }

    #[test]
    fn a_server_in_trouble_is_left_alone_for_a_while() {
        let internal = r#"{"code":"internal error","message":"unexpected error: timeout"}"#;
        assert_eq!(
            answer(500, internal),
            back_off("the server answered 500 Internal Server Error (unexpected error: timeout)")
        );
        assert_eq!(
            answer(503, ""),
            back_off("the server answered 503 Service Unavailable")
        );
        assert_eq!(
            answer(429, ""),
            back_off("the server answered 429 Too Many Requests")
        );
        assert_eq!(
            answer(408, ""),
            back_off("the server answered 408 Request Timeout")
        );
        let too_large = r#"{"code":"request too large","message":"points batch is too large"}"#;
        let reason = "points batch is too large".to_owned();
        assert_eq!(answer(413, too_large), Answer::TooLarge { reason });
    }

    #[test]
    fn other_answers_are_refusals() {
        assert_eq!(
            answer(301, ""),
            refused("the server answered 301 Moved Permanently, check influxdb.url")
        );
        assert_eq!(
            answer(405, "<h1>Not\tallowed</h1>\n\n\u{1b}[31m"),
            refused(
                "the server answered 405 Method Not Allowed, check influxdb.url \
                 (<h1>Not allowed</h1> [31m)"
            )
        );
    }

    #[test]
    fn long_words_are_cut() {
        let Answer::BadPoints { reason } = answer(400, &"ü".repeat(5_000)) else {
            panic!("another answer");
        };
        assert_eq!(reason, "ü".repeat(MAX_WORDS) + "…");
    }
}
