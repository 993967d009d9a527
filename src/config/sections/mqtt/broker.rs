//! Where the broker is, and how it is spoken to.

use super::tls::Tls;
use crate::config::kind::{Kind, NotAllowed, OrRefuse, parse_url};
use url::Url;

/// How the broker is spoken to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transport {
    /// `mqtt://`: in the clear.
    Tcp,
    /// `mqtts://`.
    Tls(Tls),
    /// `ws://`: in the clear, within HTTP.
    WebSocket {
        /// Of the URL; begins with `/`.
        path: String,
    },
    /// `wss://`.
    SecureWebSocket {
        /// Of the URL; begins with `/`.
        path: String,
        /// The encryption.
        tls: Tls,
    },
}

impl Transport {
    /// The encryption; `None`: in the clear.
    pub fn tls(&self) -> Option<&Tls> {
        match self {
            Self::Tls(tls) | Self::SecureWebSocket { tls, .. } => Some(tls),
            Self::Tcp | Self::WebSocket { .. } => None,
        }
    }
}

/// A broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broker {
    /// Host of its URL.
    pub host: String,
    /// Port of its URL, or that of its scheme.
    pub port: u16,
    /// How it is spoken to.
    pub transport: Transport,
}

/// How an MQTT broker is spoken to, as far as its URL says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Mqtt,
    Mqtts,
    Ws,
    Wss,
}

/// Address of an MQTT broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    scheme: Scheme,
    pub(super) host: String,
    pub(super) port: u16,
    /// Of a WebSocket alone.
    path: String,
}

impl Address {
    /// Whether nothing encrypts what is said to it.
    pub(super) fn is_in_the_clear(&self) -> bool {
        matches!(self.scheme, Scheme::Mqtt | Scheme::Ws)
    }

    /// The broker there, spoken to with this encryption where there is any.
    pub(super) fn with(&self, tls: &Tls) -> Broker {
        let (path, tls) = (self.path.clone(), tls.clone());
        Broker {
            host: self.host.clone(),
            port: self.port,
            transport: match self.scheme {
                Scheme::Mqtt => Transport::Tcp,
                Scheme::Mqtts => Transport::Tls(tls),
                Scheme::Ws => Transport::WebSocket { path },
                Scheme::Wss => Transport::SecureWebSocket { path, tls },
            },
        }
    }
}

/// Address of an MQTT broker.
pub(super) fn url() -> Kind<Address> {
    /// What most brokers have, and what `mosquitto_sub` asks for.
    const DEFAULT_PATH: &str = "/mqtt";
    let allowed = "mqtt://HOST or mqtt://HOST:PORT (port 1883 unless told), with TLS mqtts:// (8883), \
                   over WebSocket ws://HOST:PORT/PATH (80, /mqtt) or wss:// (443, /mqtt)";
    Kind::of_text(allowed, |text| {
        let url = parse_url(text, "mqtt://")?;
        let (scheme, default_port) = match url.scheme() {
            "mqtt" | "tcp" => (Scheme::Mqtt, 1883),
            "mqtts" | "ssl" | "tls" => (Scheme::Mqtts, 8883),
            "ws" => (Scheme::Ws, 80),
            "wss" => (Scheme::Wss, 443),
            _ => return Err(NotAllowed::default()),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(
                "leave user and password out of the URL: use mqtt.username and mqtt.password"
                    .into(),
            );
        }
        let path = match (scheme, url.path()) {
            (Scheme::Mqtt | Scheme::Mqtts, _) => {
                ends_after_port(&url)?;
                String::new()
            }
            _ if url.query().is_some() || url.fragment().is_some() => {
                return Err("leave out what follows the path".into());
            }
            (_, "" | "/") => DEFAULT_PATH.to_owned(),
            (_, path) => path.to_owned(),
        };
        let host = url.host_str().filter(|host| !host.is_empty());
        let port = url.port().unwrap_or(default_port);
        let address = Address {
            scheme,
            host: host.ok_or_default()?.to_owned(),
            port,
            path,
        };
        (port > 0).then_some(address).ok_or_default()
    })
}

fn ends_after_port(url: &Url) -> Result<(), NotAllowed> {
    let ends = matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none();
    ends.then_some(())
        .ok_or_else(|| "leave out what follows host and port".into())
}
