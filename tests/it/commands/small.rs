//! `ports`, `keys`, `init`, `completions` and `man`.

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::ended;
use crate::support::{Fieldgate, Mosquitto, PATIENCE, Pty, Terminal, poll};

fn fieldgate(arguments: &[&str]) -> Fieldgate {
    Fieldgate::with_arguments(arguments)
}

#[test]
fn ports_are_listed_for_people_and_for_programs() {
    let table = ended(fieldgate(&["ports"]).start());
    assert_eq!(table.code, Some(0));
    let list = ended(fieldgate(&["ports", "--json"]).start());
    let ports: Vec<Value> = serde_json::from_str(&list.stdout).unwrap();
    for port in &ports {
        let (path, source) = (&port["path"], &port["source"]);
        assert!(
            table.stdout.contains(path.as_str().unwrap()),
            "{}",
            table.stdout
        );
        assert!(
            table.stdout.contains(source.as_str().unwrap().trim_end()),
            "{}",
            table.stdout
        );
    }
    if ports.is_empty() {
        assert!(
            table.stdout.starts_with("No serial ports."),
            "{}",
            table.stdout
        );
    }
}

#[test]
fn keys_are_listed_with_what_is_allowed() {
    let list = ended(fieldgate(&["keys", "mqtt.q"]).start());
    assert_eq!(
        list.stdout,
        "mqtt.qos\n  allowed: 0 (at most once), 1 (at least once) or 2 (exactly once)\n  default: 1\n  \
         variable: FIELDGATE_MQTT_QOS"
    );
    let all = ended(fieldgate(&["keys", "--json"]).start());
    let keys: Vec<Value> = serde_json::from_str(&all.stdout).unwrap();
    assert_eq!(keys.len(), fieldgate::config::known_keys().len());
    let none = ended(fieldgate(&["keys", "mqtt.qso"]).start());
    assert_eq!(none.code, Some(1));
    assert!(
        none.stderr.contains("`fieldgate keys` lists them all"),
        "{}",
        none.stderr
    );
}

#[test]
fn init_writes_a_configuration_once_and_replaces_it_only_when_forced() {
    let mut arguments = vec![
        "init",
        "--port",
        "simulator",
        "--broker-url",
        "mqtt://broker:1884",
        "--influxdb-url",
        "none",
    ];
    let process = fieldgate(&arguments).start();
    let path = process.folder().join("config.toml");
    let mut process = process;
    process.close_stdin();
    assert!(
        process.wait_exit(PATIENCE).success(),
        "{:?}",
        process.stderr()
    );
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains("kind = \"simulator\""), "{text}");
    assert!(
        text.contains("broker_url = \"mqtt://broker:1884\""),
        "{text}"
    );
    assert!(text.contains("# [influxdb]"), "{text}");
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);

    process.start_again();
    assert_eq!(process.wait_exit(PATIENCE).code(), Some(1));
    assert!(
        process.stderr().join("\n").contains("--force"),
        "{:?}",
        process.stderr()
    );
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);

    arguments.extend(["--force", "--output"]);
    let forced = Fieldgate::with_arguments(&arguments).arg(path.as_os_str());
    assert_eq!(ended(forced.start()).code, Some(0));
}

#[test]
fn init_takes_the_defaults_that_its_help_promises() {
    let help = ended(fieldgate(&["init", "--help"]).start()).stdout;
    let mut process = fieldgate(&["init", "--no-input"]).start();
    assert!(process.wait_exit(PATIENCE).success());
    let text = std::fs::read_to_string(process.folder().join("config.toml")).unwrap();
    let written: toml::Table = text.parse().unwrap();
    for (flag, section, key) in [
        ("--broker-url", "mqtt", "broker_url"),
        ("--influxdb-url", "influxdb", "url"),
        ("--influxdb-org", "influxdb", "org"),
        ("--influxdb-bucket", "influxdb", "bucket"),
    ] {
        let (_, of_flag) = help.split_once(flag).unwrap();
        let (_, promised) = of_flag.split_once("[default: ").unwrap();
        let (promised, _) = promised.split_once(']').unwrap();
        assert_eq!(written[section][key].as_str(), Some(promised), "{flag}");
    }
}

#[test]
fn init_writes_nothing_that_would_not_be_read() {
    let arguments = [
        "init",
        "--broker-url",
        "localhost",
        "--influxdb-url",
        "none",
    ];
    let mut process = fieldgate(&arguments).start();
    process.close_stdin();
    assert_eq!(process.wait_exit(PATIENCE).code(), Some(2));
    let error = process.stderr().join("\n");
    assert!(
        error.contains("mqtt.broker_url has a value that is not allowed"),
        "{error}"
    );
    assert_eq!(std::fs::read_dir(process.folder()).unwrap().count(), 0);
}

