//! What differs between two configurations.

use secrecy::{ExposeSecret, SecretString};

use super::types::Config;

impl Config {
    /// The sections that differ, by their names; top-level keys by their own. Another name of the
    /// gateway is a difference of the sections that it reaches.
    pub fn changes(&self, other: &Self) -> Vec<&'static str> {
        fn differs<T: std::fmt::Debug>(one: &T, other: &T) -> bool {
            format!("{one:?}") != format!("{other:?}")
        }
        let password = |config: &Self| secret(config.mqtt.as_ref()?.password.as_ref());
        let token = |config: &Self| secret(Some(&config.influxdb.as_ref()?.token));
        let api_token = |config: &Self| secret(config.api.as_ref()?.token.as_ref());
        // Secrets print alike, whatever they are.
        let sections = [
            (
                "source",
                differs(&self.source, &other.source) || self.recorded != other.recorded,
            ),
            (
                "mqtt",
                differs(&self.mqtt, &other.mqtt) || password(self) != password(other),
            ),
            (
                "influxdb",
                differs(&self.influxdb, &other.influxdb) || token(self) != token(other),
            ),
            ("journal", differs(&self.journal, &other.journal)),
            ("telemetry", differs(&self.telemetry, &other.telemetry)),
            (
                "api",
                differs(&self.api, &other.api) || api_token(self) != api_token(other),
            ),
            ("log", differs(&self.log, &other.log)),
            ("tui", differs(&self.tui, &other.tui)),
            (
                "shutdown_timeout",
                self.shutdown_timeout != other.shutdown_timeout,
            ),
        ];
        let changed = sections.into_iter().filter(|(_, differs)| *differs);
        changed.map(|(name, _)| name).collect()
    }
}

fn secret(secret: Option<&SecretString>) -> Option<String> {
    secret.map(|secret| secret.expose_secret().to_owned())
}
