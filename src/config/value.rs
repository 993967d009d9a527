//! Kinds of values that mean something to one section alone.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use rustls::pki_types::ServerName;
use secrecy::SecretString;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use url::Url;

use super::kind::{Kind, OrRefuse, Refusal, path_of};
use super::time::parse_time;
use super::types::{JournalPath, PortSelector, Qos, Retain, Speed};
use crate::telemetry::{Name, Timestamp, is_mqtt_char, is_safe};

/// USB vendor and product id.
pub(super) fn usb_id() -> Kind<PortSelector> {
    let allowed = "vendor and product id as lsusb prints them: \"0483:5740\"";
    let id = |text: &str| {
        let fits = (1..=4).contains(&text.len()) && text.chars().all(|c| c.is_ascii_hexdigit());
        fits.then(|| u16::from_str_radix(text, 16).ok()).flatten()
    };
    Kind::of_text(allowed, move |text| {
        let ids = text.split_once(':');
        let ids = ids.and_then(|(vendor, product)| Some((id(vendor)?, id(product)?)));
        let (vendor, product) = ids.ok_or_default()?;
        Ok(PortSelector::UsbId { vendor, product })
    })
}

/// How fast a recording is replayed.
pub(super) fn speed() -> Kind<Speed> {
    let factor = super::kind::number("a number above 0, or \"max\"", |factor| factor > 0.0);
    Kind::new(factor.allowed.clone(), move |value| {
        use super::setting::Value::{Text, Untyped};
        match value {
            Text(text) | Untyped(text) if text == "max" => Ok(Speed::Max),
            _ => factor.parse(value).map(Speed::Factor),
        }
    })
}

/// A time in the configuration: as everywhere, or as `date` and `ls` print it, in UTC.
pub(super) fn time() -> Kind<Timestamp> {
    let allowed = "a time as \"2026-03-01T12:00:00Z\", \"2026-03-01T13:00:00+01:00\" or, in UTC, \
                   \"2026-03-01 12:00:00\"";
    Kind::of_text(allowed, |text| {
        let in_utc = || {
            let time = humantime::parse_rfc3339_weak(text.trim()).ok()?;
            parse_time(&humantime::format_rfc3339_nanos(time).to_string())
        };
        parse_time(text).or_else(in_utc).ok_or_default()
    })
}

/// How an MQTT broker is spoken to, as far as its URL says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme {
    Mqtt,
    Mqtts,
    Ws,
    Wss,
}

/// Address of an MQTT broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Broker {
    pub(super) scheme: Scheme,
    pub(super) host: String,
    pub(super) port: u16,
    /// Of a WebSocket alone.
    pub(super) path: String,
}

/// Address of an MQTT broker.
pub(super) fn broker_url() -> Kind<Broker> {
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
            _ => return Err(Refusal::default()),
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
        let broker = Broker {
            scheme,
            host: host.ok_or_default()?.to_owned(),
            port,
            path,
        };
        (port > 0).then_some(broker).ok_or_default()
    })
}

