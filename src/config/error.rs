//! What is wrong with a configuration, in words that say how to put it right.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// Where a setting was written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Nowhere: it is missing, and there is no file that it could be in.
    Nowhere,
    /// A file as a whole.
    File(Arc<Path>),
    /// A line of a file, counted from 1.
    Line(Arc<Path>, usize),
    /// A credential that the service manager handed over.
    Credential(Arc<Path>),
    /// An environment variable.
    Variable(String),
    /// A flag of the command line.
    Flag(&'static str),
}

impl Place {
    /// The layer that the place belongs to; a higher one wins over a lower one.
    pub(super) fn layer(&self) -> u8 {
        match self {
            Self::Nowhere => 0,
            Self::File(_) | Self::Line(..) => 1,
            Self::Credential(_) => 2,
            Self::Variable(_) => 3,
            Self::Flag(_) => 4,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nowhere => f.write_str("configuration"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Line(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Credential(path) => write!(f, "credential {}", path.display()),
            Self::Variable(name) => write!(f, "environment variable {name}"),
            Self::Flag(flag) => write!(f, "flag {flag}"),
        }
    }
}

/// What kind of thing is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Something stands there that must not.
    Wrong,
    /// Something does not stand there that must.
    Missing,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}\n  found:   {found}\n  allowed: {allowed}{}", Advice(.advice.as_deref()))]
pub struct ConfigError {
    pub(super) place: Place,
    /// The key by its full path, as `mqtt.qos`; empty when the error is about no single key.
    pub(super) key: String,
    pub(super) fault: Fault,
    /// Names the key.
    pub(super) problem: String,
    /// Never a secret.
    pub(super) found: String,
    pub(super) allowed: String,
    pub(super) advice: Option<String>,
}

struct Advice<'a>(Option<&'a str>);

impl fmt::Display for Advice<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(advice) => write!(f, "\n  advice:  {advice}"),
            None => Ok(()),
        }
    }
}

impl ConfigError {
    /// Where it is.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The key by its full path, as `mqtt.qos`; empty when the error is about no single key.
    pub fn key(&self) -> &str {
        &self.key
    }
}

/// Everything that is wrong with a configuration, in the order of the file, then the environment,
/// then the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(Vec<ConfigError>);

impl ConfigErrors {
    pub(super) fn new(mut errors: Vec<ConfigError>) -> Self {
        errors.sort_by(|one, other| one.place.cmp(&other.place));
        Self(errors)
    }

    /// The single errors.
    pub fn iter(&self) -> std::slice::Iter<'_, ConfigError> {
        self.0.iter()
    }
}

impl<'a> IntoIterator for &'a ConfigErrors {
    type Item = &'a ConfigError;
    type IntoIter = std::slice::Iter<'a, ConfigError>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// One block per error, with an empty line between two.
impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// What is printed in place of a secret.
pub(super) const HIDDEN: &str = "(hidden)";

/// Text that was found somewhere, fit to be printed: one line, not too long, and without the
/// user information and the query that a URL may carry secrets in.
pub(super) fn printable(text: &str) -> String {
    const MAX_CHARS: usize = 100;
    let line = without_url_secrets(text.trim());
    let mut shown: String = line
        .chars()
        .take(MAX_CHARS)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if line.chars().nth(MAX_CHARS).is_some() {
        shown.push('…');
    }
    shown
}

fn without_url_secrets(text: &str) -> String {
    let authority = text.find("://").map(|index| index + "://".len());
    let text = match (authority, text.rfind('@')) {
        (Some(start), Some(at)) if start < at => {
            format!("{}{HIDDEN}{}", &text[..start], &text[at..])
        }
        (None, Some(at)) => format!("{HIDDEN}{}", &text[at..]),
        _ => text.to_owned(),
    };
    match text.find('?') {
        Some(query) if authority.is_some() => format!("{}?{HIDDEN}", &text[..query]),
        _ => text,
    }
}

/// The candidate that a misspelt word most likely means.
pub(super) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    const ALIKE: f64 = 0.75;
    let word = word.to_lowercase().replace('-', "_");
    candidates
        .into_iter()
        .map(|candidate| {
            let name = candidate.to_lowercase();
            let likeness = strsim::jaro_winkler(&word, &name);
            let shortened = f64::from(u8::from(is_shortened(&word, &name)));
            (candidate, likeness + shortened)
        })
        .filter(|(_, likeness)| *likeness >= ALIKE)
        .max_by(|one, other| one.1.total_cmp(&other.1))
        .map(|(candidate, _)| candidate)
}

/// Whether a name with some words left out, though not the last one, is this: `mqtt_url` of `mqtt_broker_url`.
fn is_shortened(word: &str, name: &str) -> bool {
    let (mut word, mut name) = (word.rsplit('_'), name.rsplit('_'));
    let has_same_end = word.next() == name.next();
    has_same_end && word.all(|part| name.any(|other| other == part))
}
