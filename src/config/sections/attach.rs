//! `[attach]`: which gateways `fieldgate attach` shows.

use crate::config::kind::{Kind, OrRefuse, parse_url, texts_of};
use crate::config::section::Section;

/// `[attach]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Attach {
    /// The addresses of the gateways that are shown when none is named; none: the one of this machine.
    pub gateways: Vec<String>,
}

/// Reads the section.
pub(super) fn read(section: &mut Section<'_, '_>) -> Option<Attach> {
    let gateways = section.optional("gateways", &addresses());
    (!section.has_error("gateways")).then(|| Attach {
        gateways: gateways.unwrap_or_default(),
    })
}

/// Addresses of HTTP APIs.
fn addresses() -> Kind<Vec<String>> {
    let allowed = "a list of addresses: [\"http://barn:8787\", \"http://attic:8787\"]";
    Kind::new(allowed, |value| {
        let addresses = texts_of(value)?;
        for address in &addresses {
            let url = parse_url(address, "http://")?;
            matches!(url.scheme(), "http" | "https")
                .then_some(())
                .ok_or_default()?;
        }
        Ok(addresses)
    })
}
