//! What is done with each kind of block and with each program.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use clap::Parser;
use fieldgate::cli::{Cli, Command};
use fieldgate::config::{self, Environment, Overrides};
use serde_json::Value;

use super::markdown::{Block, Document};
use super::page::Page;
use super::shell::{self, Line};

pub(super) type Checked = Result<(), String>;
type CheckText = fn(&mut Page, &str) -> Checked;
type CheckLine = fn(&mut Page, &Line) -> Checked;

/// What is done with a block, by what stands behind its fence.
const KINDS: &[(&str, CheckText)] = &[
    ("toml", configuration),
    ("sh", shell_commands),
    ("json", json),
    ("yaml", yaml),
    ("ini", systemd_unit),
    ("sql", sql),
    ("mosquitto", broker_configuration),
    ("acl", access_rules),
    // What something prints, or a drawing.
    ("text", no_commands),
];

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
    ("usermod", names_files),
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
        if code.starts_with("fieldgate ")
            && let Some(command) = shell::lines(code).first()
            && let Err(fault) = parse(&command.words)
        {
            let path = document.path.display();
            faults.push(format!("{path}:{line}: `{code}`: {fault}"));
        }
    }
    faults
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
        command(page, &line).map_err(|fault| format!("{}: {fault}", line.words.join(" ")))?;
    }
    Ok(())
}

fn command(page: &mut Page, line: &Line) -> Checked {
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
        format!("nobody checks {program:?}; add a line to PROGRAMS in tests/it/documents/blocks.rs")
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
        line.words[0] = "mosquitto_sub".to_owned();
        line.words.extend(["-t", "iiot/#"].map(str::to_owned));
        return page.mosquitto_client(&line);
    }
    Ok(())
}

fn sqlite(page: &mut Page, line: &Line) -> Checked {
    let queries = line.words[1..]
        .iter()
        .filter(|word| !word.starts_with('-'))
        .skip(1);
    queries.map(|query| page.ask_journal(query)).collect()
}

fn sql(page: &mut Page, text: &str) -> Checked {
    page.ask_journal(text)
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

/// A fragment of a unit: its credentials are known, and what it starts is right.
fn systemd_unit(_: &mut Page, text: &str) -> Checked {
    let known = [
        "mqtt.password",
        "mqtt-password",
        "influxdb.token",
        "influxdb-token",
        "api-token",
    ];
    for line in text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with(['[', '#']))
    {
        let (key, value) = line
            .split_once('=')
            .ok_or_else(|| format!("{line:?} sets nothing"))?;
        match key {
            "LoadCredential"
                if !known
                    .iter()
                    .any(|name| value.starts_with(&format!("{name}:"))) =>
            {
                return Err(format!("nobody reads the credential of {line:?}"));
            }
            "ExecStart" => {
                let words = &shell::lines(value)[0].words;
                parse(words)?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// A real Mosquitto starts with it, with files of the test's own in the place of those it names, and
/// stays for the commands that follow.
fn broker_configuration(page: &mut Page, text: &str) -> Checked {
    page.start_broker(text);
    Ok(())
}

/// A real Mosquitto takes it, and so does the next one of the page.
fn access_rules(page: &mut Page, text: &str) -> Checked {
    fs::write(page.broker_files().join("acl"), text).unwrap();
    page.start_broker("allow_anonymous true\nacl_file /etc/mosquitto/acl\nlistener 1\n");
    Ok(())
}

fn no_commands(_: &mut Page, text: &str) -> Checked {
    let command = text.lines().find(|line| {
        let program = line
            .trim_start_matches("$ ")
            .split(' ')
            .next()
            .unwrap_or_default();
        line.starts_with("$ ")
            || (line.contains(' ') && PROGRAMS.iter().any(|(name, _)| *name == program))
    });
    match command {
        None => Ok(()),
        Some(line) => Err(format!(
            "{line:?} is a command and belongs into a block of sh"
        )),
    }
}

/// Nothing of the caller's, and a home.
pub(super) fn environment(home: &Path, variables: &[(String, String)]) -> Environment {
    let home = [("HOME".to_owned(), home.display().to_string())];
    home.into_iter().chain(variables.iter().cloned()).collect()
}
