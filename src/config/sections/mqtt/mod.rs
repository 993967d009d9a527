//! `[mqtt]`: the broker, and how readings become messages.

mod broker;
mod home_assistant;
mod tls;
mod topics;

use std::iter;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use broker::Address;
pub use broker::{Broker, Transport};
pub use home_assistant::HomeAssistant;
pub use tls::{Identity, Tls};

use crate::config::kind::{
    Kind, NotAllowed, OrRefuse, Several, boolean, duration, one_of, one_or_several, prefer_first,
    whole, whole_seconds,
};
use crate::config::secret::{SecretKey, secret_or_file};
use crate::config::section::Section;
use crate::config::sections::sink::{self, Sink};
use crate::config::sections::source::{NamedSource, tell_apart};
use crate::config::setting::Value;
use crate::telemetry::is_mqtt_char;

/// `[mqtt]`.
#[derive(Debug, Clone)]
pub struct Mqtt {
    /// Its name, and what goes there.
    pub sink: Sink,
    /// Host of `broker_url` (`mqtt://host:port`).
    pub host: String,
    /// Port of `broker_url`; 1883, with TLS 8883, unless told.
    pub port: u16,
    /// Scheme and path of `broker_url`, and the keys that only an encrypted connection has.
    pub transport: Transport,
    /// Brokers that are used while the one before them cannot be, in their order.
    pub fallbacks: Vec<Broker>,
    /// After so long with another broker the first one is tried again; `None`: not while that one works.
    pub prefer_first: Option<Duration>,
    /// What is spoken there.
    pub protocol: Protocol,
    /// MQTT client identifier.
    pub client_id: String,
    /// First level or levels of every topic; no `/` at its ends, the gateway's name filled in.
    pub topic_prefix: String,
    /// How readings are written into messages.
    pub payload: Payload,
    /// What becomes of readings that are not present any more.
    pub late: Late,
    /// From this age on they are late.
    pub late_after: Duration,
    /// `[mqtt.home_assistant]`; `None`: Home Assistant is told nothing.
    pub home_assistant: Option<HomeAssistant>,
    /// Whether the broker shall keep last values.
    pub retain: Retain,
    /// Whether each node's state is published beside its readings.
    pub node_status: bool,
    /// Whether readings of the signal go out under the node that it is of as well.
    pub node_signal: bool,
    /// Of every publish.
    pub qos: Qos,
    /// Seconds between pings, whole, at least one.
    pub keep_alive: Duration,
    /// Login name.
    pub username: Option<String>,
    /// Login password.
    pub password: Option<SecretString>,
    /// Publishes that may wait for their acknowledgement at once.
    pub max_inflight: u16,
}

impl Mqtt {
    /// The same settings for each broker alone, in their order.
    pub fn each(&self) -> impl Iterator<Item = Self> {
        let first = Broker {
            host: self.host.clone(),
            port: self.port,
            transport: self.transport.clone(),
        };
        let brokers = iter::once(first).chain(self.fallbacks.iter().cloned());
        brokers.map(|broker| Self {
            host: broker.host,
            port: broker.port,
            transport: broker.transport,
            fallbacks: Vec::new(),
            ..self.clone()
        })
    }

    /// `broker_url` with its port: `mqtts://broker:8883`.
    pub fn url(&self) -> String {
        let (scheme, path) = match &self.transport {
            Transport::Tcp => ("mqtt", ""),
            Transport::Tls(_) => ("mqtts", ""),
            Transport::WebSocket { path } => ("ws", path.as_str()),
            Transport::SecureWebSocket { path, .. } => ("wss", path.as_str()),
        };
        format!("{scheme}://{}:{}{path}", self.host, self.port)
    }

    /// The host as a name look-up and a certificate want it: an IPv6 address has its brackets in URLs
    /// alone.
    pub fn bare_host(&self) -> &str {
        self.host.trim_matches(['[', ']'])
    }
}

/// MQTT quality of service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Qos {
    /// 0: sent once, never acknowledged.
    AtMostOnce,
    /// 1: acknowledged by PUBACK.
    AtLeastOnce,
    /// 2: acknowledged by PUBCOMP.
    ExactlyOnce,
}

/// How a reading is written into a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payload {
    /// Its value alone.
    Plain,
    /// Value, unit and event time as a JSON object.
    Json,
    /// All readings of a node that came together, and their event time, as one JSON object.
    Node,
}

