//! `[mqtt.home_assistant]`.

use super::kind::boolean;
use super::section::Section;
use super::types::HomeAssistant;
use super::value;

/// Reads the section; `None`: it is not there, or something in it is wrong.
pub(super) fn home_assistant(
    section: &mut Section<'_, '_>,
    gateway: Option<&str>,
) -> Option<HomeAssistant> {
    let enabled = section.or("enabled", true, &boolean());
    let prefix = section.or(
        "discovery_prefix",
        "homeassistant",
        &value::discovery_prefix(),
    );
    let expire_after = section.or("expire_after", "5m", &value::expire_after());
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
