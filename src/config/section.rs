//! Reads the keys of one section.

use std::collections::BTreeMap;

use super::environment::{Environment, PREFIX};
use super::error::{ConfigError, Fault, HIDDEN, Place};
use super::kind::Kind;
use super::reader::{KnownKey, Reader, join};
use super::setting::{Setting, Table, Value};

/// One section while it is read.
pub(super) struct Section<'r, 'e> {
    reader: &'r mut Reader<'e>,
    /// Empty for the top level.
    path: String,
    /// Whether its keys have environment variables: not where users choose names.
    has_variables: bool,
    place: Place,
    settings: Table,
    present: bool,
    /// Where the values came from that were set and are allowed.
    answers: BTreeMap<String, (Place, String)>,
    /// Errors from here on are about this section, or about what is inside it.
    first_error: usize,
}

/// A configuration as far as it could be read, and what was wrong with it.
pub(super) struct AllRead<T> {
    pub(super) value: Option<T>,
    pub(super) known: Vec<KnownKey>,
    pub(super) errors: Vec<ConfigError>,
}

/// Reads all settings; `place` is the file as a whole.
pub(super) fn read_all<T>(
    settings: Table,
    environment: &Environment,
    place: Place,
    read: impl FnOnce(&mut Section<'_, '_>) -> Option<T>,
) -> AllRead<T> {
    let mut reader = Reader::new(environment);
    let value = read_section(&mut reader, String::new(), true, place, settings, read);
    let (known, errors) = reader.finish();
    AllRead {
        value,
        known,
        errors,
    }
}

/// Reads a section; `place` is its header, or else the file as a whole.
fn read_section<'e, T>(
    reader: &mut Reader<'e>,
    path: String,
    has_variables: bool,
    place: Place,
    settings: Table,
    read: impl FnOnce(&mut Section<'_, 'e>) -> Option<T>,
) -> Option<T> {
    let mut section = Section {
        first_error: reader.errors.len(),
        present: matches!(place, Place::Line(..)),
        reader,
        path,
        has_variables,
        place,
        settings,
        answers: BTreeMap::new(),
    };
    let value = read(&mut section);
    section.reader.leave(section.path, section.settings);
    value
}

