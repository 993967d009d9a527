//! The InfluxDB server: reached, and written to.

use std::time::{Duration, SystemTime};

use reqwest::header::{AUTHORIZATION, CONTENT_ENCODING, DATE, HeaderMap};
use reqwest::{Client, Response, redirect};
use secrecy::ExposeSecret;
use serde_json::Value;

use super::report::Report;
use crate::causes::root_cause;
use crate::config::Influxdb;
use crate::sink::influx::{self, line::LineFormat};
use crate::telemetry::{Reading, Timestamp};

const PART: &str = "influxdb";
const REACHED: &str = "server reached";
const TOKEN: &str = "token valid";
const EXISTS: &str = "org and bucket exist";
const WRITE: &str = "write allowed";

/// What is written to find out whether it may be; beside the measurements, never among them.
const MEASUREMENT: &str = "fieldgate_check";

/// Tries the server and returns what time it has.
pub(super) async fn check(config: &Influxdb, report: &mut Report) -> Option<SystemTime> {
    let http = Client::builder()
        .timeout(config.timeout.min(Duration::from_secs(10)))
        .redirect(redirect::Policy::none());
    let client = influx::with_trust(http, config)
        .map_err(|error| error.to_string())
        .and_then(|http| http.build().map_err(|error| error.to_string()));
    let client = match client {
        Ok(client) => client,
        Err(reason) => {
            let fix = "check the system's certificates, or the file that influxdb.ca_file names";
            report.failed(PART, REACHED, &reason, fix);
            skip_from(0, "needs the server", report);
            return None;
        }
    };
    let health = client.get(url(config, "/health")).send().await;
    let health = match health {
        Ok(health) => health,
        Err(error) => {
            let reason = failure(error);
            let detail = format!("{}: {reason}", config.url.as_str().trim_end_matches('/'));
            report.failed(
                PART,
                REACHED,
                &detail,
                "start the server, or correct influxdb.url",
            );
            skip_from(0, "needs the server", report);
            return None;
        }
    };
    let time = date(health.headers());
    let server = describe(&client, config, health).await;
    report.passed(PART, REACHED, &server);
    write(&client, config, report).await;
    time
}

fn url(config: &Influxdb, path: &str) -> url::Url {
    let mut url = config.url.clone();
    url.set_path(path);
    url
}

fn skip_from(first: usize, reason: &str, report: &mut Report) {
    for check in [TOKEN, EXISTS, WRITE].into_iter().skip(first) {
        report.skipped(PART, check, reason);
    }
}

fn date(headers: &HeaderMap) -> Option<SystemTime> {
    use time::OffsetDateTime;
    use time::format_description::well_known::Rfc2822;
    let text = headers.get(DATE)?.to_str().ok()?.replace("GMT", "+0000");
    OffsetDateTime::parse(&text, &Rfc2822)
        .ok()
        .map(SystemTime::from)
}

/// Which server it is, and which version of it.
async fn describe(client: &Client, config: &Influxdb, health: Response) -> String {
    let header = |name: &str| {
        let value = health.headers().get(name)?.to_str().ok()?;
        Some(value.trim_start_matches('v').to_owned())
    };
    let build = header("x-influxdb-build").map_or_else(String::new, |build| format!(" {build}"));
    if let Some(version) = header("x-influxdb-version") {
        return format!("InfluxDB {version}{build}");
    }
    let body = health.text().await.unwrap_or_default();
    if let Ok(json) = serde_json::from_str::<Value>(&body)
        && json["name"] == "influxdb"
    {
        let version = json["version"].as_str().unwrap_or("of unknown version");
        return format!("InfluxDB {}", version.trim_start_matches('v'));
    }
    match victoria_metrics(client, config).await {
        // Some distributions build it without one.
        Some(version) if version.is_empty() => "VictoriaMetrics of unknown version".into(),
        Some(version) => format!("VictoriaMetrics {version}"),
        None => "a server that does not say what it is".into(),
    }
}

async fn victoria_metrics(client: &Client, config: &Influxdb) -> Option<String> {
    let response = client.get(url(config, "/metrics")).send().await.ok()?;
    let text = response.text().await.ok()?;
    let line = text
        .lines()
        .find(|line| line.starts_with("vm_app_version{"))?;
    let version = line.split_once("short_version=\"")?.1.split('"').next()?;
    Some(version.trim_start_matches('v').to_owned())
}

/// One point, as the gateway would write it: the one proof that counts.
async fn write(client: &Client, config: &Influxdb, report: &mut Report) {
    let point = Reading {
        node: "fieldgate".into(),
        metric: MEASUREMENT.into(),
        value: 1.0,
    };
    let mut line = String::new();
    LineFormat::new(config.gateway.as_deref()).push_reading(
        &mut line,
        &point,
        Timestamp::now(),
        "",
    );
    let mut url = url(config, "/api/v2/write");
    url.query_pairs_mut()
        .append_pair("org", &config.org)
        .append_pair("bucket", &config.bucket)
        .append_pair("precision", "ns");
    let mut request = client.post(url);
    let token = config.token.expose_secret();
    if !token.is_empty() {
        request = request.header(AUTHORIZATION, format!("Token {token}"));
    }
    request = if config.gzip {
        request
            .header(CONTENT_ENCODING, "gzip")
            .body(influx::compress(&line))
    } else {
        request.body(line)
    };
    match request.send().await {
        Err(error) => {
            report.failed(
                PART,
                WRITE,
                &failure(error),
                "see why the server does not answer",
            );
        }
        Ok(response) => {
            let status = response.status().as_u16();
            let body = response.text().await.unwrap_or_default();
            let words = influx::words(&body).unwrap_or_else(|| format!("status {status}"));
            judge(status, &words, config, report);
        }
    }
}

fn judge(status: u16, words: &str, config: &Influxdb, report: &mut Report) {
    let Influxdb { org, bucket, .. } = config;
    let place = format!("org {org}, bucket {bucket}");
    let has_token = !config.token.expose_secret().is_empty();
    if status == 401 {
        let fix = "set INFLUXDB_TOKEN or influxdb.token to a token of this server";
        let detail = if has_token {
            words
        } else {
            "the server wants one and none is set"
        };
        report.failed(PART, TOKEN, detail, fix);
        return skip_from(1, "needs the token", report);
    }
    report.passed(PART, TOKEN, if has_token { "" } else { "none is needed" });
    if status == 404 {
        let fix = "create it at the server, or correct influxdb.org or influxdb.bucket";
        report.failed(PART, EXISTS, &format!("{words} ({place})"), fix);
        return skip_from(2, "needs org and bucket", report);
    }
    if status == 403 {
        report.skipped(PART, EXISTS, "the token may not see");
        let fix = format!("give the token the right to write to bucket {bucket} of org {org}");
        return report.failed(PART, WRITE, words, &fix);
    }
    report.passed(PART, EXISTS, &place);
    if (200..300).contains(&status) {
        report.passed(PART, WRITE, &format!("a point of {MEASUREMENT}"));
    } else {
        let detail = format!("the server answered {status}: {words}");
        report.failed(
            PART,
            WRITE,
            &detail,
            "look into the server's log, and check influxdb.url",
        );
    }
}

fn failure(error: reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".into();
    }
    root_cause(&error.without_url())
}
