//! The HTTP client that writes line protocol.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use influxdb2::ClientBuilder;
use influxdb2::models::HealthCheck;
use reqwest::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, DATE, HeaderMap, HeaderValue,
};
use reqwest::{Certificate, Method, RequestBuilder, StatusCode, Url};
use secrecy::ExposeSecret;
use time::OffsetDateTime;

use super::answer::{Answer, Cause, Refusal, Response, Setback, Target};
use super::failure::{CA_KEY, Peer, is_cut};
use super::retry_after::date;
use crate::config::Influxdb;
use crate::http::{self, Body, Proxy};
use crate::sink::{dial, tls};

/// A server in reach is connected to much sooner; one that is not is worth saying so early.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The most that is read of VictoriaMetrics' metrics, which say its version near their end.
const MAX_METRICS: usize = 1 << 20;

/// How long the metrics may take.
const METRICS_PATIENCE: Duration = Duration::from_secs(5);

/// Why a client could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The token cannot be sent.
    #[error(
        "cannot use the InfluxDB token: it holds a line end or another character that HTTP does \
         not allow; check INFLUXDB_TOKEN or influxdb.token"
    )]
    Token,
    /// Nobody can be trusted.
    #[error("cannot set up TLS with InfluxDB: {0}")]
    Trust(String),
    /// The HTTP client could not be built.
    #[error("cannot set up the connection to InfluxDB")]
    Build(#[from] reqwest::Error),
}

/// Writes to one bucket.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
    authorization: Option<HeaderValue>,
    target: Target,
    peer: Peer,
    /// Whether a connection is open that has carried an answer.
    is_connected: AtomicBool,
}

/// What a server says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Which server it is, and which version of it.
    pub description: String,
    /// What time it has.
    pub time: Option<OffsetDateTime>,
}

impl Client {
    /// A client for the configured server; connects with the first write.
    pub fn new(config: &Influxdb) -> Result<Self, ClientError> {
        let token = config.token.expose_secret();
        let authorization = HeaderValue::from_str(&format!("Token {token}"));
        let mut authorization = authorization.map_err(|_| ClientError::Token)?;
        authorization.set_sensitive(true);
        let proxy = Proxy::of_environment(&config.url);
        let connect_timeout = CONNECT_TIMEOUT.min(config.timeout);
        let http = builder(config, proxy.as_ref())?
            .connect_timeout(connect_timeout)
            .build()?;
        let host = proxy.as_ref().map(Proxy::host);
        let host = host
            .or(config.url.host_str())
            .unwrap_or_default()
            .to_owned();
        Ok(Self {
            http,
            base: config.url.clone(),
            authorization: (!token.is_empty()).then_some(authorization),
            target: Target {
                org: config.org.clone(),
                bucket: config.bucket.clone(),
                gzip: config.gzip,
            },
            peer: Peer {
                host,
                proxy,
                connect_timeout,
                timeout: config.timeout,
            },
            is_connected: AtomicBool::new(false),
        })
    }

    /// Whether the server answers at all, and not with a page; the answer says why not. What it says
    /// of its health is no proof either way: VictoriaMetrics and InfluxDB 3 answer in plain text.
    pub async fn reach(&self) -> Result<(), Answer> {
        self.health().await.map(drop)
    }

    /// Which server it is.
    pub async fn server(&self) -> Result<Server, Answer> {
        let health = self.health().await?;
        let time = date(&health.headers, &DATE);
        let description = match said_by(&health) {
            Some(description) => description,
            None => self.by_metrics().await,
        };
        Ok(Server { description, time })
    }

    /// Through whom everything goes.
    pub fn proxy(&self) -> Option<&Proxy> {
        self.peer.proxy.as_ref()
    }

    /// Writes lines and says what became of them. Never takes longer than the configured timeout.
    pub async fn write(&self, lines: &str) -> Answer {
        let body = if self.target.gzip {
            compress(lines)
        } else {
            lines.as_bytes().to_vec()
        };
        let body = Bytes::from(body);
        let start = Instant::now();
        let mut response = self.send(self.write_request(&body)).await;
        let had_connection = self.is_connected.load(Ordering::Relaxed);
        if had_connection && response.as_ref().is_err_and(is_cut) {
            // A server may end a connection that was idle just when it is used again. A write can be
            // repeated: its points have their times.
            let rest = self.peer.timeout.saturating_sub(start.elapsed());
            response = self.send(self.write_request(&body).timeout(rest)).await;
        }
        self.is_connected.store(response.is_ok(), Ordering::Relaxed);
        match response {
            Ok(response) => self.understand(&response),
            Err(error) => self.through_proxy(self.peer.failed(error)),
        }
    }