#[test]
fn init_asks_again_for_what_cannot_be() {
    let mut terminal = Terminal::start((100, 40), &["init"]);
    terminal.wait_for("Serial port, or simulator [");
    terminal.type_keys("simulator\r");
    terminal.wait_for("MQTT broker, or none [");
    terminal.type_keys("http://broker\r");
    terminal.wait_for("allowed: mqtt://HOST");
    terminal.type_keys("mqtt://broker\r");
    terminal.wait_for("InfluxDB server, or none [");
    terminal.type_keys("none\r");
    // Nobody has a broker of that name.
    terminal.wait_for("Try again with: fieldgate check --config config.toml");
    assert_eq!(terminal.wait_exit(), 0);
    let text = std::fs::read_to_string(terminal.folder().join("config.toml")).unwrap();
    assert!(text.contains("broker_url = \"mqtt://broker\""), "{text}");
}

#[test]
fn init_finds_out_what_a_board_sends_and_tries_what_it_wrote() {
    let mut board = Pty::open();
    let broker = Mosquitto::start();
    let mut terminal = Terminal::start((120, 50), &["init"]);
    terminal.wait_for("Serial port, or simulator [");
    terminal.type_keys(&format!("{}\r", board.path().display()));
    terminal.wait_for("for a moment.");
    let heard = poll(PATIENCE, || {
        board.write(b"temp:22.5,hum:40\n");
        Some(()).filter(|()| terminal.text().contains("Heard: plotter"))
    });
    assert!(heard.is_some(), "{}", terminal.text());
    terminal.wait_for("MQTT broker, or none [");
    terminal.type_keys(&format!("{}\r", broker.url()));
    terminal.wait_for("InfluxDB server, or none [");
    // Nothing listens at that port.
    terminal.type_keys("http://127.0.0.1:1\r");
    terminal.wait_for("Organisation in InfluxDB [my-org]:");
    terminal.type_keys("\r");
    terminal.wait_for("Bucket in InfluxDB [telemetry]:");
    terminal.type_keys("\r");
    terminal.wait_for("Token of InfluxDB");
    terminal.type_keys("s3cret\r");
    let screen = terminal.wait_for("Try again with: fieldgate check");
    assert_eq!(terminal.wait_exit(), 0);
    assert!(screen.contains("1 check failed."), "{screen}");
    assert!(!screen.contains("s3cret"), "{screen}");
    let text = std::fs::read_to_string(terminal.folder().join("config.toml")).unwrap();
    for line in ["format = \"plotter\"", "token = \"s3cret\""] {
        assert!(text.contains(line), "{line} is not in {text}");
    }
}

#[test]
fn completions_are_scripts_that_the_shell_takes() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let printed = ended(fieldgate(&["completions", shell]).start());
        assert_eq!(printed.code, Some(0), "{shell}");
        assert!(printed.stdout.contains("fieldgate"), "{shell}");
        if shell == "bash" {
            let mut bash = Command::new("bash");
            let bash = bash
                .args(["-n", "/dev/stdin"])
                .stdin(Stdio::piped())
                .spawn();
            let mut bash = bash.unwrap();
            let mut stdin = bash.stdin.take().unwrap();
            std::io::Write::write_all(&mut stdin, printed.stdout.as_bytes()).unwrap();
            drop(stdin);
            assert!(bash.wait().unwrap().success());
        }
    }
    assert_eq!(
        ended(fieldgate(&["completions", "abacus"]).start()).code,
        Some(2)
    );
}

#[test]
fn the_manual_page_has_every_command() {
    let page = ended(fieldgate(&["man"]).start());
    assert_eq!(page.code, Some(0));
    assert!(page.stdout.contains(".TH fieldgate 1"), "{}", page.stdout);
    for command in [
        "RUN",
        "CHECK",
        "PORTS",
        "INIT",
        "EXPORT",
        "COMPLETIONS",
        "MAN",
    ] {
        assert!(
            page.stdout.contains(&format!("COMMAND {command}")),
            "{command}"
        );
    }
    assert!(page.stdout.contains("\\-\\-no\\-tui"), "{}", page.stdout);
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let program = env!("CARGO_BIN_EXE_fieldgate");
    let pipe = format!("'{program}' man | head -1 >/dev/null; echo ${{PIPESTATUS[0]}}");
    let output = Command::new("bash").args(["-c", &pipe]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "0\n");
    assert!(
        output.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
