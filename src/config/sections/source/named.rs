//! All sources: one `[source]`, or a `[[source]]` for each, with a name.

use super::{Recorded, Source};
use crate::config::kind::link_name;
use crate::config::section::Section;
use crate::telemetry::Format;

/// The name of a source that needs none.
const ONLY: &str = "source";

/// What stands for a source's name in a topic prefix.
pub const SOURCE_PLACEHOLDER: &str = "{source}";

/// A source among others.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedSource {
    /// Its name, which no other source has; `source` where there is only one and it has none.
    pub name: String,
    /// Where its bytes come from.
    pub source: Source,
    /// When a recording was made: `source.starts_at`, `source.ends_at`.
    pub recorded: Recorded,
    /// How its bytes become packets: `source.format` and its keys.
    pub format: Format,
}

/// Reads all of them; `None`: something in them is wrong.
pub(in crate::config) fn read(root: &mut Section<'_, '_>) -> Option<Vec<NamedSource>> {
    let mut names: Vec<String> = Vec::new();
    let mut reads_stdin = false;
    let sources = root.sections("source", false, |section, count| {
        let name = section.or("name", ONLY, &link_name());
        if count > 1 && section.layer("name") == 0 {
            let advice = "where there are several sources, each has a name of its own";
            section.require("name", None::<String>, Some(advice));
        }
        let read = super::read(section);
        let name = name?;
        if names.contains(&name) && !section.has_error("name") {
            let allowed = "a name that no other source has";
            section.refuse("name", "is the name of another source", allowed.into());
        }
        names.push(name.clone());
        let (source, recorded, format) = read?;
        if source == Source::Stdin && std::mem::replace(&mut reads_stdin, true) {
            let allowed = "standard input for one source alone";
            section.refuse("kind", "is that of another source", allowed.into());
        }
        Some(NamedSource {
            name,
            source,
            recorded,
            format,
        })
    });
    sources.into_iter().collect()
}

/// Refuses a topic prefix under which nodes of two sources could have the same topic. What nodes a board
/// speaks for is not known before it does, so every source has topics of its own.
pub(in crate::config) fn tell_apart(
    mqtt: &mut Section<'_, '_>,
    prefix: &str,
    sources: Option<&[NamedSource]>,
) {
    let Some([first, second, ..]) = sources else {
        return;
    };
    if prefix.contains(SOURCE_PLACEHOLDER) {
        return;
    }
    let problem = format!(
        "gives nodes of the same name at the sources {} and {} the same topics",
        first.name, second.name
    );
    let allowed = format!("a prefix with {SOURCE_PLACEHOLDER} in it, as \"{prefix}/{{source}}\"");
    mqtt.refuse("topic_prefix", &problem, allowed);
}

impl NamedSource {
    /// Whether it has no name but that of its kind.
    pub fn is_only(&self) -> bool {
        self.name == ONLY
    }

    /// Its line in the log.
    pub(in crate::config) fn summary(&self) -> String {
        let what = format!("{}{}", self.source.summary(), format_note(&self.format));
        if self.is_only() {
            format!("source: {what}")
        } else {
            format!("source {}: {what}", self.name)
        }
    }
}

/// What the line in the log says of a format that is not the one of old.
fn format_note(format: &Format) -> &'static str {
    match format {
        Format::Board => "",
        Format::Json(_) => ", any JSON",
        Format::Plotter(_) => ", plotter lines",
        Format::LineProtocol(_) => ", line protocol",
    }
}
