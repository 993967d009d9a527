//! `[mqtt.home_assistant]`.

use std::time::Duration;

use super::topics;
use crate::config::kind::{Kind, boolean, whole_seconds};
use crate::config::section::Section;

/// `[mqtt.home_assistant]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HomeAssistant {
    /// Whether readings are announced; false: what was announced before is removed.
    pub enabled: bool,
    /// First level or levels of the topics that Home Assistant listens to.
    pub discovery_prefix: String,
    /// After so much silence a value is not known any more. In whole seconds; zero: never.
    pub expire_after: Duration,
    /// The gateway's name among others: top-level key `gateway`.
    pub gateway: Option<String>,
}

/// Reads the section; `None`: it is not there, or something in it is wrong.
pub(super) fn read(section: &mut Section<'_, '_>, gateway: Option<&str>) -> Option<HomeAssistant> {
    let enabled = section.or("enabled", true, &boolean());
    let prefix = section.or(
        "discovery_prefix",
        "homeassistant",
        &topics::discovery_prefix(),
    );
    let expire_after = section.or("expire_after", "5m", &expire_after());
    if !section.is_present() {
        return None;
    }
    Some(HomeAssistant {
        enabled: enabled?,
        discovery_prefix: prefix?,
        expire_after: expire_after?,
        gateway: gateway.map(str::to_owned),
    })
}

/// Whole seconds, as Home Assistant counts them.
fn expire_after() -> Kind<Duration> {
    let allowed = "whole seconds from 0 to 31536000, as \"5m\", \"1day\" or 300; 0 is never";
    whole_seconds(allowed, 0..=31_536_000)
}