/// What becomes of readings that are late, after an outage for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Late {
    /// They go where present ones go.
    Same,
    /// They go to `<topic>/late`, not retained.
    Topic,
    /// Only the newest of each metric goes out.
    Skip,
}

const PAYLOADS: &[(&str, Payload)] = &[
    ("plain", Payload::Plain),
    ("json", Payload::Json),
    ("node", Payload::Node),
];

const LATE: &[(&str, Late)] = &[
    ("same", Late::Same),
    ("topic", Late::Topic),
    ("skip", Late::Skip),
];

/// The section's name.
const KIND: &str = "mqtt";

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_hours(24);

/// Which MQTT is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// MQTT 5 with a broker that speaks it, MQTT 3.1.1 with one that does not.
    Auto {
        /// As with MQTT 5 alone; MQTT 3.1.1 has none.
        message_expiry: Option<u32>,
    },
    /// Protocol level 4: MQTT 3.1.1.
    Mqtt311,
    /// Protocol level 5: MQTT 5.
    Mqtt5 {
        /// Seconds after which the broker forgets a reading that it could not pass on; `None`: it
        /// does not.
        message_expiry: Option<u32>,
    },
}

impl Protocol {
    /// Seconds after which the broker forgets a reading that it could not pass on, where MQTT 5 is
    /// spoken.
    pub fn message_expiry(self) -> Option<u32> {
        match self {
            Self::Mqtt311 => None,
            Self::Auto { message_expiry } | Self::Mqtt5 { message_expiry } => message_expiry,
        }
    }
}

/// Whether the broker shall keep the last values of nodes, and the status, for later subscribers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retain {
    /// If it can.
    Auto,
    /// It has to.
    Always,
    /// It shall not.
    Never,
}

const PASSWORD: SecretKey = SecretKey {
    name: "password",
    file: "password_file",
    variable: "MQTT_PASSWORD",
};

/// Reads all of them.
pub(super) fn read_all(
    root: &mut Section<'_, '_>,
    gateway: Option<&str>,
    sources: Option<&[NamedSource]>,
) -> Vec<Mqtt> {
    let mut before: Vec<Mqtt> = Vec::new();
    sink::read_all(root, KIND, |section, sink| {
        let mqtt = read(section, gateway, sink)?;
        tell_apart(section, &mqtt.topic_prefix, sources);
        tell_clients_apart(section, &mqtt, &before);
        before.push(mqtt.clone());
        Some(mqtt)
    })
}

/// Refuses a client that a broker would take for another one of this gateway: each connection would end the
/// other.
fn tell_clients_apart(section: &mut Section<'_, '_>, mqtt: &Mqtt, before: &[Mqtt]) {
    let is_at = |one: &Mqtt, other: &Mqtt| (&one.host, one.port) == (&other.host, other.port);
    let shares_broker = |other: &&Mqtt| {
        let same_name = other.client_id == mqtt.client_id;
        same_name
            && mqtt
                .each()
                .any(|one| other.each().any(|it| is_at(&one, &it)))
    };
    if let Some(other) = before.iter().find(shares_broker) {
        let problem = format!("is that of {} at the same broker", other.sink.name);
        let allowed = "an identifier for each connection to a broker";
        section.refuse("client_id", &problem, allowed.into());
    }
}

