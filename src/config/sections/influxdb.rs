//! `[influxdb]`: the database, and how readings become writes.

use std::iter;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::config::kind::{
    HOUR, Kind, MILLISECOND, NotAllowed, OrRefuse, boolean, duration, one_or_several, parse_url,
    path, prefer_first, text, whole,
};
use crate::config::secret::{SecretKey, secret_or_file};
use crate::config::section::Section;
use crate::config::sections::sink::Sink;

/// `[influxdb]`.
#[derive(Debug, Clone)]
pub struct Influxdb {
    /// Its name, and what goes there.
    pub sink: Sink,
    /// The tag `gateway` of every point: top-level key `gateway`.
    pub gateway: Option<String>,
    /// `http://host:port` or `https://host:port`; validated, without a path.
    pub url: Url,
    /// Servers that are used while the one before them cannot be, in their order.
    pub fallbacks: Vec<Url>,
    /// After so long with another server the first one is tried again; `None`: not while that one works.
    pub prefer_first: Option<Duration>,
    /// Certificates of the authorities that are trusted; `None`: those that this system trusts.
    pub ca_file: Option<PathBuf>,
    /// Organisation.
    pub org: String,
    /// Bucket.
    pub bucket: String,
    /// API token; empty: none is sent.
    pub token: SecretString,
    /// Points that make a batch while there is no backlog.
    pub batch_size: usize,
    /// A batch is written at this age though it is not full.
    pub flush_interval: Duration,
    /// Points in one write while a backlog drains.
    pub max_batch_size: usize,
    /// Whether bodies are compressed.
    pub gzip: bool,
    /// Of one write, from the connection to the end of the answer.
    pub timeout: Duration,
}

const TOKEN: SecretKey = SecretKey {
    name: "token",
    file: "token_file",
    variable: "INFLUXDB_TOKEN",
};

/// Reads the section; `None`: it is not there, or something in it is wrong.
pub(super) fn read(
    section: &mut Section<'_, '_>,
    gateway: Option<&str>,
    sink: Option<Sink>,
) -> Option<Influxdb> {
    const MOST_POINTS: i128 = 1_000_000;
    let urls = one_or_several(http_url());
    let urls = section.or("url", "http://localhost:8086", &urls);
    let prefer_first = section.optional("prefer_first", &prefer_first());
    let org = section.or("org", "my-org", &text());
    let bucket = section.or("bucket", "telemetry", &text());
    let ca_file = section.optional("ca_file", &path());
    let token = secret_or_file(section, &TOKEN);
    let batch_size = section.or("batch_size", 10, &whole::<usize>(1..=MOST_POINTS));
    let flush_interval = section.or("flush_interval", "5s", &duration(MILLISECOND..=HOUR));
    let max_batch_size = section.or("max_batch_size", 5_000, &whole::<usize>(1..=MOST_POINTS));
    let gzip = section.or("gzip", true, &boolean());
    let timeout = section.or("timeout", "10s", &duration(MILLISECOND..=HOUR));
    if !section.is_present() {
        return None;
    }
    if let (Some(urls), Some(_)) = (&urls, &ca_file)
        && urls.iter().all(|url| url.scheme() != "https")
    {
        section.refuse(
            "ca_file",
            "is of no use without TLS",
            "an https:// address in influxdb.url, or no influxdb.ca_file".into(),
        );
    }
    if let (Some(usual), Some(most)) = (batch_size, max_batch_size)
        && most < usual
    {
        refuse_batch_sizes(section, usual, most);
    }
    let urls = urls?;
    Some(Influxdb {
        sink: sink?,
        gateway: gateway.map(str::to_owned),
        url: urls.first,
        fallbacks: urls.others,
        prefer_first,
        ca_file,
        org: org?,
        bucket: bucket?,
        token: token.unwrap_or_default(),
        batch_size: batch_size?,
        flush_interval: flush_interval?,
        max_batch_size: max_batch_size?,
        gzip: gzip?,
        timeout: timeout?,
    })
}

/// The error belongs to the one of the two that was set.
fn refuse_batch_sizes(section: &mut Section<'_, '_>, usual: usize, most: usize) {
    if section.layer("max_batch_size") > 0 {
        let allowed = format!("at least influxdb.batch_size, which is {usual}");
        section.refuse("max_batch_size", "is below influxdb.batch_size", allowed);
    } else {
        let allowed = format!("at most influxdb.max_batch_size, which is {most}");
        section.refuse("batch_size", "is above influxdb.max_batch_size", allowed);
    }
}

/// Address of an HTTP server.
fn http_url() -> Kind<Url> {
    Kind::of_text(
        "http://HOST, http://HOST:PORT or http://HOST:PORT/PATH, or https://",
        |text| {
            let url = parse_url(text, "http://")?;
            if !matches!(url.scheme(), "http" | "https") {
                return Err(NotAllowed::default());
            }
            if !url.username().is_empty() || url.password().is_some() {
                return Err("leave user and password out of the URL: use influxdb.token".into());
            }
            if url.query().is_some() || url.fragment().is_some() {
                return Err("leave out what follows the path: ?… and #…".into());
            }
            if url.path().trim_end_matches('/').ends_with("/api/v2/write") {
                return Err("leave out /api/v2/write: it is added to the path".into());
            }
            (url.port() != Some(0)).then_some(url).ok_or_default()
        },
    )
}

impl Influxdb {
    /// The same settings for each server alone, in their order.
    pub fn each(&self) -> impl Iterator<Item = Self> {
        let urls = iter::once(&self.url).chain(&self.fallbacks);
        urls.map(|url| Self {
            url: url.clone(),
            fallbacks: Vec::new(),
            ..self.clone()
        })
    }

    /// In a line for the log, without secrets.
    pub(in crate::config) fn summary(&self) -> String {
        let token = if self.token.expose_secret().is_empty() {
            "no token"
        } else {
            "with a token"
        };
        let addresses = self
            .each()
            .map(|it| it.url.as_str().trim_end_matches('/').to_owned());
        let addresses: Vec<String> = addresses.collect();
        let settings = format!(
            "{}, org {}, bucket {}, {token}, batches of {} or every {}",
            addresses.join(" or "),
            self.org,
            self.bucket,
            self.batch_size,
            humantime::format_duration(self.flush_interval)
        );
        self.sink.summary("influxdb", &settings)
    }

    /// Its secret, which prints as any other.
    pub(in crate::config) fn secret(&self) -> &SecretString {
        &self.token
    }
}
