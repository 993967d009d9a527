//! What a sensor measures, in the words of Home Assistant.

/// The classes of sensors whose values are numbers.
const CLASSES: [&str; 56] = [
    "absolute_humidity",
    "apparent_power",
    "aqi",
    "area",
    "atmospheric_pressure",
    "battery",
    "blood_glucose_concentration",
    "carbon_dioxide",
    "carbon_monoxide",
    "conductivity",
    "current",
    "data_rate",
    "data_size",
    "distance",
    "duration",
    "energy",
    "energy_distance",
    "energy_storage",
    "frequency",
    "gas",
    "humidity",
    "illuminance",
    "irradiance",
    "moisture",
    "nitrogen_dioxide",
    "nitrogen_monoxide",
    "nitrous_oxide",
    "ozone",
    "ph",
    "pm1",
    "pm10",
    "pm25",
    "pm4",
    "power",
    "power_factor",
    "precipitation",
    "precipitation_intensity",
    "pressure",
    "reactive_energy",
    "reactive_power",
    "signal_strength",
    "sound_pressure",
    "speed",
    "sulphur_dioxide",
    "temperature",
    "temperature_delta",
    "volatile_organic_compounds",
    "volatile_organic_compounds_parts",
    "voltage",
    "volume",
    "volume_flow_rate",
    "volume_storage",
    "water",
    "weight",
    "wind_direction",
    "wind_speed",
];

/// A class of sensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceClass(&'static str);

impl DeviceClass {
    /// The names of all classes.
    pub fn names() -> impl Iterator<Item = &'static str> {
        CLASSES.into_iter()
    }

    /// The class of this name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::names().find(|known| *known == name).map(Self)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        self.0
    }

    /// Whether its values are amounts, which add up, and not measurements.
    pub fn is_amount(self) -> bool {
        matches!(
            self.0,
            "energy" | "gas" | "reactive_energy" | "volume" | "water"
        )
    }
}