impl<'e> Section<'_, 'e> {
    /// A key without a default.
    pub(super) fn optional<T>(&mut self, name: &'static str, kind: &Kind<T>) -> Option<T> {
        self.read(name, kind, None, None)
    }

    /// A key with a default.
    pub(super) fn or<T>(
        &mut self,
        name: &'static str,
        default: impl Into<Value>,
        kind: &Kind<T>,
    ) -> Option<T> {
        let default = default.into();
        let described = default.to_string();
        self.read(name, kind, Some(default), Some(described))
    }

    /// A key whose default depends on something that `described` tells.
    pub(super) fn or_described<T>(
        &mut self,
        name: &'static str,
        default: Option<Value>,
        described: &str,
        kind: &Kind<T>,
    ) -> Option<T> {
        self.read(name, kind, default, Some(described.into()))
    }

    fn read<T>(
        &mut self,
        name: &'static str,
        kind: &Kind<T>,
        default: Option<Value>,
        described: Option<String>,
    ) -> Option<T> {
        let path = join(&self.path, name);
        let variables = self.variables(&path, kind.variable);
        let setting = self.settings.remove(name);
        let setting = match setting {
            Some(setting) if matches!(setting.place, Place::Flag(_)) => Some(setting),
            below => self
                .variable_set(&variables)
                .or_else(|| self.credential(&path, kind.is_secret))
                .or(below),
        };
        self.reader.know(KnownKey {
            path,
            default: described,
            allowed: kind.allowed.clone(),
            variables,
        });
        // A secret alone says nothing about whether the section is wanted.
        self.present |= setting.is_some() && !kind.is_secret;
        match setting {
            Some(setting) => self.check(name, setting, kind),
            None => kind.parse(&default?).ok(),
        }
    }

    fn check<T>(&mut self, name: &str, setting: Setting, kind: &Kind<T>) -> Option<T> {
        let found = if kind.is_secret {
            HIDDEN.into()
        } else {
            setting.found
        };
        match kind.parse(&setting.value) {
            Ok(value) => {
                self.answers.insert(name.to_owned(), (setting.place, found));
                Some(value)
            }
            Err(refusal) => {
                let key = join(&self.path, name);
                self.reader.errors.push(ConfigError {
                    place: setting.place,
                    fault: Fault::Wrong,
                    problem: format!("{key} has a value that is not allowed"),
                    key,
                    found,
                    allowed: kind.allowed.clone(),
                    advice: refusal.0,
                });
                None
            }
        }
    }

    fn variables(&self, path: &str, by_convention: Option<&str>) -> Vec<String> {
        if !self.has_variables {
            return Vec::new();
        }
        let own = format!("{PREFIX}{}", path.replace('.', "_").to_uppercase());
        [own]
            .into_iter()
            .chain(by_convention.map(str::to_owned))
            .collect()
    }

    fn variable_set(&self, variables: &[String]) -> Option<Setting> {
        variables.iter().find_map(|name| {
            let text = self.reader.environment.get(name)?;
            let place = Place::Variable(name.clone());
            Some(match text.to_str() {
                Some(text) => Setting::untyped(place, text),
                None => Setting {
                    place,
                    found: "text that is not UTF-8".into(),
                    value: Value::Unusable,
                },
            })
        })
    }

    /// A secret that the service manager handed over as a file: `mqtt-password` for `mqtt.password`.
    fn credential(&mut self, path: &str, is_secret: bool) -> Option<Setting> {
        if !is_secret || !self.has_variables {
            return None;
        }
        let (file, text) = self.reader.environment.credential(path)?;
        let place = Place::Credential(file.into());
        match text {
            Ok(text) => Some(Setting::untyped(place, &text)),
            Err(error) => {
                self.reader.errors.push(ConfigError {
                    place,
                    key: path.to_owned(),
                    fault: Fault::Wrong,
                    problem: format!("the credential of {path} cannot be read"),
                    found: error.to_string(),
                    allowed: "a file with text in UTF-8".into(),
                    advice: Some("check LoadCredential= of the service".into()),
                });
                None
            }
        }
    }

    /// The settings of a section inside this one.
    pub(super) fn section<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&mut Section<'_, 'e>) -> Option<T>,
    ) -> Option<T> {
        self.inner(name, self.has_variables, read)
    }

    /// A section whose keys are names that the user chooses.
    pub(super) fn named<T>(
        &mut self,
        name: &str,
        mut read: impl FnMut(&mut Section<'_, 'e>, &str) -> Option<T>,
    ) -> Option<BTreeMap<String, T>> {
        self.inner(name, false, |section| Some(section.all(&mut read)))
    }

    /// All of a section whose keys are names that the user chooses.
    pub(super) fn all<T>(
        &mut self,
        mut read: impl FnMut(&mut Self, &str) -> Option<T>,
    ) -> BTreeMap<String, T> {
        let names: Vec<String> = self.settings.keys().cloned().collect();
        let values = names.into_iter().filter_map(|name| {
            let value = read(self, &name)?;
            Some((name, value))
        });
        values.collect()
    }

    /// Whether a key is a section of its own.
    pub(super) fn is_section(&self, name: &str) -> bool {
        let setting = self.settings.get(name);
        setting.is_some_and(|setting| matches!(setting.value, Value::Table(_)))
    }

    /// A value under a name that the user chose.
    pub(super) fn named_value<T>(&mut self, name: &str, kind: &Kind<T>) -> Option<T> {
        let setting = self.settings.remove(name)?;
        self.reader.known.push(KnownKey {
            path: join(&self.path, name),
            default: None,
            allowed: kind.allowed.clone(),
            variables: Vec::new(),
        });
        self.check(name, setting, kind)
    }

    fn inner<T>(
        &mut self,
        name: &str,
        has_variables: bool,
        read: impl FnOnce(&mut Section<'_, 'e>) -> Option<T>,
    ) -> Option<T> {
        let path = join(&self.path, name);
        let (place, settings) = match self.settings.remove(name) {
            None => (self.file(), Table::new()),
            Some(Setting {
                place,
                value: Value::Table(table),
                ..
            }) => (place, table),
            Some(setting) => {
                self.refuse_value(setting, &path);
                (self.file(), Table::new())
            }
        };
        self.read_inner(path, has_variables, place, settings, read)
    }

    /// Reads sections of which there may be several: one `[name]`, also where it is not in the file, or
    /// any number of `[[name]]`. Of these at most the first has environment variables and credentials, if
    /// `first_leads`. `read` is told how many there are.
    pub(super) fn sections<T>(
        &mut self,
        name: &str,
        first_leads: bool,
        mut read: impl FnMut(&mut Section<'_, 'e>, usize) -> Option<T>,
    ) -> Vec<Option<T>> {
        let Some(Setting {
            value: Value::Tables(tables),
            ..
        }) = self.settings.get_mut(name)
        else {
            return vec![self.section(name, |section| read(section, 1))];
        };
        let tables = std::mem::take(tables);
        self.settings.remove(name);
        let count = tables.len();
        let mut has_variables = first_leads;
        let mut values = Vec::new();
        for Setting { place, value, .. } in tables {
            let Value::Table(settings) = value else {
                continue;
            };
            let path = join(&self.path, name);
            let read = |section: &mut Section<'_, 'e>| read(section, count);
            values.push(self.read_inner(path, has_variables, place, settings, read));
            has_variables = false;
        }
        values
    }

    /// Reports what stands where a section belongs.
    fn refuse_value(&mut self, setting: Setting, path: &str) {
        let is_several = matches!(setting.value, Value::Tables(_));
        self.reader.errors.push(ConfigError {
            place: setting.place,
            fault: Fault::Wrong,
            problem: if is_several {
                format!("there can be only one section {path}")
            } else {
                format!("{path} is a section, not a key")
            },
            found: if is_several {
                format!("[[{path}]]")
            } else {
                "a value".into()
            },
            allowed: format!("[{path}] with keys below it"),
            key: path.to_owned(),
            advice: None,
        });
    }

    fn read_inner<T>(
        &mut self,
        path: String,
        has_variables: bool,
        place: Place,
        settings: Table,
        read: impl FnOnce(&mut Section<'_, 'e>) -> Option<T>,
    ) -> Option<T> {
        let mut is_present = false;
        let value = read_section(
            self.reader,
            path,
            has_variables,
            place,
            settings,
            |section| {
                let value = read(section);
                is_present = section.present;
                value
            },
        );
        // A section inside another one is a part of it.
        self.present |= is_present;
        value
    }

    /// Whether the section stands in the file or any key of it is set, secrets apart.
    pub(super) fn is_present(&self) -> bool {
        self.present
    }

    pub(super) fn environment(&self) -> &'e Environment {
        self.reader.environment
    }

    /// The layer that set a key, the higher the stronger; 0 when none did.
    pub(super) fn layer(&self, name: &str) -> u8 {
        self.answers.get(name).map_or(0, |(place, _)| place.layer())
    }

    /// Where the value of a key came from, and how it was written there.
    pub(super) fn answer(&self, name: &str) -> Option<(Place, String)> {
        self.answers.get(name).cloned()
    }

    /// Where the section stands.
    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// A key by its full path.
    pub(super) fn path_of(&self, name: &str) -> String {
        join(&self.path, name)
    }

    /// Reports what is wrong with several keys together.
    pub(super) fn report(&mut self, errors: Vec<ConfigError>) {
        self.reader.errors.extend(errors);
    }

    /// Whether an error about a key, or about the section itself, has been reported.
    pub(super) fn has_error(&self, name: &str) -> bool {
        let key = join(&self.path, name);
        let of_section = |reported: &str| reported == self.path && !reported.is_empty();
        let own = &self.reader.errors[self.first_error..];
        let before = &self.reader.errors[..self.first_error];
        own.iter()
            .map(ConfigError::key)
            .any(|it| it == key || of_section(it))
            || before.iter().map(ConfigError::key).any(of_section)
    }

    /// Passes a value on; reports it as missing when it is not set.
    pub(super) fn require<T>(
        &mut self,
        name: &'static str,
        value: Option<T>,
        advice: Option<&str>,
    ) -> Option<T> {
        if value.is_none() && !self.has_error(name) {
            let key = join(&self.path, name);
            let known = self.reader.known.iter().find(|known| known.path == key);
            let allowed = known.map(|known| known.allowed.clone()).unwrap_or_default();
            self.missing(name, allowed, advice.map(str::to_owned));
        }
        value
    }

    /// Reports a key as missing.
    pub(super) fn missing(&mut self, name: &str, allowed: String, advice: Option<String>) {
        let key = join(&self.path, name);
        let to_add = || match &self.place {
            Place::Line(..) => None,
            _ => Some(format!("add it to the section [{}]", self.path)),
        };
        self.reader.errors.push(ConfigError {
            place: self.place.clone(),
            fault: Fault::Missing,
            problem: format!("{key} is missing"),
            found: "nothing".into(),
            allowed,
            advice: advice.or_else(to_add),
            key,
        });
    }

    /// Reports a key whose value is allowed by itself, but not beside another one.
    pub(super) fn refuse(&mut self, name: &'static str, problem: &str, allowed: String) {
        let (place, found) = match self.answers.get(name) {
            Some((place, found)) => (place.clone(), found.clone()),
            None => (self.place.clone(), "the default".into()),
        };
        let key = join(&self.path, name);
        self.reader.errors.push(ConfigError {
            place,
            fault: Fault::Wrong,
            problem: format!("{key} {problem}"),
            key,
            found,
            allowed,
            advice: None,
        });
    }

    fn file(&self) -> Place {
        match &self.place {
            Place::Line(file, _) | Place::File(file) => Place::File(file.clone()),
            _ => Place::Nowhere,
        }
    }
}
