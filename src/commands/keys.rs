//! `fieldgate keys`: what can be set, and to what.

use anyhow::bail;

use super::print;
use crate::cli::KeysArguments;
use crate::config::{self, KnownKey};

/// Lists the keys.
pub fn keys(arguments: &KeysArguments) -> anyhow::Result<()> {
    let beginning = arguments.beginning.as_deref().unwrap_or_default();
    let mut keys = config::known_keys();
    keys.retain(|key| key.path.starts_with(beginning));
    if keys.is_empty() {
        bail!("no key begins with {beginning:?}; `fieldgate keys` lists them all");
    }
    let text = if arguments.json {
        format!("{}\n", serde_json::to_string_pretty(&keys)?)
    } else {
        keys.iter().map(describe).collect()
    };
    Ok(print(text.as_bytes())?)
}

fn describe(key: &KnownKey) -> String {
    let KnownKey { path, allowed, .. } = key;
    let default = key.default.as_deref().unwrap_or("none");
    let variables = match &key.variables[..] {
        [] => String::new(),
        names => format!("  variable: {}\n", names.join(", ")),
    };
    format!("{path}\n  allowed: {allowed}\n  default: {default}\n{variables}")
}
