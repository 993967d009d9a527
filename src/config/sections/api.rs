//! `[api]`: where the HTTP API listens, and to whom.

use std::net::SocketAddr;

use secrecy::SecretString;

use crate::config::kind::{Kind, NotAllowed, OrRefuse, boolean};
use crate::config::secret::is_some_text;
use crate::config::section::Section;

/// `[api]`.
#[derive(Debug, Clone)]
pub struct Api {
    /// Where it listens; port 0: on any free port.
    pub listen: SocketAddr,
    /// What whoever asks must know; `None`, on loopback addresses alone: everybody may ask.
    pub token: Option<SecretString>,
    /// Whether everybody who may ask may also send texts to sources, though there be no token.
    pub allow_send: bool,
}

/// Reads the section; `None`: it is not there, or something in it is wrong.
pub(super) fn read(section: &mut Section<'_, '_>) -> Option<Api> {
    let listen = section.optional("listen", &listen_address());
    let token = section.optional("token", &api_token()).filter(is_some_text);
    let allow_send = section.or("allow_send", false, &boolean());
    let listen = listen?;
    let token = if listen.ip().is_loopback() {
        token
    } else {
        let advice = "other machines can reach this api.listen: set FIELDGATE_API_TOKEN or \
                      api.token, or listen on 127.0.0.1";
        Some(section.require("token", token, Some(advice))?)
    };
    Some(Api {
        listen,
        token,
        allow_send: allow_send?,
    })
}

/// An address to listen on.
fn listen_address() -> Kind<SocketAddr> {
    let allowed = "an IP address and a port as \"127.0.0.1:8787\" or \"[::1]:8787\"; one that other \
                   machines can reach needs api.token";
    Kind::of_text(allowed, |text| {
        let text = text.trim();
        if let Ok(address) = text.parse() {
            return Ok(address);
        }
        let names_local_host = text.strip_prefix("localhost:");
        Err(NotAllowed(names_local_host.map(|port| {
            format!("write the address itself: \"127.0.0.1:{port}\"")
        })))
    })
}

/// What whoever asks the API must know.
fn api_token() -> Kind<SecretString> {
    let kind = Kind::of_text("ASCII text without spaces", |text| {
        let fits = text.chars().all(|c| c.is_ascii_graphic());
        fits.then(|| SecretString::from(text)).ok_or_default()
    });
    kind.hidden(None)
}

impl Api {
    /// In a line for the log, without secrets.
    pub(in crate::config) fn summary(&self) -> String {
        let token = if self.token.is_some() {
            "with a token"
        } else {
            "no token"
        };
        format!("http://{}, {token}", self.listen)
    }
    /// Its secret, which prints as any other.
    pub(in crate::config) fn secret(&self) -> Option<&SecretString> {
        self.token.as_ref()
    }
}