/// Reads the section; `None`: it is not there, or something in it is wrong.
fn read(section: &mut Section<'_, '_>, gateway: Option<&str>, sink: Option<Sink>) -> Option<Mqtt> {
    let name = gateway.unwrap_or_else(|| section.environment().host());
    let brokers = one_or_several(broker::url());
    let brokers = section.or("broker_url", "mqtt://localhost:1883", &brokers);
    let prefer_first = section.optional("prefer_first", &prefer_first());
    let protocol = read_protocol(section);
    let client_id = read_client_id(section, name, sink.as_ref());
    let topic_prefix = section.or("topic_prefix", "iiot", &topics::prefix());
    let topic_prefix = topic_prefix.and_then(|prefix| topics::fill_in(section, prefix, gateway));
    let payload = section.or("payload", "plain", &one_of(PAYLOADS));
    let late = section.or("late", "same", &one_of(LATE));
    let late_after = section.or("late_after", "1m", &duration(SECOND..=DAY));
    let retain = section.or("retain", "auto", &retain());
    let (node_status, node_signal) = of_nodes(section);
    let qos = section.or("qos", 1, &qos());
    let keep_alive = section.or("keep_alive", "30s", &keep_alive());
    let username = section.optional("username", &mqtt_text());
    let password = secret_or_file(section, &PASSWORD);
    let tls = tls::read(section, brokers.as_ref().is_some_and(are_in_the_clear));
    let max_inflight = read_max_inflight(section, qos);
    let home_assistant = section.section("home_assistant", |section| {
        home_assistant::read(section, gateway)
    });
    if !section.is_present() {
        return None;
    }
    check_login(section, username.as_deref(), password.as_ref());
    let (brokers, tls) = (brokers?, tls?);
    let first = brokers.first.with(&tls);
    let others = brokers.others.iter();
    Some(Mqtt {
        sink: sink?,
        host: first.host,
        port: first.port,
        transport: first.transport,
        fallbacks: others.map(|other| other.with(&tls)).collect(),
        prefer_first,
        protocol: protocol?,
        client_id: client_id?,
        topic_prefix: topic_prefix?,
        payload: payload?,
        late: late?,
        late_after: late_after?,
        home_assistant,
        retain: retain?,
        node_status: node_status?,
        node_signal: node_signal?,
        qos: qos?,
        keep_alive: keep_alive?,
        username,
        password,
        max_inflight: max_inflight?,
    })
}

/// Its name among the clients of the broker.
fn read_client_id(
    section: &mut Section<'_, '_>,
    name: &str,
    sink: Option<&Sink>,
) -> Option<String> {
    let of_sink = sink
        .map(|sink| sink.name.as_str())
        .filter(|name| *name != KIND);
    let of_sink = of_sink.map(|name| format!("-{name}")).unwrap_or_default();
    let default = Value::Text(format!("fieldgate-{name}{of_sink}"));
    let described = "\"fieldgate-GATEWAY\", without a gateway \"fieldgate-HOSTNAME\", then its name if it \
                     has one";
    section.or_described("client_id", Some(default), described, &mqtt_text())
}

/// Which MQTT is spoken, with the keys that one of them alone has.
fn read_protocol(section: &mut Section<'_, '_>) -> Option<Protocol> {
    let level = section.or("protocol", "auto", &protocol_level());
    let message_expiry = section.optional("message_expiry", &message_expiry());
    if level == Some(ProtocolLevel::Four) && message_expiry.is_some() {
        section.refuse(
            "message_expiry",
            "is of no use without MQTT 5",
            "mqtt.protocol = 5 or \"auto\", or no mqtt.message_expiry".into(),
        );
    }
    Some(match level? {
        ProtocolLevel::Auto => Protocol::Auto { message_expiry },
        ProtocolLevel::Four => Protocol::Mqtt311,
        ProtocolLevel::Five => Protocol::Mqtt5 { message_expiry },
    })
}

/// Whether nothing encrypts what is said to any of them.
fn are_in_the_clear(brokers: &Several<Address>) -> bool {
    brokers.iter().all(Address::is_in_the_clear)
}

/// Messages under way at once.
fn read_max_inflight(section: &mut Section<'_, '_>, qos: Option<Qos>) -> Option<u16> {
    let usual = match qos {
        // Mosquitto, unless told otherwise, ends a connection that has more than 20 of these open.
        Some(Qos::ExactlyOnce) => 20,
        _ => 100,
    };
    section.or_described(
        "max_inflight",
        Some(usual.into()),
        "100, with QoS 2 20",
        &whole(1..=u16::MAX.into()),
    )
}

/// Refuses what a login by MQTT cannot be.
fn check_login(
    section: &mut Section<'_, '_>,
    username: Option<&str>,
    password: Option<&SecretString>,
) {
    if password.is_some() && username.is_none() {
        section.require(
            "username",
            username,
            Some("MQTT has no password without a user name"),
        );
    }
    let length = password.map_or(0, |it| it.expose_secret().len());
    if length > usize::from(u16::MAX) {
        let allowed = "at most 65535 bytes, which is what MQTT carries";
        section.refuse("password", "is too long", allowed.into());
    }
}

