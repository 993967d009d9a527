//! Rules for what people have, by the formats that its makers publish.

use super::{NodeRule, Rules, TimeKind, TimeRule};
use crate::telemetry::MetricInfo;

/// A program or firmware whose JSON is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preset {
    /// `rtl_433 -F json`.
    Rtl433,
    /// The events of `ESPHome`'s web server.
    Esphome,
    /// The JSON packets in the log of Meshtastic.
    Meshtastic,
}

/// The presets by their names.
pub const PRESETS: [(&str, Preset); 3] = [
    ("rtl_433", Preset::Rtl433),
    ("esphome", Preset::Esphome),
    ("meshtastic", Preset::Meshtastic),
];

/// Key, name, unit, sensor type.
type Known = (&'static str, &'static str, &'static str, &'static str);

const RTL_433: [Known; 16] = [
    ("temperature_C", "temperature_C", "°C", "environmental"),
    ("temperature_1_C", "temperature_1_C", "°C", "environmental"),
    ("temperature_2_C", "temperature_2_C", "°C", "environmental"),
    ("temperature_F", "temperature_F", "°F", "environmental"),
    ("humidity", "humidity", "%", "environmental"),
    ("moisture", "moisture", "%", "environmental"),
    ("pressure_hPa", "pressure_hPa", "hPa", "barometric"),
    ("pressure_kPa", "pressure_kPa", "kPa", "barometric"),
    ("wind_avg_m_s", "wind_avg_m_s", "m/s", "environmental"),
    ("wind_max_m_s", "wind_max_m_s", "m/s", "environmental"),
    ("wind_avg_km_h", "wind_avg_km_h", "km/h", "environmental"),
    ("wind_max_km_h", "wind_max_km_h", "km/h", "environmental"),
    ("wind_dir_deg", "wind_dir_deg", "°", "environmental"),
    ("rain_mm", "rain_mm", "mm", "environmental"),
    ("light_lux", "light_lux", "lx", "environmental"),
    ("battery_ok", "battery_ok", "1", "other"),
];

/// What a packet is about stands in its payload; the names are those of the payload's keys.
const MESHTASTIC: [Known; 13] = [
    ("payload_temperature", "temperature", "°C", "environmental"),
    (
        "payload_relative_humidity",
        "relative_humidity",
        "%",
        "environmental",
    ),
    (
        "payload_barometric_pressure",
        "barometric_pressure",
        "hPa",
        "barometric",
    ),
    (
        "payload_gas_resistance",
        "gas_resistance",
        "MΩ",
        "environmental",
    ),
    ("payload_lux", "lux", "lx", "environmental"),
    ("payload_battery_level", "battery_level", "%", "other"),
    ("payload_voltage", "voltage", "V", "other"),
    ("payload_current", "current", "mA", "other"),
    (
        "payload_channel_utilization",
        "channel_utilization",
        "%",
        "radio",
    ),
    ("payload_air_util_tx", "air_util_tx", "%", "radio"),
    ("payload_uptime_seconds", "uptime_seconds", "s", "counter"),
    ("payload_altitude", "altitude", "m", "other"),
    ("payload_sats_in_view", "sats_in_view", "1", "other"),
];

impl Preset {
    /// Its rules.
    pub fn rules(self) -> Rules {
        match self {
            Self::Rtl433 => Rules {
                node: keys(&["model", "channel", "id"]),
                // How it was received, not what was measured. The time has no zone unless asked for.
                ignore: texts(&[
                    "time",
                    "mod",
                    "freq",
                    "freq1",
                    "freq2",
                    "noise",
                    "protocol",
                    "sensor_id",
                    "subtype",
                    "sequence_num",
                    "message_type",
                    "exception",
                ]),
                rssi: Some("rssi".to_owned()),
                snr: Some("snr".to_owned()),
                known: known(&RTL_433),
                ..Rules::default()
            },
            Self::Esphome => Rules {
                reading: Some(("id".to_owned(), "value".to_owned())),
                ..Rules::default()
            },
            Self::Meshtastic => Rules {
                node: keys(&["from"]),
                time: Some(TimeRule {
                    key: "timestamp".to_owned(),
                    kind: TimeKind::Seconds,
                }),
                ignore: texts(&[
                    "channel",
                    "id",
                    "to",
                    "sender",
                    "hop_start",
                    "hops_away",
                    "payload_time",
                    "payload_hardware",
                    "payload_role",
                    "payload_precision_bits",
                    "payload_id",
                ]),
                rssi: Some("rssi".to_owned()),
                snr: Some("snr".to_owned()),
                known: known(&MESHTASTIC),
                ..Rules::default()
            },
        }
    }
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn keys(keys: &[&str]) -> NodeRule {
    NodeRule::Keys(texts(keys))
}

fn known(known: &[Known]) -> Vec<(String, MetricInfo)> {
    let known = known.iter().map(|(key, name, unit, sensor_type)| {
        let info = MetricInfo::described(name, unit, sensor_type);
        ((*key).to_owned(), info)
    });
    known.collect()
}
