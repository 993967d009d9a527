//! Secrets, wherever they are kept, and the keys of encrypted connections.

use std::fs;
use std::io;
use std::path::Path;

use secrecy::{ExposeSecret, SecretString};

use super::kind::{path, secret};
use super::section::Section;
use super::types::{Identity, Tls, Transport};
use super::value::{self, Broker, Scheme};

/// A secret, and the places that it can be kept in.
pub(super) struct SecretKey {
    name: &'static str,
    /// The key that names a file with it.
    file: &'static str,
    /// The environment variable that holds it by convention.
    variable: &'static str,
}

pub(super) const MQTT_PASSWORD: SecretKey = SecretKey {
    name: "password",
    file: "password_file",
    variable: "MQTT_PASSWORD",
};

pub(super) const INFLUXDB_TOKEN: SecretKey = SecretKey {
    name: "token",
    file: "token_file",
    variable: "INFLUXDB_TOKEN",
};

/// Reads a secret, or the file that holds it: what is set in the strongest layer. Empty text is no secret.
pub(super) fn secret_or_file(
    section: &mut Section<'_, '_>,
    key: &SecretKey,
) -> Option<SecretString> {
    let own = section.optional(key.name, &secret(key.variable));
    let own = own.filter(is_some_text);
    let file = section.optional(key.file, &path());
    let layers = (section.layer(key.name), section.layer(key.file));
    match file {
        Some(_) if own.is_some() && layers.0 == layers.1 => {
            let problem = format!("stands beside {}", key.name);
            let allowed = format!("only one of {} and {}", key.name, key.file);
            section.refuse(key.file, &problem, allowed);
            None
        }
        Some(file) if layers.1 > layers.0 || own.is_none() => {
            let read = read_secret(&file);
            read.map_err(|error| refuse_file(section, key.file, &error))
                .ok()
        }
        _ => own,
    }
}

pub(super) fn is_some_text(secret: &SecretString) -> bool {
    !secret.expose_secret().is_empty()
}

/// Editors and `echo` end the last line, which is no part of the secret.
fn read_secret(path: &Path) -> io::Result<SecretString> {
    let text = fs::read_to_string(path)?;
    match text.trim_end_matches(['\r', '\n']) {
        "" => Err(io::Error::other("it is empty")),
        secret => Ok(secret.into()),
    }
}

fn refuse_file(section: &mut Section<'_, '_>, name: &'static str, error: &io::Error) {
    let problem = format!("cannot be read: {error}");
    let allowed = "a file that holds the secret and nothing else, readable for the gateway";
    section.refuse(name, &problem, allowed.into());
}

/// Reads the keys of encrypted connections; `None` when one is wrong.
pub(super) fn tls(section: &mut Section<'_, '_>, broker: Option<&Broker>) -> Option<Tls> {
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
    let server_name = section.optional(KEYS[3], &value::server_name());
    let alpn = section.optional(KEYS[4], &value::alpn());
    if broker.is_some_and(|broker| matches!(broker.scheme, Scheme::Mqtt | Scheme::Ws)) {
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

/// How a broker is spoken to.
pub(super) fn transport(broker: &Broker, tls: Tls) -> Transport {
    let path = broker.path.clone();
    match broker.scheme {
        Scheme::Mqtt => Transport::Tcp,
        Scheme::Mqtts => Transport::Tls(tls),
        Scheme::Ws => Transport::WebSocket { path },
        Scheme::Wss => Transport::SecureWebSocket { path, tls },
    }
}
