//! What Home Assistant takes a metric for: by its unit and, where one unit measures several things, by its name.
//! Pure.

use crate::telemetry::DeviceClass;

/// The class of a metric by its name and unit; `None`: nothing certain.
pub(super) fn of(name: &str, unit: &str) -> Option<DeviceClass> {
    let word = |words: &[&str]| {
        let name = name.to_ascii_lowercase();
        words.iter().any(|word| {
            // As a word of its own: `co` is not in `count`.
            name.split(['_', '-', ' ', '.']).any(|part| part == *word)
        })
    };
    let contains = |words: &[&str]| {
        let name = name.to_ascii_lowercase();
        words.iter().any(|word| name.contains(word))
    };
    let class = match unit {
        "°C" | "°F" | "K" => "temperature",
        "hPa" | "mbar" | "mmHg" | "inHg" => "atmospheric_pressure",
        "Pa" | "kPa" | "bar" | "cbar" | "psi" => "pressure",
        "dBm" => "signal_strength",
        "dB" if contains(&["noise", "sound", "loudness"]) => "sound_pressure",
        "dB" if contains(&["snr", "rssi", "signal"]) => "signal_strength",
        "V" | "mV" => "voltage",
        "A" | "mA" => "current",
        "W" | "kW" => "power",
        "Wh" | "kWh" | "MWh" => "energy",
        "lx" => "illuminance",
        "Hz" | "kHz" | "MHz" | "GHz" => "frequency",
        "W/m²" => "irradiance",
        "%" if contains(&["batter"]) || word(&["bat", "soc", "charge"]) => "battery",
        "%" if contains(&["moisture", "soil", "wetness"]) => "moisture",
        "%" if contains(&["humidity"]) || word(&["rh"]) => "humidity",
        "ppm" if contains(&["co2", "carbon_dioxide"]) => "carbon_dioxide",
        "ppm" if contains(&["carbon_monoxide"]) || word(&["co"]) => "carbon_monoxide",
        "ppb" | "ppm" if contains(&["voc"]) => "volatile_organic_compounds_parts",
        "µg/m³" if contains(&["pm2_5", "pm2.5", "pm25"]) => "pm25",
        "µg/m³" if contains(&["pm10"]) => "pm10",
        "µg/m³" if word(&["pm1", "pm1_0"]) => "pm1",
        "µg/m³" if contains(&["voc"]) => "volatile_organic_compounds",
        "mm" | "cm" | "in" if contains(&["rain", "precipitation"]) => "precipitation",
        "mm/h" | "mm/d" | "in/h" | "in/d" => "precipitation_intensity",
        "mm" | "cm" | "m" | "km" | "in" | "ft" | "yd" | "mi" => "distance",
        "m/s" | "km/h" | "mph" | "kn" | "ft/s" if contains(&["wind", "gust"]) => "wind_speed",
        "m/s" | "km/h" | "mph" | "kn" | "ft/s" => "speed",
        // An acceleration is measured in g, too.
        "g" if contains(&["accel"]) => return None,
        "kg" | "g" | "mg" | "µg" | "oz" | "lb" => "weight",
        "ms" | "s" | "min" | "h" | "d" => "duration",
        _ => return None,
    };
    DeviceClass::of_name(class)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_measure_has_a_class() {
        for (name, unit, class) in [
            ("temperature", "°C", Some("temperature")),
            ("pressure", "hPa", Some("atmospheric_pressure")),
            ("battery", "%", Some("battery")),
            ("bat", "%", Some("battery")),
            ("soil_moisture", "%", Some("moisture")),
            ("humidity", "%", Some("humidity")),
            ("duty", "%", None),
            ("voltage", "V", Some("voltage")),
            ("current", "mA", Some("current")),
            ("power", "W", Some("power")),
            ("energy", "kWh", Some("energy")),
            ("co2", "ppm", Some("carbon_dioxide")),
            ("count", "ppm", None),
            ("pm2_5", "µg/m³", Some("pm25")),
            ("lux", "lx", Some("illuminance")),
            ("level", "cm", Some("distance")),
            ("speed", "m/s", Some("speed")),
            ("load", "kg", Some("weight")),
            ("acceleration_x", "g", None),
            ("uptime", "s", Some("duration")),
            ("rssi", "dBm", Some("signal_strength")),
            ("snr", "dB", Some("signal_strength")),
            ("noise", "dB", Some("sound_pressure")),
            ("gain", "dB", None),
            ("gas_resistance", "Ω", None),
        ] {
            let found = of(name, unit);
            assert_eq!(found.map(DeviceClass::name), class, "{name} in {unit}");
        }
    }
}
