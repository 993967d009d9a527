//! The configuration in a few lines for the log: what holds, without secrets.

use secrecy::ExposeSecret;

use super::types::{
    Api, Config, HomeAssistant, Influxdb, Journal, JournalPath, Log, Mqtt, PortSelector, Protocol,
    Qos, Source, Speed, Telemetry,
};

impl Config {
    /// One line per section, without secrets: `mqtt: mqtt://localhost:1883, …`. The gateway's name is
    /// the first, if it has one.
    pub fn summary(&self) -> Vec<String> {
        let disabled = || "disabled".to_owned();
        let gateway = self.gateway.iter().map(|name| format!("gateway: {name}"));
        let sections = [
            format!("source: {}", source(&self.source)),
            format!("mqtt: {}", self.mqtt.as_ref().map_or_else(disabled, mqtt)),
            format!(
                "influxdb: {}",
                self.influxdb.as_ref().map_or_else(disabled, influxdb)
            ),
            format!("journal: {}", journal(&self.journal)),
            format!("telemetry: {}", telemetry(&self.telemetry)),
            format!("api: {}", self.api.as_ref().map_or_else(disabled, api)),
            format!("log: {}", log(&self.log)),
            format!(
                "shutdown: within {}",
                humantime::format_duration(self.shutdown_timeout)
            ),
        ];
        gateway.chain(sections).collect()
    }
}

fn source(source: &Source) -> String {
    match source {
        Source::Serial { port, baud } => format!("serial port {} at {baud} baud", selector(port)),
        Source::ProbeRs {
            chip,
            firmware_path,
            ..
        } => format!("probe-rs, {} on {chip}", firmware_path.display()),
        Source::Command { argv } => format!("command {}", argv.join(" ")),
        Source::Stdin => "standard input".into(),
        Source::File { path, speed } => match speed {
            Speed::Factor(factor) => format!("file {} at speed {factor}", path.display()),
            Speed::Max => format!("file {} at full speed", path.display()),
        },
        Source::Simulator(simulator) => format!(
            "simulator of {} nodes, {} packets/s",
            simulator.nodes, simulator.rate
        ),
    }
}

fn selector(port: &PortSelector) -> String {
    match port {
        PortSelector::Path(path) => path.display().to_string(),
        PortSelector::UsbId { vendor, product } => {
            format!("with USB id {vendor:04x}:{product:04x}")
        }
        PortSelector::SerialNumber(number) => format!("with serial number {number}"),
    }
}

fn mqtt(mqtt: &Mqtt) -> String {
    let qos = match mqtt.qos {
        Qos::AtMostOnce => 0,
        Qos::AtLeastOnce => 1,
        Qos::ExactlyOnce => 2,
    };
    let user = match &mqtt.username {
        Some(name) => format!("user {name}"),
        None => "no user".into(),
    };
    let home_assistant = match &mqtt.home_assistant {
        None => "",
        Some(HomeAssistant { enabled: true, .. }) => ", announced to Home Assistant",
        Some(HomeAssistant { enabled: false, .. }) => ", removed from Home Assistant",
    };
    let protocol = match mqtt.protocol {
        Protocol::Mqtt311 => "MQTT 3.1.1",
        Protocol::Mqtt5 { .. } => "MQTT 5",
    };
    format!(
        "{}, {protocol}, topics {}/#, QoS {qos}, client {}, {user}{home_assistant}",
        mqtt.url(),
        mqtt.topic_prefix,
        mqtt.client_id
    )
}

fn influxdb(influxdb: &Influxdb) -> String {
    let token = if influxdb.token.expose_secret().is_empty() {
        "no token"
    } else {
        "with a token"
    };
    let address = influxdb.url.as_str().trim_end_matches('/');
    format!(
        "{address}, org {}, bucket {}, {token}, batches of {} or every {}",
        influxdb.org,
        influxdb.bucket,
        influxdb.batch_size,
        humantime::format_duration(influxdb.flush_interval)
    )
}

fn journal(journal: &Journal) -> String {
    let place = match &journal.path {
        JournalPath::Memory => "in memory".to_owned(),
        JournalPath::File(path) => path.display().to_string(),
    };
    let bytes = journal.max_bytes.map(|bytes| format!(" or {bytes} bytes"));
    format!(
        "{place}, at most {} messages{}, history of {}",
        journal.max_messages,
        bytes.unwrap_or_default(),
        humantime::format_duration(journal.history)
    )
}

fn telemetry(telemetry: &Telemetry) -> String {
    format!(
        "{} nodes renamed, {} metrics configured, clock tolerance {}",
        telemetry.nodes.len(),
        telemetry.metrics.len(),
        humantime::format_duration(telemetry.clock_tolerance)
    )
}

fn api(api: &Api) -> String {
    let token = if api.token.is_some() {
        "with a token"
    } else {
        "no token"
    };
    format!("http://{}, {token}", api.listen)
}

fn log(log: &Log) -> String {
    match &log.dir {
        Some(dir) => format!("level {}, files in {}", log.level, dir.display()),
        None => format!("level {}, no files", log.level),
    }
}
