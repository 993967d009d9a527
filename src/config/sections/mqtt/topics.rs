//! The first levels of topics.

use crate::config::kind::{Kind, NotAllowed, OrRefuse};
use crate::config::section::Section;
use crate::config::sections::source::SOURCE_PLACEHOLDER;
use crate::telemetry::is_mqtt_char;

/// What stands for the gateway's name in a topic prefix.
const GATEWAY_PLACEHOLDER: &str = "{gateway}";

/// Bytes of a topic prefix.
const MAX_TOPIC_PREFIX: usize = 256;

/// The first levels of every topic, the gateway's name not filled in yet.
pub(super) fn prefix() -> Kind<String> {
    let allowed = format!(
        "one or more topic levels as \"iiot\", \"plant/hall1\" or \"iiot/{GATEWAY_PLACEHOLDER}\": \
         no + or #, no $ in front, no / at either end, at most {MAX_TOPIC_PREFIX} bytes"
    );
    Kind::of_text(allowed, |text| {
        let rest = text
            .replace(GATEWAY_PLACEHOLDER, "")
            .replace(SOURCE_PLACEHOLDER, "");
        if rest.contains(['{', '}']) {
            return Err(format!(
                "only {GATEWAY_PLACEHOLDER} and {SOURCE_PLACEHOLDER} may stand in braces: the names \
                 that the top-level key gateway and the key source.name give"
            )
            .into());
        }
        topic_levels(text)
    })
}

/// The first levels of every topic that Home Assistant listens to.
pub(super) fn discovery_prefix() -> Kind<String> {
    let allowed = format!(
        "one or more topic levels as \"homeassistant\": no + or #, no $ in front, no / at either \
         end, at most {MAX_TOPIC_PREFIX} bytes"
    );
    Kind::of_text(allowed, topic_levels)
}

fn topic_levels(text: &str) -> Result<String, NotAllowed> {
    let fits = (1..=MAX_TOPIC_PREFIX).contains(&text.len())
        && text
            .chars()
            .all(|c| is_mqtt_char(c) && !matches!(c, '+' | '#'))
        && !text.starts_with(['$', '/'])
        && !text.ends_with('/');
    fits.then(|| text.to_owned()).ok_or_default()
}

/// Puts the gateway's name where a topic prefix wants it.
pub(super) fn fill_in(
    section: &mut Section<'_, '_>,
    prefix: String,
    gateway: Option<&str>,
) -> Option<String> {
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
