//! The keys of an encrypted connection.

use std::path::PathBuf;

use rustls::pki_types::ServerName;

use crate::config::kind::{Kind, OrRefuse, path, texts_of};
use crate::config::section::Section;

/// Whom an encrypted connection trusts, and who it says it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// Certificates of the authorities that are trusted; `None`: those that this system trusts.
    pub ca_file: Option<PathBuf>,
    /// What the client proves who it is with.
    pub identity: Option<Identity>,
    /// The name that the certificate must be for; `None`: the host of the URL.
    pub server_name: Option<String>,
    /// Protocols offered, the most wanted first.
    pub alpn: Vec<String>,
}

/// A client certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The certificate and those between it and the authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Reads the keys of encrypted connections, which only those may have; `None` when one is wrong.
pub(super) fn read(section: &mut Section<'_, '_>, is_in_the_clear: bool) -> Option<Tls> {
    const KEYS: [&str; 5] = [
        "ca_file",
        "client_certificate",
        "client_key",
        "server_name",
        "alpn",
    ];
    let ca_file = section.optional(KEYS[0], &path());
    let certificate = section.optional(KEYS[1], &path());
    let key = section.optional(KEYS[2], &path());
    let server_name = section.optional(KEYS[3], &server_name());
    let alpn = section.optional(KEYS[4], &alpn());
    if is_in_the_clear {
        for name in KEYS {
            if section.layer(name) > 0 {
                let allowed = format!("mqtts:// or wss:// in mqtt.broker_url, or no mqtt.{name}");
                section.refuse(name, "is of no use without TLS", allowed);
            }
        }
    }
    let advice = "a client certificate and its key are of use only together";
    let identity = match (certificate, key) {
        (None, None) => None,
        (certificate, key) => {
            let certificate = section.require(KEYS[1], certificate, Some(advice));
            let key = section.require(KEYS[2], key, Some(advice));
            Some(Identity {
                certificate: certificate?,
                key: key?,
            })
        }
    };
    Some(Tls {
        ca_file,
        identity,
        server_name,
        alpn: alpn.unwrap_or_default(),
    })
}

/// The name that a server's certificate must be for.
fn server_name() -> Kind<String> {
    Kind::of_text("a host name or an IP address", |text| {
        let is_name = ServerName::try_from(text).is_ok();
        is_name.then(|| text.to_owned()).ok_or_default()
    })
}

/// Protocols that TLS may agree on.
fn alpn() -> Kind<Vec<String>> {
    let allowed = "a list of protocol names, the most wanted first: [\"mqtt\"]";
    Kind::new(allowed, |value| {
        let names = texts_of(value)?;
        // Their length is one byte on the wire.
        let fits = names.iter().all(|name| (1..=255).contains(&name.len()));
        fits.then_some(names).ok_or_default()
    })
}
