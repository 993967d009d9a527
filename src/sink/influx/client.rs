//! The HTTP client that writes line protocol.

use std::io::Write;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use influxdb2::{ClientBuilder, RequestError};
use reqwest::header::{CONTENT_ENCODING, HeaderMap, HeaderValue};
use reqwest::{Certificate, redirect};
use secrecy::ExposeSecret;

use super::answer::{Answer, CA_KEY, Peer, failure};
use crate::config::Influxdb;
use crate::sink::tls;

/// A server in reach is connected to much sooner; one that is not is worth saying so early.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

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
    Build(#[from] influxdb2::BuildError),
}

/// Writes to one bucket.
#[derive(Debug)]
pub struct Client {
    influxdb: influxdb2::Client,
    peer: Peer,
    gzip: bool,
}

impl Client {
    /// A client for the configured server; connects with the first write.
    pub fn new(config: &Influxdb) -> Result<Self, ClientError> {
        let token = config.token.expose_secret();
        if HeaderValue::from_str(token).is_err() {
            return Err(ClientError::Token);
        }
        let connect_timeout = CONNECT_TIMEOUT.min(config.timeout);
        let mut http = reqwest::Client::builder()
            .connect_timeout(connect_timeout)
            .timeout(config.timeout)
            // A redirected POST can come back as a success that wrote nothing.
            .redirect(redirect::Policy::none());
        http = with_trust(http, config)?;
        if config.gzip {
            // All that this client ever sends is compressed.
            let encoding = (CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            http = http.default_headers(HeaderMap::from_iter([encoding]));
        }
        let influxdb =
            ClientBuilder::with_builder(http, config.url.as_str(), &config.org, token).build()?;
        Ok(Self {
            influxdb,
            peer: Peer {
                host: config.url.host_str().unwrap_or_default().into(),
                org: config.org.clone(),
                bucket: config.bucket.clone(),
                connect_timeout,
                timeout: config.timeout,
            },
            gzip: config.gzip,
        })
    }

    /// The client beneath, for what the gateway itself does not do. With gzip it says of all that it
    /// sends that it is compressed.
    pub fn influxdb(&self) -> &influxdb2::Client {
        &self.influxdb
    }

    /// Whether the server answers at all; the error says why not. What it says of its health is no
    /// proof either way: VictoriaMetrics and InfluxDB 3 answer in plain text.
    pub async fn reach(&self) -> Result<(), String> {
        match self.influxdb.health().await {
            Err(RequestError::ReqwestProcessing { source }) if !source.is_decode() => {
                Err(failure(&source.without_url(), &self.peer))
            }
            _ => Ok(()),
        }
    }

    /// Writes lines and says what became of them. Never takes longer than the configured timeout.
    pub async fn write(&self, lines: &str) -> Answer {
        let body = if self.gzip {
            compress(lines)
        } else {
            lines.as_bytes().to_vec()
        };
        let Peer { org, bucket, .. } = &self.peer;
        let result = self.influxdb.write_line_protocol(org, bucket, body).await;
        Answer::new(result, &self.peer)
    }
}

/// Trusts whom this system or the configuration trusts, and nobody else.
pub(crate) fn with_trust(
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

/// Line protocol repeats itself so much that the fastest level already saves nearly all there is.
#[expect(clippy::expect_used, reason = "a Vec takes every byte")]
pub(crate) fn compress(lines: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let compressed = encoder
        .write_all(lines.as_bytes())
        .and_then(|()| encoder.finish());
    compressed.expect("writing to memory")
}
