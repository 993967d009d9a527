//! The InfluxDB server: reached, and written to, by the client that the gateway writes with.

use std::time::{Duration, SystemTime};

use secrecy::ExposeSecret;

use super::report::Report;
use crate::config::Influxdb;
use crate::sink::influx::line::{CHECK_MEASUREMENT, LineFormat};
use crate::sink::influx::{Answer, Cause, Client, ClientError, Refusal, Setback};
use crate::telemetry::{Reading, Timestamp};

const PART: &str = "influxdb";
const REACHED: &str = "server reached";
const TOKEN: &str = "token valid";
const EXISTS: &str = "org and bucket exist";
const WRITE: &str = "write allowed";

/// A check waits no longer for an answer, whatever the gateway does.
const PATIENCE: Duration = Duration::from_secs(10);

/// Tries the server and returns what time it has.
pub(super) async fn check(
    config: &Influxdb,
    is_one_of_several: bool,
    report: &mut Report,
) -> Option<SystemTime> {
    let patient = Influxdb {
        timeout: config.timeout.min(PATIENCE),
        ..config.clone()
    };
    let address = config.url.as_str().trim_end_matches('/');
    let client = match Client::new(&patient) {
        Ok(client) => client,
        Err(error) => {
            let fix = match error {
                ClientError::Token => "set INFLUXDB_TOKEN or influxdb.token anew",
                _ => "check the system's certificates, or the file that influxdb.ca_file names",
            };
            report.failed(PART, REACHED, &error.to_string(), fix);
            skip_from(0, "needs the server", report);
            return None;
        }
    };
    let server = match client.server().await {
        Ok(server) => server,
        Err(answer) => {
            let (reason, fix) = words(&answer, config);
            report.failed(PART, REACHED, &format!("{address}: {reason}"), &fix);
            skip_from(0, "needs the server", report);
            return None;
        }
    };
    let through = client.proxy().map(|proxy| format!(", through {proxy}"));
    let name = is_one_of_several.then(|| format!("{address}: "));
    let server_and_way =
        name.unwrap_or_default() + &server.description + &through.unwrap_or_default();
    report.passed(PART, REACHED, &server_and_way);
    let answer = client.write(&line(config)).await;
    judge(&answer, config, report);
    server.time.map(SystemTime::from)
}

fn skip_from(first: usize, reason: &str, report: &mut Report) {
    for check in [TOKEN, EXISTS, WRITE].into_iter().skip(first) {
        report.skipped(PART, check, reason);
    }
}

/// One point, as the gateway would write it: the one proof that counts.
fn line(config: &Influxdb) -> String {
    let point = Reading {
        node: "fieldgate".into(),
        metric: CHECK_MEASUREMENT.into(),
        value: 1.0,
    };
    let mut line = String::new();
    let format = LineFormat::new(config.gateway.as_deref());
    format.push_reading(&mut line, &point, Timestamp::now(), "");
    line
}

/// Which of the checks the answer to a write is about.
fn judge(answer: &Answer, config: &Influxdb, report: &mut Report) {
    let Influxdb { org, bucket, .. } = config;
    let place = format!("org {org}, bucket {bucket}");
    let has_token = !config.token.expose_secret().is_empty();
    let (reason, fix) = words(answer, config);
    let cause = match answer {
        Answer::Refused(Refusal { cause, .. }) => *cause,
        _ => Cause::Other,
    };
    if cause == Cause::Token {
        let missing = "the server wants one and none is set";
        let detail = if has_token { &reason } else { missing };
        report.failed(PART, TOKEN, detail, &fix);
        return skip_from(1, "needs the token", report);
    }
    let is_answered =
        !matches!(answer, Answer::BackOff(_)) && !matches!(cause, Cause::Address | Cause::Version);
    if !is_answered {
        report.skipped(PART, TOKEN, "needs an answer to a write");
        report.skipped(PART, EXISTS, "needs an answer to a write");
        return report.failed(PART, WRITE, &reason, &fix);
    }
    report.passed(PART, TOKEN, if has_token { "" } else { "none is needed" });
    match cause {
        Cause::Place => {
            report.failed(PART, EXISTS, &format!("{reason} ({place})"), &fix);
            return skip_from(2, "needs org and bucket", report);
        }
        Cause::Rights => report.skipped(PART, EXISTS, "the token may not see"),
        _ => report.passed(PART, EXISTS, &place),
    }
    if *answer == Answer::Accepted {
        report.passed(PART, WRITE, &format!("a point of {CHECK_MEASUREMENT}"));
    } else {
        report.failed(PART, WRITE, &reason, &fix);
    }
}

/// What an answer says, in the words of the log, and what to do about it.
fn words(answer: &Answer, config: &Influxdb) -> (String, String) {
    let Influxdb { org, bucket, .. } = config;
    let fix = match answer {
        Answer::Accepted => String::new(),
        Answer::BackOff(Setback {
            retry_after: Some(pause),
            ..
        }) => format!(
            "wait, as the gateway does: the server wants to be left alone for {}",
            humantime::format_duration(*pause)
        ),
        Answer::BackOff(_) => {
            "start the server or see why it does not answer, or correct influxdb.url".into()
        }
        Answer::Refused(Refusal { cause, .. }) => match cause {
            Cause::Address => "correct influxdb.url".into(),
            Cause::Version => "install InfluxDB 1.8 or later".into(),
            Cause::Token => "set INFLUXDB_TOKEN or influxdb.token to a token of this server".into(),
            Cause::Rights => {
                format!("give the token the right to write to bucket {bucket} of org {org}")
            }
            Cause::Place => {
                "create it at the server, or correct influxdb.org or influxdb.bucket".into()
            }
            Cause::Gzip => "set influxdb.gzip = false".into(),
            Cause::Other => LOOK.to_owned(),
        },
        Answer::TooLarge { .. } | Answer::BadPoints(_) => LOOK.to_owned(),
    };
    (answer.reason().to_owned(), fix)
}

const LOOK: &str =
    "look into the server's log, and check influxdb.url, influxdb.org and influxdb.bucket";
