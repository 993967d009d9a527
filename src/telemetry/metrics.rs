//! Which metric a key on the wire stands for.

use std::collections::HashMap;

use super::Name;

/// What is known of a metric.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricInfo {
    /// Its name on the way out.
    pub name: Name,
    /// The unit of its values, as shown.
    pub unit: String,
    /// The `sensor_type` tag of its points.
    pub sensor_type: String,
    /// Below it the terminal raises an alarm.
    pub min: Option<f64>,
    /// Above it the terminal raises an alarm.
    pub max: Option<f64>,
}

impl MetricInfo {
    /// A metric that passes through under its own name.
    pub fn unknown(key: &str) -> Self {
        Self::built_in(key, "", MetricTable::UNKNOWN_SENSOR_TYPE)
    }

    fn built_in(name: &str, unit: &str, sensor_type: &str) -> Self {
        Self {
            name: Name::new(name),
            unit: unit.to_owned(),
            sensor_type: sensor_type.to_owned(),
            min: None,
            max: None,
        }
    }
}

/// Key on the wire, name, unit, sensor type.
const BUILT_IN: [(&str, &str, &str, &str); 8] = [
    ("t", "temperature", "°C", "environmental"),
    ("h", "humidity", "%", "environmental"),
    ("g", "gas_resistance", "Ω", "environmental"),
    ("p", "pressure", "hPa", "barometric"),
    ("sig.rssi", "rssi", "dBm", "radio"),
    ("sig.snr", "snr", "dB", "radio"),
    ("sts.rx", "packets_received", "1", "counter"),
    ("sts.err", "crc_errors", "1", "counter"),
];

/// Metrics by their key on the wire: `t` in a node, `sig.rssi` and `sts.rx` in the board's own
/// figures.
#[derive(Debug, Clone)]
pub struct MetricTable {
    by_key: HashMap<String, MetricInfo>,
    by_name: HashMap<Name, MetricInfo>,
}

impl Default for MetricTable {
    fn default() -> Self {
        let mut table = Self {
            by_key: HashMap::new(),
            by_name: HashMap::new(),
        };
        for (key, name, unit, sensor_type) in BUILT_IN {
            table.set(key, MetricInfo::built_in(name, unit, sensor_type));
        }
        table
    }
}

impl MetricTable {
    /// The sensor type of metrics that nobody described.
    pub const UNKNOWN_SENSOR_TYPE: &'static str = "other";

    /// The keys on the wire that are known without any configuration.
    pub fn built_in_keys() -> impl Iterator<Item = &'static str> {
        BUILT_IN.iter().map(|(key, ..)| *key)
    }

    /// Adds or replaces the metric of a key.
    pub fn set(&mut self, key: &str, info: MetricInfo) {
        if let Some(old) = self.by_key.insert(key.to_owned(), info.clone()) {
            self.by_name.remove(&old.name);
            // Two keys may change names: what one of them leaves can be the other's by now.
            let new = self.by_key.values().find(|info| info.name == old.name);
            self.by_name
                .extend(new.map(|info| (old.name, info.clone())));
        }
        self.by_name.insert(info.name.clone(), info);
    }

    /// The metric of a key on the wire.
    pub fn by_key(&self, key: &str) -> Option<&MetricInfo> {
        self.by_key.get(key)
    }

    /// The metric of a name on the way out.
    pub fn by_name(&self, name: &Name) -> Option<&MetricInfo> {
        self.by_name.get(name)
    }

    /// The `sensor_type` tag of a metric.
    pub fn sensor_type(&self, metric: &Name) -> &str {
        self.by_name(metric)
            .map_or(Self::UNKNOWN_SENSOR_TYPE, |info| &info.sensor_type)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_renamed_metric_keeps_its_type_under_the_new_name_alone() {
        let mut table = MetricTable::default();
        let mut info = table.by_key("t").unwrap().clone();
        info.name = Name::new("air_temperature");
        table.set("t", info);
        assert_eq!(
            table.sensor_type(&Name::new("air_temperature")),
            "environmental"
        );
        assert_eq!(table.sensor_type(&Name::new("temperature")), "other");
        assert_eq!(table.sensor_type(&Name::new("pressure")), "barometric");
    }

    #[test]
    fn two_metrics_can_change_names() {
        let mut table = MetricTable::default();
        let [mut one, mut other] = ["p", "t"].map(|key| table.by_key(key).unwrap().clone());
        std::mem::swap(&mut one.name, &mut other.name);
        table.set("p", one);
        table.set("t", other);
        assert_eq!(table.sensor_type(&Name::new("temperature")), "barometric");
        assert_eq!(table.sensor_type(&Name::new("pressure")), "environmental");
    }
}
