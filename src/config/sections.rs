//! The keys: each is defined where it is read, with its default and its kind.

use std::time::Duration;

use secrecy::ExposeSecret;

use super::home_assistant::home_assistant;
use super::kind::{boolean, bytes, duration, number, one_of, path, range, text, whole};
use super::names::{self, Given};
use super::section::Section;
use super::setting::Value;
use super::types::{
    Api, Config, Durability, Influxdb, Journal, JournalPath, Log, LogFormat, LogOutput,
    LogRotation, Metric, Mqtt, Payload, Protocol, Qos, Telemetry, Tui, TuiGlyphs, TuiTheme,
};
use super::value::ProtocolLevel;
use super::{security, source, value};

const MILLISECOND: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_hours(1);
/// As `humantime` counts: a year has 365.25 days.
const TEN_YEARS: Duration = Duration::from_hours(10 * (365 * 24 + 6));

/// The themes of the terminal UI by their names.
pub const TUI_THEMES: [(&str, TuiTheme); 3] = [
    ("auto", TuiTheme::Auto),
    ("dark", TuiTheme::Dark),
    ("light", TuiTheme::Light),
];

/// The log formats by their names.
pub const LOG_FORMATS: [(&str, LogFormat); 2] =
    [("text", LogFormat::Text), ("json", LogFormat::Json)];

/// Reads everything; `None` when something that cannot do without is missing or wrong.
pub(super) fn config(root: &mut Section<'_, '_>) -> Option<Config> {
    let shutdown_timeout = root.or("shutdown_timeout", "5s", &duration(Duration::ZERO..=HOUR));
    let gateway = root.optional("gateway", &value::gateway());
    // A wrong one has been reported. It must not be missed as well.
    let name = match &gateway {
        None if root.has_error("gateway") => Some("gateway"),
        name => name.as_deref(),
    };
    let source = root.section("source", source::source);
    let mqtt = root.section("mqtt", |section| mqtt(section, name));
    let influxdb = root.section("influxdb", |section| influxdb(section, name));
    let journal = root.section("journal", journal);
    let telemetry = root.section("telemetry", telemetry);
    let api = root.section("api", api);
    let log = root.section("log", log);
    let tui = root.section("tui", tui);
    let (source, recorded) = source?;
    Some(Config {
        gateway,
        source,
        recorded,
        mqtt,
        influxdb,
        journal: journal?,
        telemetry: telemetry?,
        api,
        log: log?,
        tui: tui?,
        shutdown_timeout: shutdown_timeout?,
    })
}

fn mqtt(section: &mut Section<'_, '_>, gateway: Option<&str>) -> Option<Mqtt> {
    let name = gateway.unwrap_or_else(|| section.environment().host());
    let client_id = Value::Text(format!("fieldgate-{name}"));
    let broker = section.or("broker_url", "mqtt://localhost:1883", &value::broker_url());
    let protocol = section.or("protocol", 4, &value::protocol_level());
    let message_expiry = section.optional("message_expiry", &value::message_expiry());
    let client_id = section.or_described(
        "client_id",
        Some(client_id),
        "\"fieldgate-GATEWAY\", without a gateway \"fieldgate-HOSTNAME\"",
        &value::mqtt_text(),
    );
    let topic_prefix = section.or("topic_prefix", "iiot", &value::topic_prefix());
    let topic_prefix = topic_prefix.and_then(|prefix| fill_in(section, prefix, gateway));
    let payloads = &[("plain", Payload::Plain), ("json", Payload::Json)];
    let payload = section.or("payload", "plain", &one_of(payloads));
    let retain = section.or("retain", "auto", &value::retain());
    let qos = section.or("qos", 1, &value::qos());
    let keep_alive = section.or("keep_alive", "30s", &value::keep_alive());
    let username = section.optional("username", &value::mqtt_text());
    let password = security::secret_or_file(section, &security::MQTT_PASSWORD);
    let tls = security::tls(section, broker.as_ref());
    let max_inflight = match qos {
        // Mosquitto, unless told otherwise, ends a connection that has more than 20 of these open.
        Some(Qos::ExactlyOnce) => 20,
        _ => 100,
    };
    let max_inflight = section.or_described(
        "max_inflight",
        Some(max_inflight.into()),
        "100, with QoS 2 20",
        &whole(1..=u16::MAX.into()),
    );
    let home_assistant =
        section.section("home_assistant", |section| home_assistant(section, gateway));
    if !section.is_present() {
        return None;
    }
    if password.is_some() && username.is_none() {
        section.require(
            "username",
            username.as_ref(),
            Some("MQTT has no password without a user name"),
        );
    }
    let length = password.as_ref().map_or(0, |it| it.expose_secret().len());
    if length > usize::from(u16::MAX) {
        let allowed = "at most 65535 bytes, which is what MQTT carries";
        section.refuse("password", "is too long", allowed.into());
    }
    if protocol == Some(ProtocolLevel::Four) && message_expiry.is_some() {
        section.refuse(
            "message_expiry",
            "is of no use without MQTT 5",
            "mqtt.protocol = 5, or no mqtt.message_expiry".into(),
        );
    }
    let broker = broker?;
    Some(Mqtt {
        protocol: match protocol? {
            ProtocolLevel::Four => Protocol::Mqtt311,
            ProtocolLevel::Five => Protocol::Mqtt5 { message_expiry },
        },
        transport: security::transport(&broker, tls?),
        host: broker.host,
        port: broker.port,
        client_id: client_id?,
        topic_prefix: topic_prefix?,
        payload: payload?,
        home_assistant,
        retain: retain?,
        qos: qos?,
        keep_alive: keep_alive?,
        username,
        password,
        max_inflight: max_inflight?,
    })
}

