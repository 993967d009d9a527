//! What brokers and databases have in common: any number of each, with a name, and what goes there.

use crate::config::kind::{Kind, NotAllowed, OrRefuse, link_name, one_of, texts_of};
use crate::config::section::Section;
use crate::telemetry::{Choice, Pattern};

/// A sink among others of its kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sink {
    /// Its name, which no other sink of its kind has. What is known of a sink is known by its name.
    pub name: String,
    /// Which readings go there.
    pub choice: Choice,
    /// Where it begins while nothing is known of it.
    pub begin: Begin,
}

/// Where a sink begins that is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Begin {
    /// With what comes from now on.
    #[default]
    Now,
    /// With the oldest that the journal still has.
    Oldest,
}

const BEGINNINGS: &[(&str, Begin)] = &[("now", Begin::Now), ("oldest", Begin::Oldest)];

/// Reads all sections of a kind; `read` reads what that kind alone has, and is told `None` where something
/// that is common to all is wrong.
pub(super) fn read_all<T>(
    root: &mut Section<'_, '_>,
    kind: &'static str,
    mut read: impl FnMut(&mut Section<'_, '_>, Option<Sink>) -> Option<T>,
) -> Vec<T> {
    let mut names: Vec<String> = Vec::new();
    let mut number = 0;
    let sinks = root.sections(kind, true, |section, _| {
        number += 1;
        let name = read_name(section, kind, number);
        if let Some(name) = &name {
            if names.contains(name) {
                let problem = format!("is the name of another section [[{kind}]]");
                let allowed = format!("a name that no other section [[{kind}]] has");
                section.refuse("name", &problem, allowed);
            }
            names.push(name.clone());
        }
        let sink = read_common(section, name);
        read(section, sink)
    });
    sinks.into_iter().flatten().collect()
}

fn read_name(section: &mut Section<'_, '_>, kind: &str, number: usize) -> Option<String> {
    let default = match number {
        1 => kind.to_owned(),
        number => format!("{kind}-{number}"),
    };
    let described = format!("\"{kind}\", of the second \"{kind}-2\" and so on");
    section.or_described("name", Some((*default).into()), &described, &link_name())
}

fn read_common(section: &mut Section<'_, '_>, name: Option<String>) -> Option<Sink> {
    let only = section.optional("only", &patterns());
    let not = section.optional("not", &patterns());
    let begin = section.or("begin", "now", &one_of(BEGINNINGS));
    let is_wrong = section.has_error("only") || section.has_error("not");
    let choice = Choice::new(only.unwrap_or_default(), not.unwrap_or_default());
    Some(Sink {
        name: name?,
        choice: (!is_wrong).then_some(choice)?,
        begin: begin?,
    })
}

/// Names of nodes and metrics.
fn patterns() -> Kind<Vec<Pattern>> {
    let allowed = "a list of NODE/METRIC, as [\"node1/*\"]; an asterisk stands for any text";
    Kind::new(allowed, |value| {
        let texts = texts_of(value)?.into_iter();
        let patterns: Result<Vec<Pattern>, ()> = texts.map(|text| text.parse()).collect();
        let patterns = patterns.map_err(|()| NotAllowed::default())?;
        (!patterns.is_empty()).then_some(patterns).ok_or_default()
    })
}

/// What a connection is called among all: its kind stands in front of its name unless that begins with
/// it.
pub fn link_text(kind: &str, name: &str) -> String {
    if is_named_by_kind(kind, name) {
        name.to_owned()
    } else {
        format!("{kind} {name}")
    }
}

/// Whether a name says by its beginning which kind it is of: `mqtt`, `mqtt-2`.
pub fn is_named_by_kind(kind: &str, name: &str) -> bool {
    let rest = name.strip_prefix(kind);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

impl Sink {
    /// One that everything goes to, from now on.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            choice: Choice::default(),
            begin: Begin::Now,
        }
    }

    /// A line for the log: kind and name, and behind what its own kind says of it what goes there.
    pub(super) fn summary(&self, kind: &str, settings: &str) -> String {
        let separator = if self.choice.is_everything() {
            ""
        } else {
            ", "
        };
        let name = link_text(kind, &self.name);
        format!("{name}: {settings}{separator}{}", self.choice)
    }
}
