//! Why no answer came.

use std::io;
use std::time::Duration;

use super::answer::{Answer, Cause, Refusal, Setback};
use super::words::words;
use crate::causes::{causes, root_cause};
use crate::http::Proxy;
use crate::sink::{Failure, tls};

/// The key that says whom to trust.
pub(super) const CA_KEY: &str = "influxdb.ca_file";

/// What is known of the connection.
#[derive(Debug)]
pub(super) struct Peer {
    /// The host that is connected to: the server's, or the proxy's.
    pub(super) host: String,
    pub(super) proxy: Option<Proxy>,
    pub(super) connect_timeout: Duration,
    pub(super) timeout: Duration,
}

/// Whether a request was under way when the connection ended without an answer.
pub(super) fn is_cut(error: &reqwest::Error) -> bool {
    let kinds = [
        io::ErrorKind::ConnectionReset,
        io::ErrorKind::BrokenPipe,
        io::ErrorKind::ConnectionAborted,
        io::ErrorKind::UnexpectedEof,
    ];
    !error.is_connect()
        && !error.is_timeout()
        && causes(error).any(|cause| {
            let kind = cause.downcast_ref::<io::Error>().map(io::Error::kind);
            kind.is_some_and(|kind| kinds.contains(&kind))
                || cause.to_string().contains("connection closed")
        })
}

impl Peer {
    /// What an error means.
    pub(super) fn failed(&self, error: reqwest::Error) -> Answer {
        // It may hold a password.
        let error = error.without_url();
        // Who does not answer at all is not slow but away.
        let was_too_much = (error.is_timeout() && !error.is_connect()) || is_cut(&error);
        match self.explain(&error) {
            Failure::Unavailable(reason) => Answer::BackOff(Setback {
                reason,
                was_too_much,
                ..Setback::default()
            }),
            Failure::Refused(reason) => Answer::Refused(Refusal {
                cause: Cause::Address,
                reason,
            }),
        }
    }

    fn explain(&self, error: &reqwest::Error) -> Failure {
        if error.is_timeout() {
            let (what, timeout) = if error.is_connect() {
                ("connection", self.connect_timeout)
            } else {
                ("answer", self.timeout)
            };
            let timeout = humantime::format_duration(timeout);
            return Failure::Unavailable(format!("no {what} within {timeout}"));
        }
        let root = root_cause(error);
        if let Some(failure) = self.proxy_fault(error) {
            return failure;
        }
        if causes(error).any(|cause| cause.to_string().starts_with("dns error")) {
            // The words are the resolver's: `failed to lookup address information: …`.
            let words = root.rsplit(": ").next().unwrap_or_default();
            return Failure::Unavailable(format!("host {:?} not found ({words})", self.host));
        }
        if let Some(Failure::Refused(fault) | Failure::Unavailable(fault)) =
            tls::certificate_fault(&root, "server", CA_KEY)
        {
            return Failure::Unavailable(fault);
        }
        Failure::Unavailable(plain_words(error, &root))
    }

    /// What a proxy says to a request for a connection.
    fn proxy_fault(&self, error: &reqwest::Error) -> Option<Failure> {
        let proxy = self.proxy.as_ref()?;
        let says = |words: &str| causes(error).any(|cause| cause.to_string().contains(words));
        if says("proxy authentication required") {
            return Some(Failure::Refused(proxy.wants_login()));
        }
        says("unsuccessful tunnel")
            .then(|| Failure::Unavailable("the proxy does not connect to the server".to_owned()))
    }
}

fn plain_words(error: &reqwest::Error, root: &str) -> String {
    if root.contains("corrupt message") {
        return "the server does not speak TLS on this port, use http:// in influxdb.url".into();
    }
    if root.contains("handshake eof") {
        return "the server ended the TLS handshake; if this stays so, the port is not one for TLS"
            .into();
    }
    let kind = causes(error).find_map(|cause| Some(cause.downcast_ref::<io::Error>()?.kind()));
    match kind {
        Some(io::ErrorKind::ConnectionRefused) => "connection refused".into(),
        Some(io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe) => {
            "connection closed by the server".into()
        }
        _ => words(root).unwrap_or_default(),
    }
}