/// What is said of nodes beside their readings: their state, and their signal.
fn of_nodes(section: &mut Section<'_, '_>) -> (Option<bool>, Option<bool>) {
    let status = section.or("node_status", true, &boolean());
    (status, section.or("node_signal", false, &boolean()))
}

/// A text that MQTT carries: its length is a number of 16 bits.
fn mqtt_text() -> Kind<String> {
    let allowed = "1 to 65535 bytes of text without control characters and noncharacters";
    Kind::of_text(allowed, |text| {
        let fits = (1..=usize::from(u16::MAX)).contains(&text.len());
        let fits = fits && text.chars().all(is_mqtt_char);
        fits.then(|| text.to_owned()).ok_or_default()
    })
}

/// Quality of service by its number.
fn qos() -> Kind<Qos> {
    let level = whole::<u8>(0..=2);
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
fn retain() -> Kind<Retain> {
    let flag = boolean();
    Kind::new("\"auto\", true or false", move |value| {
        use crate::config::setting::Value::{Text, Untyped};
        match value {
            Text(text) | Untyped(text) if text == "auto" => Ok(Retain::Auto),
            _ if flag.parse(value).map_err(|_| NotAllowed::default())? => Ok(Retain::Always),
            _ => Ok(Retain::Never),
        }
    })
}

/// Whole seconds, as MQTT sends them.
fn keep_alive() -> Kind<Duration> {
    let allowed = "whole seconds from 1 to 65535, as \"30s\", \"1m 30s\" or 30";
    whole_seconds(allowed, 1..=65_535)
}

/// As MQTT numbers itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ProtocolLevel {
    Auto,
    Four,
    Five,
}

/// Which MQTT is spoken.
fn protocol_level() -> Kind<ProtocolLevel> {
    let level = whole::<u8>(4..=5);
    let allowed = "\"auto\" (5, or 4 where the broker speaks no 5), 4 (MQTT 3.1.1) or 5 (MQTT 5)";
    Kind::new(allowed, move |value| {
        use crate::config::setting::Value::{Text, Untyped};
        Ok(match value {
            Text(text) | Untyped(text) if text == "auto" => ProtocolLevel::Auto,
            _ if level.parse(value)? == 4 => ProtocolLevel::Four,
            _ => ProtocolLevel::Five,
        })
    })
}

/// Whole seconds, as MQTT sends them.
fn message_expiry() -> Kind<u32> {
    let most = Duration::from_secs(u32::MAX.into());
    let duration = duration(Duration::from_secs(1)..=most);
    let allowed = "whole seconds from 1 to 4294967295, as \"12h\", \"1m 30s\" or 30";
    Kind::new(allowed, move |value| {
        let duration = duration.parse(value)?;
        let seconds = u32::try_from(duration.as_secs()).ok();
        seconds
            .filter(|_| duration.subsec_nanos() == 0)
            .ok_or_default()
    })
}

impl Mqtt {
    /// In a line for the log, without secrets.
    pub(in crate::config) fn summary(&self) -> String {
        let qos = match self.qos {
            Qos::AtMostOnce => 0,
            Qos::AtLeastOnce => 1,
            Qos::ExactlyOnce => 2,
        };
        let user = match &self.username {
            Some(name) => format!("user {name}"),
            None => "no user".into(),
        };
        let home_assistant = match &self.home_assistant {
            None => "",
            Some(HomeAssistant { enabled: true, .. }) => ", announced to Home Assistant",
            Some(HomeAssistant { enabled: false, .. }) => ", removed from Home Assistant",
        };
        let protocol = match self.protocol {
            Protocol::Auto { .. } => "MQTT 5 or 3.1.1",
            Protocol::Mqtt311 => "MQTT 3.1.1",
            Protocol::Mqtt5 { .. } => "MQTT 5",
        };
        let addresses: Vec<String> = self.each().map(|broker| broker.url()).collect();
        let settings = format!(
            "{}, {protocol}, topics {}/#, QoS {qos}, client {}, {user}{home_assistant}",
            addresses.join(" or "),
            self.topic_prefix,
            self.client_id
        );
        self.sink.summary(KIND, &settings)
    }

    /// Its secret, which prints as any other.
    pub(in crate::config) fn secret(&self) -> Option<&SecretString> {
        self.password.as_ref()
    }
}