    /// A request to a path of the server, with the token.
    pub(super) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, http::url_below(&self.base, path));
        match &self.authorization {
            Some(authorization) => request.header(AUTHORIZATION, authorization.clone()),
            None => request,
        }
    }

    /// Organisation and bucket.
    pub(super) fn place(&self) -> (&str, &str) {
        (&self.target.org, &self.target.bucket)
    }

    /// Sends a request, and reads at most so many bytes of what is answered to it. Answers may be
    /// compressed: a list of points shrinks to less than a tenth.
    pub(super) async fn ask(
        &self,
        request: RequestBuilder,
        most: usize,
        patience: Duration,
    ) -> Result<Response, Answer> {
        let request = request.header(ACCEPT_ENCODING, "gzip").timeout(patience);
        let sent = request.send().await;
        let response = sent.map_err(|error| self.through_proxy(self.peer.failed(error)))?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = http::read_body(response, most, patience).await;
        let body = if is_compressed(&headers) {
            decompress(&body, most)
        } else {
            body
        };
        Ok(Response {
            status,
            headers,
            body,
        })
    }

    /// What a refusal of a question means.
    pub(super) fn refusal(&self, response: &Response) -> Answer {
        self.understand(response)
    }

    fn understand(&self, response: &Response) -> Answer {
        let answer = match &self.peer.proxy {
            Some(proxy) if response.status == StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
                Answer::Refused(Refusal {
                    cause: Cause::Address,
                    reason: proxy.wants_login(),
                })
            }
            _ => Answer::new(response, &self.target),
        };
        self.through_proxy(answer)
    }

    fn write_request(&self, body: &Bytes) -> RequestBuilder {
        let Target { org, bucket, gzip } = &self.target;
        let mut request = self
            .request(Method::POST, "/api/v2/write")
            .query(&[("org", &**org), ("bucket", bucket), ("precision", "ns")])
            .body(body.clone());
        if *gzip {
            request = request.header(CONTENT_ENCODING, "gzip");
        }
        request
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, reqwest::Error> {
        let response = request.send().await?;
        Ok(Response {
            status: response.status(),
            headers: response.headers().clone(),
            body: http::read_words(response).await,
        })
    }

    async fn health(&self) -> Result<Response, Answer> {
        let request = self.http.get(http::url_below(&self.base, "/health"));
        let response = self.send(request).await;
        let response = response.map_err(|error| self.through_proxy(self.peer.failed(error)))?;
        let status = response.status;
        if status == StatusCode::PROXY_AUTHENTICATION_REQUIRED || status.is_redirection() {
            return Err(self.understand(&response));
        }
        if status.is_success() && response.is_page() {
            return Err(self.through_proxy(response.not_influxdb()));
        }
        Ok(response)
    }

    async fn by_metrics(&self) -> String {
        match self.victoria_metrics().await {
            // Some distributions build it without one.
            Some(version) if version.is_empty() => "VictoriaMetrics of unknown version".into(),
            Some(version) => format!("VictoriaMetrics {version}"),
            None => "a server that does not say what it is".into(),
        }
    }

    async fn victoria_metrics(&self) -> Option<String> {
        let request = self.http.get(http::url_below(&self.base, "/metrics"));
        let response = request.send().await.ok()?;
        let text = http::read_body(response, MAX_METRICS, METRICS_PATIENCE)
            .await
            .text();
        let line = text
            .lines()
            .find(|line| line.starts_with("vm_app_version{"))?;
        let version = line.split_once("short_version=\"")?.1.split('"').next()?;
        Some(version.trim_start_matches('v').to_owned())
    }

    /// Names the proxy in what an answer says.
    fn through_proxy(&self, answer: Answer) -> Answer {
        let told = |reason| Proxy::named(self.proxy(), reason);
        match answer {
            Answer::BackOff(it) => Answer::BackOff(Setback {
                reason: told(it.reason),
                ..it
            }),
            Answer::Refused(Refusal { cause, reason }) => Answer::Refused(Refusal {
                cause,
                reason: told(reason),
            }),
            other => other,
        }
    }
}

