//! Which metric a key on the wire stands for.

use std::collections::HashMap;
use std::fmt;

use super::{DeviceClass, Name, ShortestValue};

/// What is known of a metric.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricInfo {
    /// Its name on the way out.
    pub name: Name,
    /// The unit of its values, as shown.
    pub unit: String,
    /// The `sensor_type` tag of its points.
    pub sensor_type: String,
    /// A value below it is a problem.
    pub min: Option<f64>,
    /// A value above it is a problem.
    pub max: Option<f64>,
    /// What can be measured at all.
    pub range: Range,
    /// What it measures, where the configuration says so.
    pub device_class: Option<DeviceClass>,
    /// How many places behind the point its values are shown with.
    pub precision: Option<u8>,
}

/// The values that a sensor can measure. One outside of it is no reading.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Range {
    /// The lowest.
    pub low: f64,
    /// The highest.
    pub high: f64,
    /// Whether it counts, in whole numbers.
    pub counts: bool,
}

impl Range {
    /// Any value.
    pub const ANY: Self = Self::new(f64::MIN, f64::MAX);

    /// From the lowest to the highest value, both included.
    pub const fn new(low: f64, high: f64) -> Self {
        Self {
            low,
            high,
            counts: false,
        }
    }

    /// Whole numbers from 0 on.
    const COUNT: Self = Self {
        low: 0.0,
        high: f64::MAX,
        counts: true,
    };

    /// Whether a sensor can have measured this.
    pub fn contains(&self, value: f64) -> bool {
        // A fraction is zero exactly for whole numbers.
        (self.low..=self.high).contains(&value) && !(self.counts && value.fract().abs() > 0.0)
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let low = (self.low > f64::MIN_POSITIVE || self.low <= 0.0).then_some(self.low);
        match (low, self.counts) {
            (_, true) => f.write_str("whole numbers from 0 on"),
            (None, _) => write!(f, "above 0"),
            (Some(low), _) => write!(f, "{} to {}", ShortestValue(low), ShortestValue(self.high)),
        }
    }
}

impl MetricInfo {
    /// A metric that passes through under its own name.
    pub fn unknown(key: &str) -> Self {
        Self::built_in(key, "", MetricTable::UNKNOWN_SENSOR_TYPE, Range::ANY)
    }

    /// A metric of which a publisher says the unit.
    pub fn described(name: &str, unit: &str, sensor_type: &str) -> Self {
        Self::built_in(name, unit, sensor_type, Range::ANY)
    }

    fn built_in(name: &str, unit: &str, sensor_type: &str, range: Range) -> Self {
        Self {
            name: Name::new(name),
            unit: unit.to_owned(),
            sensor_type: sensor_type.to_owned(),
            min: None,
            max: None,
            range,
            device_class: None,
            precision: None,
        }
    }
}

/// Key on the wire, name, unit, sensor type, and what its sensor can measure.
const BUILT_IN: [(&str, &str, &str, &str, Range); 8] = [
    (
        "t",
        "temperature",
        "°C",
        "environmental",
        Range::new(-60.0, 125.0),
    ),
    (
        "h",
        "humidity",
        "%",
        "environmental",
        Range::new(0.0, 100.0),
    ),
    (
        "g",
        "gas_resistance",
        "Ω",
        "environmental",
        Range::new(f64::MIN_POSITIVE, f64::MAX),
    ),
    (
        "p",
        "pressure",
        "hPa",
        "barometric",
        Range::new(300.0, 1100.0),
    ),
    ("sig.rssi", "rssi", "dBm", "radio", Range::new(-200.0, 20.0)),
    ("sig.snr", "snr", "dB", "radio", Range::new(-40.0, 40.0)),
    ("sts.rx", "packets_received", "1", "counter", Range::COUNT),
    ("sts.err", "crc_errors", "1", "counter", Range::COUNT),
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
        for (key, name, unit, sensor_type, range) in BUILT_IN {
            table.set(key, MetricInfo::built_in(name, unit, sensor_type, range));
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

    /// Adds what is known of a name, whatever its key; what is known already stays.
    pub fn describe(&mut self, info: &MetricInfo) {
        let by_name = self.by_name.entry(info.name.clone());
        by_name.or_insert_with(|| info.clone());
    }

    /// Takes a key out. What is known of its name stays.
    pub fn forget_key(&mut self, key: &str) {
        self.by_key.remove(key);
    }

    /// The metric of a key on the wire.
    pub fn by_key(&self, key: &str) -> Option<&MetricInfo> {
        self.by_key.get(key)
    }

    /// The keys on the wire, and the names on the way out that they stand for.
    pub fn names(&self) -> impl Iterator<Item = (&str, &Name)> {
        let metrics = self.by_key.iter();
        metrics.map(|(key, info)| (key.as_str(), &info.name))
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
    fn what_a_sensor_cannot_measure_is_outside_of_its_range() {
        let table = MetricTable::default();
        for (key, inside, outside) in [
            ("t", [-60.0, 125.0], [-60.1, 125.1]),
            ("h", [0.0, 100.0], [-0.1, 541.0]),
            ("g", [0.5, 1e9], [0.0, -3.0]),
            ("p", [300.0, 1100.0], [101_325.0, 1.25]),
            ("sig.rssi", [-200.0, 20.0], [60.0, -600.0]),
            ("sig.snr", [-40.0, 40.0], [130.0, -41.0]),
            ("sts.rx", [0.0, 4e9], [-1.0, 1.5]),
        ] {
            let range = table.by_key(key).unwrap().range;
            assert!(inside.iter().all(|value| range.contains(*value)), "{key}");
            assert!(!outside.iter().any(|value| range.contains(*value)), "{key}");
        }
        assert!(MetricInfo::unknown("lux").range.contains(-1e300));
    }

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