/// Address of an HTTP server.
pub(super) fn http_url() -> Kind<Url> {
    Kind::of_text(
        "http://HOST, http://HOST:PORT or http://HOST:PORT/PATH, or https://",
        |text| {
            let url = parse_url(text, "http://")?;
            if !matches!(url.scheme(), "http" | "https") {
                return Err(Refusal::default());
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

/// The name that a server's certificate must be for.
pub(super) fn server_name() -> Kind<String> {
    Kind::of_text("a host name or an IP address", |text| {
        let is_name = ServerName::try_from(text).is_ok();
        is_name.then(|| text.to_owned()).ok_or_default()
    })
}

/// Protocols that TLS may agree on.
pub(super) fn alpn() -> Kind<Vec<String>> {
    let allowed = "a list of protocol names, the most wanted first: [\"mqtt\"]";
    Kind::new(allowed, |value| {
        let names = super::kind::texts_of(value)?;
        // Their length is one byte on the wire.
        let fits = names.iter().all(|name| (1..=255).contains(&name.len()));
        fits.then_some(names).ok_or_default()
    })
}

fn parse_url(text: &str, scheme: &str) -> Result<Url, Refusal> {
    let advice = || {
        let with_scheme = Url::parse(&format!("{scheme}{text}"));
        let forgotten = !text.is_empty() && !text.contains("://") && with_scheme.is_ok();
        Refusal(forgotten.then(|| format!("put {scheme} before it")))
    };
    let url = Url::parse(text).map_err(|_| advice())?;
    if text.contains("://") {
        Ok(url)
    } else {
        Err(advice())
    }
}

fn ends_after_port(url: &Url) -> Result<(), Refusal> {
    let ends = matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none();
    ends.then_some(())
        .ok_or_else(|| "leave out what follows host and port".into())
}

/// What stands for the gateway's name in a topic prefix.
pub(super) const GATEWAY_PLACEHOLDER: &str = "{gateway}";

/// Bytes of a topic prefix.
pub(super) const MAX_TOPIC_PREFIX: usize = 256;

/// The name of a gateway among others: one level of a topic.
pub(super) fn gateway() -> Kind<String> {
    let allowed = format!(
        "1 to {} bytes of text without /, +, #, \\, control characters and noncharacters, no $ in front",
        Name::MAX_CHARS
    );
    Kind::of_text(allowed, |text| {
        let fits = is_safe(text) && !text.starts_with('$');
        fits.then(|| text.to_owned()).ok_or_default()
    })
}

/// A text that MQTT carries: its length is a number of 16 bits.
pub(super) fn mqtt_text() -> Kind<String> {
    let allowed = "1 to 65535 bytes of text without control characters and noncharacters";
    Kind::of_text(allowed, |text| {
        let fits = (1..=usize::from(u16::MAX)).contains(&text.len());
        let fits = fits && text.chars().all(is_mqtt_char);
        fits.then(|| text.to_owned()).ok_or_default()
    })
}

/// The first levels of every topic, the gateway's name not filled in yet.
pub(super) fn topic_prefix() -> Kind<String> {
    let allowed = format!(
        "one or more topic levels as \"iiot\", \"plant/hall1\" or \"iiot/{GATEWAY_PLACEHOLDER}\": \
         no + or #, no $ in front, no / at either end, at most {MAX_TOPIC_PREFIX} bytes"
    );
    Kind::of_text(allowed, |text| {
        if text.replace(GATEWAY_PLACEHOLDER, "").contains(['{', '}']) {
            return Err(format!(
                "only {GATEWAY_PLACEHOLDER} may stand in braces: the name that the top-level key \
                 gateway gives"
            )
            .into());
        }
        topic_levels(text)
    })
}

/// The first levels of every topic that Home Assistant listens to.
pub(super) fn discovery_prefix() -> Kind<String> {
    let allowed = format!(
        "one or more topic levels as \"homeassistant\": no + or #, no $ in front, no / at either \
         end, at most {MAX_TOPIC_PREFIX} bytes"
    );
    Kind::of_text(allowed, topic_levels)
}

fn topic_levels(text: &str) -> Result<String, Refusal> {
    let fits = (1..=MAX_TOPIC_PREFIX).contains(&text.len())
        && text
            .chars()
            .all(|c| is_mqtt_char(c) && !matches!(c, '+' | '#'))
        && !text.starts_with(['$', '/'])
        && !text.ends_with('/');
    fits.then(|| text.to_owned()).ok_or_default()
}

/// Quality of service by its number.
pub(super) fn qos() -> Kind<Qos> {
    let level = super::kind::whole::<u8>(0..=2);
    Kind::new(
        "0 (at most once), 1 (at least once) or 2 (exactly once)",
        move |value| {
            Ok(match level.parse(value)? {
                0 => Qos::AtMostOnce,
                1 => Qos::AtLeastOnce,
                _ => Qos::ExactlyOnce,
            })
        },
    )
}

/// Whether the broker shall keep last values.
pub(super) fn retain() -> Kind<Retain> {
    let flag = super::kind::boolean();
    Kind::new("\"auto\", true or false", move |value| {
        use super::setting::Value::{Text, Untyped};
        match value {
            Text(text) | Untyped(text) if text == "auto" => Ok(Retain::Auto),
            _ if flag.parse(value).map_err(|_| Refusal::default())? => Ok(Retain::Always),
            _ => Ok(Retain::Never),
        }
    })
}

/// Whole seconds, as MQTT sends them.
pub(super) fn keep_alive() -> Kind<Duration> {
    let allowed = "whole seconds from 1 to 65535, as \"30s\", \"1m 30s\" or 30";
    whole_seconds(allowed, 1..=65_535)
}

/// Whole seconds, as Home Assistant counts them.
pub(super) fn expire_after() -> Kind<Duration> {
    let allowed = "whole seconds from 0 to 31536000, as \"5m\", \"1day\" or 300; 0 is never";
    whole_seconds(allowed, 0..=31_536_000)
}

fn whole_seconds(allowed: &'static str, range: RangeInclusive<u64>) -> Kind<Duration> {
    let (least, most) = range.into_inner();
    let duration = super::kind::duration(Duration::from_secs(least)..=Duration::from_secs(most));
    Kind::new(allowed, move |value| {
        let duration = duration.parse(value)?;
        (duration.subsec_nanos() == 0)
            .then_some(duration)
            .ok_or_default()
    })
}

/// As MQTT numbers itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProtocolLevel {
    Four,
    Five,
}

/// Which MQTT is spoken.
pub(super) fn protocol_level() -> Kind<ProtocolLevel> {
    let level = super::kind::whole::<u8>(4..=5);
    Kind::new("4 (MQTT 3.1.1) or 5 (MQTT 5)", move |value| {
        Ok(match level.parse(value)? {
            4 => ProtocolLevel::Four,
            _ => ProtocolLevel::Five,
        })
    })
}

/// Whole seconds, as MQTT sends them.
pub(super) fn message_expiry() -> Kind<u32> {
    let most = Duration::from_secs(u32::MAX.into());
    let duration = super::kind::duration(Duration::from_secs(1)..=most);
    let allowed = "whole seconds from 1 to 4294967295, as \"12h\", \"1m 30s\" or 30";
    Kind::new(allowed, move |value| {
        let duration = duration.parse(value)?;
        let seconds = u32::try_from(duration.as_secs()).ok();
        seconds
            .filter(|_| duration.subsec_nanos() == 0)
            .ok_or_default()
    })
}

/// Where the journal lives.
pub(super) fn journal_path() -> Kind<JournalPath> {
    Kind::of_text("the path of a file, or \":memory:\"", |text| {
        Ok(match path_of(text)? {
            ":memory:" => JournalPath::Memory,
            path => JournalPath::File(PathBuf::from(path)),
        })
    })
}

/// The name of a node or metric.
pub(super) fn name() -> Kind<String> {
    let allowed = format!(
        "1 to {} bytes of text without /, +, #, \\, control characters and noncharacters",
        Name::MAX_CHARS
    );
    Kind::of_text(allowed, |text| {
        is_safe(text).then(|| text.to_owned()).ok_or_default()
    })
}

/// An address to listen on.
pub(super) fn listen_address() -> Kind<SocketAddr> {
    let allowed = "an IP address and a port as \"127.0.0.1:8787\" or \"[::1]:8787\"; one that other \
                   machines can reach needs api.token";
    Kind::of_text(allowed, |text| {
        let text = text.trim();
        if let Ok(address) = text.parse() {
            return Ok(address);
        }
        let names_local_host = text.strip_prefix("localhost:");
        Err(Refusal(names_local_host.map(|port| {
            format!("write the address itself: \"127.0.0.1:{port}\"")
        })))
    })
}

/// What whoever asks the API must know.
pub(super) fn api_token() -> Kind<SecretString> {
    let kind = Kind::of_text("ASCII text without spaces", |text| {
        let fits = text.chars().all(|c| c.is_ascii_graphic());
        fits.then(|| SecretString::from(text)).ok_or_default()
    });
    kind.hidden(None)
}

/// The filter of log lines.
pub(super) fn log_level() -> Kind<String> {
    let allowed = "off, error, warn, info, debug or trace, alone or for a part of the program as \
                   \"info,fieldgate::sink=debug\"";
    Kind::of_text(allowed, |text| {
        // A filter takes any bare word for a part of the program to be logged in full, so that a
        // misspelt level would silence all the rest.
        let is_level = |part: &str| !part.is_empty() && part.parse::<LevelFilter>().is_ok();
        let mut bare = text.split(',').filter(|part| !part.contains(['=', '[']));
        if !bare.all(|part| is_level(part.trim())) {
            return Err(Refusal::default());
        }
        match EnvFilter::builder().parse(text) {
            Ok(_) => Ok(text.to_owned()),
            Err(error) => Err(error.to_string().into()),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_the_configuration_may_leave_out_the_zone() {
        let time = time();
        let expected = Timestamp(1_703_174_400_500_000_000);
        for text in [
            "2023-12-21T16:00:00.5Z",
            "2023-12-21 16:00:00.5",
            "1703174400500",
        ] {
            assert_eq!(time.parse(&text.into()).ok(), Some(expected), "{text}");
        }
        assert!(time.parse(&"soon".into()).is_err());
    }
}