/// A client of the crate `influxdb2` for the configured server, for what the gateway itself does not
/// do: it reads whatever is sent, and knows no path in the address.
pub fn query_client(config: &Influxdb) -> Result<influxdb2::Client, ClientError> {
    let proxy = Proxy::of_environment(&config.url);
    let token = config.token.expose_secret();
    let http = builder(config, proxy.as_ref())?;
    let client = ClientBuilder::with_builder(http, config.url.as_str(), &config.org, token).build();
    client.map_err(|influxdb2::BuildError::ReqwestClientError { source }| source.into())
}

fn builder(
    config: &Influxdb,
    proxy: Option<&Proxy>,
) -> Result<reqwest::ClientBuilder, ClientError> {
    let port = proxy.map_or(config.url.port_or_known_default(), Proxy::port);
    let resolver = dial::Resolver {
        port: port.unwrap_or_default(),
    };
    let http = http::client(proxy).dns_resolver(Arc::new(resolver));
    with_trust(http.timeout(config.timeout), config)
}

/// Trusts whom this system or the configuration trusts, and nobody else.
fn with_trust(
    http: reqwest::ClientBuilder,
    config: &Influxdb,
) -> Result<reqwest::ClientBuilder, ClientError> {
    if config.url.scheme() != "https" {
        return Ok(http);
    }
    let trusted = tls::trusted(config.ca_file.as_deref(), CA_KEY).map_err(ClientError::Trust)?;
    let certificates = trusted
        .iter()
        .filter_map(|certificate| Certificate::from_der(certificate).ok());
    Ok(certificates.fold(
        http.tls_built_in_root_certs(false),
        reqwest::ClientBuilder::add_root_certificate,
    ))
}

/// Which server an answer is from, if it says so.
fn said_by(health: &Response) -> Option<String> {
    let header = |name: &str| {
        let value = health.headers.get(name)?.to_str().ok()?;
        Some(value.trim_start_matches('v').to_owned())
    };
    if let Some(version) = header("x-influxdb-version") {
        let build =
            header("x-influxdb-build").map_or_else(String::new, |build| format!(" {build}"));
        return Some(format!("InfluxDB {version}{build}"));
    }
    let said: HealthCheck = serde_json::from_slice(&health.body.bytes).ok()?;
    let version = said.version.unwrap_or_else(|| "of unknown version".into());
    (said.name == "influxdb").then(|| format!("InfluxDB {}", version.trim_start_matches('v')))
}

fn is_compressed(headers: &HeaderMap) -> bool {
    let encoding = headers.get(CONTENT_ENCODING);
    encoding.is_some_and(|it| it.as_bytes().eq_ignore_ascii_case(b"gzip"))
}

/// What a compressed body says, at most so much of it.
fn decompress(body: &Body, most: usize) -> Body {
    let mut bytes = Vec::new();
    let reader = MultiGzDecoder::new(&*body.bytes);
    let read = reader.take(most as u64 + 1).read_to_end(&mut bytes);
    let is_whole = body.is_whole && read.is_ok() && bytes.len() <= most;
    bytes.truncate(most);
    Body { bytes, is_whole }
}

/// Line protocol repeats itself so much that the fastest level already saves nearly all there is.
#[expect(clippy::expect_used, reason = "a Vec takes every byte")]
fn compress(lines: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let compressed = encoder
        .write_all(lines.as_bytes())
        .and_then(|()| encoder.finish());
    compressed.expect("writing to memory")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_compressed_answer_no_more_is_kept_than_the_bound() {
        let text = "27.6,temperature\n".repeat(1_000);
        let compressed = Body {
            bytes: compress(&text),
            is_whole: true,
        };
        assert!(compressed.bytes.len() < text.len() / 10);
        let body = decompress(&compressed, text.len());
        assert!(body.is_whole && body.text() == text);
        let body = decompress(&compressed, text.len() - 1);
        assert_eq!((body.bytes.len(), body.is_whole), (text.len() - 1, false));
        let half = Body {
            bytes: compressed.bytes[..compressed.bytes.len() / 2].to_vec(),
            is_whole: true,
        };
        assert!(!decompress(&half, text.len()).is_whole);
    }
}