/// Puts the gateway's name where a topic prefix wants it.
fn fill_in(section: &mut Section<'_, '_>, prefix: String, gateway: Option<&str>) -> Option<String> {
    use value::{GATEWAY_PLACEHOLDER, MAX_TOPIC_PREFIX};
    if !prefix.contains(GATEWAY_PLACEHOLDER) {
        return Some(prefix);
    }
    let Some(gateway) = gateway else {
        let problem = format!("asks for {GATEWAY_PLACEHOLDER}, which has no name");
        let allowed = format!(
            "a name by gateway = \"…\" above all sections or by FIELDGATE_GATEWAY, or no \
             {GATEWAY_PLACEHOLDER}"
        );
        section.refuse("topic_prefix", &problem, allowed);
        return None;
    };
    let filled_in = prefix.replace(GATEWAY_PLACEHOLDER, gateway);
    if filled_in.len() > MAX_TOPIC_PREFIX {
        let problem = format!("is too long with the name for {GATEWAY_PLACEHOLDER}");
        let allowed = format!("at most {MAX_TOPIC_PREFIX} bytes with the name of the gateway");
        section.refuse("topic_prefix", &problem, allowed);
        return None;
    }
    Some(filled_in)
}

fn influxdb(section: &mut Section<'_, '_>, gateway: Option<&str>) -> Option<Influxdb> {
    const MOST_POINTS: i128 = 1_000_000;
    let url = section.or("url", "http://localhost:8086", &value::http_url());
    let org = section.or("org", "my-org", &text());
    let bucket = section.or("bucket", "telemetry", &text());
    let ca_file = section.optional("ca_file", &path());
    let token = security::secret_or_file(section, &security::INFLUXDB_TOKEN);
    let batch_size = section.or("batch_size", 10, &whole::<usize>(1..=MOST_POINTS));
    let flush_interval = section.or("flush_interval", "5s", &duration(MILLISECOND..=HOUR));
    let max_batch_size = section.or("max_batch_size", 5_000, &whole::<usize>(1..=MOST_POINTS));
    let gzip = section.or("gzip", true, &boolean());
    let timeout = section.or("timeout", "10s", &duration(MILLISECOND..=HOUR));
    if !section.is_present() {
        return None;
    }
    if let (Some(url), Some(_)) = (&url, &ca_file)
        && url.scheme() != "https"
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
    Some(Influxdb {
        gateway: gateway.map(str::to_owned),
        url: url?,
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

fn journal(section: &mut Section<'_, '_>) -> Option<Journal> {
    const LEAST_BYTES: u64 = 64 * 1024;
    let file = section
        .environment()
        .state_directory()
        .map(|state| state.join("journal.db"));
    let file = file.and_then(|file| file.into_os_string().into_string().ok());
    let described = "$STATE_DIRECTORY/journal.db, else $XDG_STATE_HOME/fieldgate/journal.db, \
                     else ~/.local/state/fieldgate/journal.db";
    let path = section.or_described(
        "path",
        file.map(Value::Text),
        described,
        &value::journal_path(),
    );
    let max_messages = match path {
        Some(JournalPath::Memory) => 1_000,
        _ => 10_000_000,
    };
    let max_messages = section.or_described(
        "max_messages",
        Some(max_messages.into()),
        "10000000, in memory 1000",
        // SQLite counts in signed numbers.
        &whole(1..=i64::MAX.into()),
    );
    let max_bytes = section.optional("max_bytes", &bytes(LEAST_BYTES));
    let durability = section.or(
        "durability",
        "full",
        &one_of(&[("full", Durability::Full), ("normal", Durability::Normal)]),
    );
    let history = section.or("history", "24h", &duration(Duration::ZERO..=TEN_YEARS));
    let advice = "HOME is not set, so that there is no default: set journal.path";
    Some(Journal {
        path: section.require("path", path, Some(advice))?,
        max_messages: max_messages?,
        max_bytes,
        durability: durability?,
        history: history?,
    })
}

fn telemetry(section: &mut Section<'_, '_>) -> Option<Telemetry> {
    let clock_tolerance = section.or("clock_tolerance", "2s", &duration(Duration::ZERO..=HOUR));
    let wait_for_clock = section.optional("wait_for_clock", &duration(Duration::ZERO..=HOUR));
    let mut node_names = Vec::new();
    let nodes = section.named("nodes", |nodes, key| {
        let name = nodes.named_value(key, &value::name())?;
        node_names.extend(Given::of_key(nodes, key, key, &name));
        Some(name)
    });
    let mut metric_names = Vec::new();
    let metrics = section.named("metrics", |metrics, key| {
        metrics.section(key, |section| {
            let metric = metric(section);
            let name = metric.name.as_deref();
            let given = name.and_then(|name| Given::of_key(section, "name", key, name));
            metric_names.extend(given);
            Some(metric)
        })
    });
    section.report(names::check_nodes(&node_names));
    let keys = metrics.iter().flatten().map(|(key, _)| key.as_str());
    section.report(names::check_metrics(
        &metric_names,
        &keys.collect::<Vec<_>>(),
    ));
    Some(Telemetry {
        nodes: nodes?,
        metrics: metrics?,
        clock_tolerance: clock_tolerance?,
        wait_for_clock,
    })
}

fn metric(section: &mut Section<'_, '_>) -> Metric {
    let any_number = || number("a finite number", |_| true);
    let metric = Metric {
        name: section.optional("name", &value::name()),
        unit: section.optional("unit", &text()),
        sensor_type: section.optional("sensor_type", &value::name()),
        min: section.optional("min", &any_number()),
        max: section.optional("max", &any_number()),
        range: section.optional("range", &range()),
    };
    if let (Some(min), Some(max)) = (metric.min, metric.max)
        && min > max
    {
        section.refuse(
            "max",
            "is below min",
            format!("a number, at least min, which is {min}"),
        );
    }
    metric
}

fn api(section: &mut Section<'_, '_>) -> Option<Api> {
    let listen = section.optional("listen", &value::listen_address());
    let token = section
        .optional("token", &value::api_token())
        .filter(security::is_some_text);
    let listen = listen?;
    let token = if listen.ip().is_loopback() {
        token
    } else {
        let advice = "other machines can reach this api.listen: set FIELDGATE_API_TOKEN or \
                      api.token, or listen on 127.0.0.1";
        Some(section.require("token", token, Some(advice))?)
    };
    Some(Api { listen, token })
}

fn log(section: &mut Section<'_, '_>) -> Option<Log> {
    let rotations = &[
        ("daily", LogRotation::Daily),
        ("hourly", LogRotation::Hourly),
        ("never", LogRotation::Never),
    ];
    let outputs = &[("stdout", LogOutput::Stdout), ("stderr", LogOutput::Stderr)];
    let dir = section.optional("dir", &path());
    let rotation = section.or("rotation", "daily", &one_of(rotations));
    let max_files = section.or("max_files", 14, &whole(1..=10_000));
    let level = section.or("level", "info", &value::log_level());
    let format = section.or("format", "text", &one_of(&LOG_FORMATS));
    let output = section.or("output", "stdout", &one_of(outputs));
    Some(Log {
        dir,
        rotation: rotation?,
        max_files: max_files?,
        level: level?,
        format: format?,
        output: output?,
    })
}

fn tui(section: &mut Section<'_, '_>) -> Option<Tui> {
    let glyphs = &[
        ("auto", TuiGlyphs::Auto),
        ("unicode", TuiGlyphs::Unicode),
        ("ascii", TuiGlyphs::Ascii),
    ];
    let theme = section.or("theme", "auto", &one_of(&TUI_THEMES));
    let glyphs = section.or("glyphs", "auto", &one_of(glyphs));
    Some(Tui {
        theme: theme?,
        glyphs: glyphs?,
    })
}
