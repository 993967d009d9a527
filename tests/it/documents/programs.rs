//! What is done with each program.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use clap::Parser;
use fieldgate::cli::{Cli, Command};
use serde_json::Value;

use super::blocks::Checked;
use super::page::Page;
use super::shell::Line;

type CheckLine = fn(&mut Page, &Line) -> Checked;

/// What is done with a command, by its program.
const PROGRAMS: &[(&str, CheckLine)] = &[
    ("cargo", cargo),
    ("cp", Page::copy),
    ("curl", curl),
    ("docker", docker),
    ("export", export),
    ("fieldgate", Page::fieldgate),
    ("mosquitto_pub", Page::mosquitto_client),
    ("mosquitto_sub", Page::mosquitto_client),
    ("mosquitto_passwd", Page::run),
    ("openssl", Page::run),
    ("scripts/", script),
    ("sqlite3", sqlite),
    // They change the machine, need root, or belong to others: the files of ours that they name must
    // be there, and what they call must be right.
    ("apt-get", names_files),
    ("cat", names_files),
    ("cd", names_files),
    ("chmod", names_files),
    ("git", names_files),
    ("influx", names_files),
    ("install", names_files),
    ("journalctl", names_files),
    ("kill", names_files),
    ("ls", names_files),
    ("lsusb", names_files),
    ("mkdir", names_files),
    ("pkill", names_files),
    ("printf", names_files),
    ("rm", names_files),
    ("ssh", names_files),
    ("stty", names_files),
    ("systemctl", names_files),
    ("tee", names_files),
    ("useradd", names_files),
    ("usermod", names_files),
];

/// Whether there is a check for a program.
pub(super) fn is_known(program: &str) -> bool {
    PROGRAMS.iter().any(|(name, _)| *name == program)
}

/// Checks a command with what is in the table.
pub(super) fn command(page: &mut Page, line: &Line) -> Checked {
    let mut line = line.clone();
    let variables = std::mem::take(&mut line.variables);
    if line.words.first().is_some_and(|word| word == "sudo") {
        line.words.remove(0);
        if line.words.first().is_some_and(|word| word == "-u") {
            line.words.drain(..2);
        }
    }
    let Some(program) = line.words.first() else {
        return Err("write export before a variable that holds for what follows".to_owned());
    };
    let found = PROGRAMS
        .iter()
        .find(|(name, _)| name == program || (name.ends_with('/') && program.starts_with(name)));
    let (_, check) = found.ok_or_else(|| {
        format!(
            "nobody checks {program:?}; add a line to PROGRAMS in tests/it/documents/programs.rs"
        )
    })?;
    page.with_variables(&variables, |page| check(page, &line))
}

/// Whether the real definition of the command line takes this.
pub(super) fn parse(words: &[String]) -> Result<Option<Command>, String> {
    use clap::error::ErrorKind::{DisplayHelp, DisplayVersion};
    match Cli::try_parse_from(words) {
        Ok(cli) => Ok(Some(cli.into_command())),
        Err(error) if matches!(error.kind(), DisplayHelp | DisplayVersion) => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

/// What is given to the example behind `--`, or else what follows a word.
fn behind<'a>(words: &'a [String], word: &str) -> Option<&'a [String]> {
    let at = words.iter().position(|it| it == word)?;
    Some(&words[at + 1..])
}

fn cargo(_: &mut Page, line: &Line) -> Checked {
    let words: Vec<&str> = line.words[1..]
        .iter()
        .map(String::as_str)
        .filter(|word| !word.starts_with('+'))
        .collect();
    let value = |flag: &str| {
        let at = words.iter().position(|word| *word == flag)?;
        words.get(at + 1).copied()
    };
    for (flag, folder) in [
        ("--example", "examples"),
        ("--bench", "benches"),
        ("--test", "tests"),
    ] {
        if let Some(name) = value(flag) {
            let (file, module) = (
                format!("{folder}/{name}.rs"),
                format!("{folder}/{name}/main.rs"),
            );
            if !Path::new(&file).exists() && !Path::new(&module).exists() {
                return Err(format!("there is no {file}"));
            }
        }
    }
    let features: toml::Table = fs::read_to_string("Cargo.toml").unwrap().parse().unwrap();
    if let Some(feature) = value("--features")
        && features["features"].get(feature).is_none()
    {
        return Err(format!("there is no feature {feature}"));
    }
    match words[0] {
        "run" => {
            // The examples take the flags of the configuration, as the gateway itself does.
            let arguments = behind(&line.words, "--").unwrap_or_default();
            let fieldgate = ["fieldgate".to_owned()];
            parse(&[&fieldgate, arguments].concat()).map(drop)
        }
        "fuzz" => {
            let target = words[2];
            let path = format!("fuzz/fuzz_targets/{target}.rs");
            Path::new(&path)
                .exists()
                .then_some(())
                .ok_or(format!("there is no {path}"))
        }
        "bench" | "build" | "clippy" | "deny" | "doc" | "fmt" | "install" | "test" => Ok(()),
        other => Err(format!("cargo {other} is not known here")),
    }
}

