//! Secrets, which can stand in a file of their own.

use std::fs;
use std::io;
use std::path::Path;

use secrecy::{ExposeSecret, SecretString};

use super::kind::{path, secret};
use super::leftovers;
use super::section::Section;

/// A secret, and the places that it can be kept in.
pub(super) struct SecretKey {
    pub(super) name: &'static str,
    /// The key that names a file with it.
    pub(super) file: &'static str,
    /// The environment variable that holds it by convention.
    pub(super) variable: &'static str,
}

/// Reads a secret, or the file that holds it: what is set in the strongest layer. Empty text is no secret.
pub(super) fn secret_or_file(
    section: &mut Section<'_, '_>,
    key: &SecretKey,
) -> Option<SecretString> {
    let own = section.optional(key.name, &secret(key.variable));
    let own = own.filter(is_some_text);
    let file = section.optional(key.file, &path());
    let layers = (section.layer(key.name), section.layer(key.file));
    match file {
        Some(_) if own.is_some() && layers.0 == layers.1 => {
            let problem = format!("stands beside {}", key.name);
            let allowed = format!("only one of {} and {}", key.name, key.file);
            section.refuse(key.file, &problem, allowed);
            None
        }
        Some(file) if layers.1 > layers.0 || own.is_none() => {
            let read = read_secret(&file);
            read.map_err(|error| refuse_file(section, key.file, &error))
                .ok()
        }
        _ => own,
    }
}

pub(super) fn is_some_text(secret: &SecretString) -> bool {
    !secret.expose_secret().is_empty()
}

fn read_secret(path: &Path) -> io::Result<SecretString> {
    let text = fs::read_to_string(path)?;
    match leftovers::of_file(&text) {
        "" => Err(io::Error::other("it is empty")),
        secret => Ok(secret.into()),
    }
}

fn refuse_file(section: &mut Section<'_, '_>, name: &'static str, error: &io::Error) {
    let problem = format!("cannot be read: {error}");
    let allowed = "a file that holds the secret and nothing else, readable for the gateway";
    section.refuse(name, &problem, allowed.into());
}
