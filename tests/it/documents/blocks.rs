//! What is done with each kind of block.

use std::fs;
use std::path::Path;

use fieldgate::config::{self, Overrides};
use serde_json::Value;

use super::markdown::{Block, Document};
use super::page::Page;
use super::programs::{self, parse};
use super::shell;

pub(super) type Checked = Result<(), String>;
type CheckText = fn(&mut Page, &str) -> Checked;

/// What is done with a block, by what stands behind its fence.
const KINDS: &[(&str, CheckText)] = &[
    ("toml", configuration),
    ("sh", shell_commands),
    ("json", json),
    ("yaml", yaml),
    ("sql", sql),
    ("mosquitto", broker_configuration),
    ("acl", access_rules),
    ("flux", flux),
    // What something prints, or a drawing.
    ("text", no_commands),
];

/// All that is wrong with a document.
pub(super) fn faults(document: &Document) -> Vec<String> {
    let mut page = Page::new();
    let mut faults = Vec::new();
    for block in &document.blocks {
        if let Err(fault) = check(&mut page, block) {
            faults.push(format!("{}: {fault}", block.place));
        }
    }
    let known = config::known_keys();
    for (line, code) in &document.code {
        if is_key(code) && !known.iter().any(|key| key.path.starts_with(code.as_str())) {
            let path = document.path.display();
            faults.push(format!("{path}:{line}: there is no key `{code}`"));
        }
        if let Some(Err(fault)) = in_running_text(&mut page, code) {
            let path = document.path.display();
            faults.push(format!("{path}:{line}: `{code}`: {fault}"));
        }
    }
    faults
}

/// Checks code in running text, as far as that is possible without running it; `None`: it is none
/// that can be checked.
fn in_running_text(page: &mut Page, code: &str) -> Option<Checked> {
    let line = shell::lines(code).into_iter().next()?;
    let program = line.words.first()?.as_str();
    let ours = [
        "assets", "benches", "docs", "examples", "scripts", "src", "tests",
    ];
    let folder = program.split_once('/').map(|(folder, _)| folder);
    match program {
        "fieldgate" if line.words.len() > 1 => Some(parse(&line.words).map(drop)),
        "cargo" | "docker" if line.words.len() > 1 => Some(programs::command(page, &line)),
        path if folder.is_some_and(|folder| ours.contains(&folder))
            && !path.contains(['{', '*']) =>
        {
            let is_there = Path::new(path).exists();
            Some(is_there.then_some(()).ok_or(format!("there is no {path}")))
        }
        _ => None,
    }
}

/// Whether this is written as a key of the configuration, as `mqtt.qos`.
fn is_key(code: &str) -> bool {
    let sections = [
        "api",
        "influxdb",
        "journal",
        "log",
        "mqtt",
        "source",
        "telemetry",
        "tui",
    ];
    let is_of_key = |c: char| c.is_ascii_lowercase() || c == '_' || c == '.';
    code.split_once('.').is_some_and(|(section, name)| {
        sections.contains(&section) && !["db", "md"].contains(&name) && name.chars().all(is_of_key)
    })
}

fn check(page: &mut Page, block: &Block) -> Checked {
    let kind = KINDS.iter().find(|(info, _)| *info == block.info);
    let (_, check) = kind.ok_or_else(|| {
        format!(
            "nobody checks blocks of {:?}; add a line to KINDS in tests/it/documents/blocks.rs",
            block.info
        )
    })?;
    check(page, &block.text)
}

fn configuration(page: &mut Page, text: &str) -> Checked {
    let path = page.write("fragment.toml", text);
    let mut overrides = Overrides::default();
    overrides.file = Some(path);
    let loaded = config::load(&overrides, &page.environment());
    loaded.map(drop).map_err(|errors| errors.to_string())
}

fn shell_commands(page: &mut Page, text: &str) -> Checked {
    shell::check_syntax(text)?;
    for line in shell::lines(text) {
        programs::command(page, &line)
            .map_err(|fault| format!("{}: {fault}", line.words.join(" ")))?;
    }
    Ok(())
}

/// Balanced, and from the bucket that the Compose file sets up: no parser of Flux is to be had here.
fn flux(_: &mut Page, text: &str) -> Checked {
    if !text.starts_with("from(bucket: \"telemetry\")") {
        return Err("it does not begin with the bucket of docker-compose.yml".to_owned());
    }
    let mut open = Vec::new();
    for letter in text.chars() {
        match letter {
            '(' => open.push(')'),
            '[' => open.push(']'),
            '{' => open.push('}'),
            ')' | ']' | '}' if open.pop() != Some(letter) => {
                return Err(format!("a {letter} closes nothing"));
            }
            _ => {}
        }
    }
    match open.pop() {
        None => Ok(()),
        Some(missing) => Err(format!("a {missing} is missing")),
    }
}

fn sql(page: &mut Page, text: &str) -> Checked {
    page.ask_journal(text)
}

fn json(_: &mut Page, text: &str) -> Checked {
    let values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    let parsed: Result<Vec<Value>, _> = values.collect();
    match parsed {
        Ok(values) if values.is_empty() => Err("nothing".to_owned()),
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

fn yaml(_: &mut Page, text: &str) -> Checked {
    let parsed = serde_saphyr::from_str::<Value>(text);
    parsed.map(drop).map_err(|error| error.to_string())
}

/// A real Mosquitto starts with it, with files of the test's own in the place of those it names, and
/// stays for the commands that follow.
#[expect(clippy::unnecessary_wraps, reason = "as all checks of blocks")]
fn broker_configuration(page: &mut Page, text: &str) -> Checked {
    let broker = page.start_broker(text);
    page.keep(broker);
    Ok(())
}

/// A real Mosquitto takes it, and so does the next one of the page.
#[expect(clippy::unnecessary_wraps, reason = "as all checks of blocks")]
fn access_rules(page: &mut Page, text: &str) -> Checked {
    fs::write(page.broker_files().join("acl"), text).unwrap();
    let config = "allow_anonymous true\nacl_file /etc/mosquitto/acl\nlistener 1883\n";
    drop(page.start_broker(config));
    Ok(())
}

fn no_commands(_: &mut Page, text: &str) -> Checked {
    let command = text.lines().find(|line| {
        let program = line
            .trim_start_matches("$ ")
            .split(' ')
            .next()
            .unwrap_or_default();
        line.starts_with("$ ") || (line.contains(' ') && programs::is_known(program))
    });
    match command {
        None => Ok(()),
        Some(line) => Err(format!(
            "{line:?} is a command and belongs into a block of sh"
        )),
    }
}