fn docker(page: &mut Page, line: &Line) -> Checked {
    if line.words.get(1).map(String::as_str) != Some("compose") {
        return names_files(page, line);
    }
    let compose: Value =
        serde_saphyr::from_str(&fs::read_to_string("docker-compose.yml").unwrap()).unwrap();
    let services = compose["services"].as_object().unwrap();
    let profiles: Vec<&str> = services
        .values()
        .filter_map(|service| service["profiles"][0].as_str())
        .collect();
    let mut words = line.words[2..].iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--profile" => {
                let profile = words.next().map(String::as_str).unwrap_or_default();
                if !profiles.contains(&profile) {
                    return Err(format!("there is no profile {profile}"));
                }
            }
            "build" | "down" | "kill" | "logs" | "ps" | "pull" | "restart" | "start" | "stop"
            | "up" => {
                let named = words.by_ref().filter(|word| !word.starts_with('-'));
                return known_services(services, named);
            }
            "exec" => {
                let rest: Vec<String> = words
                    .by_ref()
                    .skip_while(|it| it.starts_with('-'))
                    .cloned()
                    .collect();
                let (service, inner) = rest.split_first().ok_or("exec of what?")?;
                known_services(services, std::iter::once(service))?;
                let line = Line {
                    words: inner.to_vec(),
                    ..Line::default()
                };
                return command(page, &line);
            }
            other => return Err(format!("docker compose {other} is not known here")),
        }
    }
    Err("docker compose does nothing".to_owned())
}

fn known_services<'a>(
    services: &serde_json::Map<String, Value>,
    mut named: impl Iterator<Item = &'a String>,
) -> Checked {
    let unknown = named.find(|name| !services.contains_key(*name));
    unknown.map_or(Ok(()), |name| Err(format!("there is no service {name}")))
}

/// Requests to the API must be in its description; what InfluxDB is asked, the database answers.
fn curl(page: &mut Page, line: &Line) -> Checked {
    let addresses = line.words[1..]
        .iter()
        .filter(|word| word.contains("://") || word.starts_with("localhost"));
    let mut asked = 0;
    for address in addresses {
        asked += 1;
        let (_, rest) = address.split_once("://").unwrap_or(("", address));
        let (host, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
        match host.rsplit_once(':').map(|(_, port)| port) {
            Some("8787") => api_request(line, path)?,
            Some("8086") => page.ask_database(path)?,
            // Grafana, of which no more is used.
            Some("3000") if path == "/api/health" => {}
            _ => return Err(format!("nobody checks {address}")),
        }
    }
    if asked == 0 {
        Err("no address".to_owned())
    } else {
        Ok(())
    }
}

fn api_request(line: &Line, path: &str) -> Checked {
    let description: Value =
        serde_json::from_str(&fs::read_to_string("docs/openapi.json").unwrap()).unwrap();
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let body = behind(&line.words, "--json").and_then(|rest| rest.first());
    let method = if body.is_some() { "post" } else { "get" };
    let operation = &description["paths"][path][method];
    if operation.is_null() {
        return Err(format!("docs/openapi.json has no {method} {path}"));
    }
    for parameter in query.split('&').filter_map(|pair| pair.split('=').next()) {
        let known = operation["parameters"].as_array().into_iter().flatten();
        let mut names = known.filter_map(|known| known["name"].as_str());
        if !parameter.is_empty() && !names.any(|name| name == parameter) {
            return Err(format!("{path} has no parameter {parameter}"));
        }
    }
    if let Some(body) = body {
        serde_json::from_str::<fieldgate::monitor::Command>(body)
            .map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn export(page: &mut Page, line: &Line) -> Checked {
    for word in &line.words[1..] {
        let (name, value) = word.split_once('=').ok_or("export sets nothing")?;
        page.set_variable(name, value)?;
    }
    Ok(())
}

fn script(page: &mut Page, line: &Line) -> Checked {
    let path = Path::new(&line.words[0]);
    let mode = fs::metadata(path)
        .map_err(|error| error.to_string())?
        .permissions()
        .mode();
    if mode & 0o111 == 0 {
        return Err("it may not be executed".to_owned());
    }
    if path.ends_with("mqtt-sub") {
        let mut line = line.clone();
        "mosquitto_sub".clone_into(&mut line.words[0]);
        line.words.extend(["-t", "iiot/#"].map(str::to_owned));
        return page.mosquitto_client(&line);
    }
    Ok(())
}

fn sqlite(page: &mut Page, line: &Line) -> Checked {
    let mut queries = line.words[1..]
        .iter()
        .filter(|word| !word.starts_with('-'))
        .skip(1);
    queries.try_for_each(|query| page.ask_journal(query))
}

fn names_files(_: &mut Page, line: &Line) -> Checked {
    let ours = [
        "assets/",
        "docs/",
        "examples/",
        "scripts/",
        "tests/",
        "fuzz/",
    ];
    let mut named = line
        .words
        .iter()
        .filter(|word| ours.iter().any(|begin| word.starts_with(begin)));
    let gone = named.find(|path| !Path::new(path).exists());
    gone.map_or(Ok(()), |path| Err(format!("there is no {path}")))
}
