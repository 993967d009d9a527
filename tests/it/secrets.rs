//! Secrets stay secret: whatever fails and however much is logged, they are in no line, no error and
//! no file that the gateway writes.

use std::fs;
use std::path::Path;

use crate::support::{
    Authority, ContractServer, Fieldgate, Front, FrontOptions, Mosquitto, MosquittoOptions,
    PATIENCE, Port, Reply, Signal, VictoriaMetrics,
};

const PASSWORD: &str = "correct-horse-9f27";
const TOKEN: &str = "battery-staple-7c31";
const SECRETS: [&str; 2] = [PASSWORD, TOKEN];

/// What must not be found anywhere: the secrets, and as bytes in the ways that Rust prints them.
fn assert_no_secret(where_found: &str, bytes: &[u8]) {
    for secret in SECRETS {
        let decimal = format!("{:?}", secret.as_bytes());
        for form in [secret, decimal.trim_matches(['[', ']'])] {
            let found = bytes
                .windows(form.len())
                .any(|part| part == form.as_bytes());
            assert!(!found, "{where_found} holds {secret}");
        }
    }
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(self::files(&path));
        } else {
            files.push(path);
        }
    }
    files
}

/// Where the secrets are kept.
#[derive(Debug, Clone, Copy)]
enum Kept {
    Configuration,
    Environment,
    Files,
    Credentials,
}

/// Runs a gateway until both servers have failed it, and looks through all that it left.
fn fail(kept: Kept, level: &str, mqtt: &str, influxdb: &str) {
    let secrets = tempfile::tempdir().unwrap();
    for (name, secret) in [("mqtt.password", PASSWORD), ("influxdb.token", TOKEN)] {
        fs::write(secrets.path().join(name), format!("{secret}\n")).unwrap();
    }
    let shown = secrets.path().display();
    let (mqtt_secret, influxdb_secret) = match kept {
        Kept::Configuration => (
            format!("password = \"{PASSWORD}\""),
            format!("token = \"{TOKEN}\""),
        ),
        Kept::Files => (
            format!("password_file = \"{shown}/mqtt.password\""),
            format!("token_file = \"{shown}/influxdb.token\""),
        ),
        Kept::Environment | Kept::Credentials => (String::new(), String::new()),
    };
    let mut gateway = Fieldgate::new(&format!(
        "[source]\nkind = \"stdin\"\n\
         [log]\nlevel = \"{level}\"\ndir = \"logs\"\n\
         [mqtt]\nusername = \"pi\"\n{mqtt_secret}\n{mqtt}\n\
         [influxdb]\n{influxdb_secret}\nbatch_size = 1\n{influxdb}\n"
    ));
    gateway = match kept {
        Kept::Environment => gateway
            .env("MQTT_PASSWORD", PASSWORD)
            .env("INFLUXDB_TOKEN", TOKEN),
        Kept::Credentials => gateway.env("CREDENTIALS_DIRECTORY", &shown.to_string()),
        Kept::Configuration | Kept::Files => gateway,
    };
    let mut gateway = gateway.start();
    // A packet to deliver, and lines to reject, one of them with a secret of the board's own.
    gateway.write_stdin(b"{\"ts\":1,\"n1\":{\"t\":1}}\n{\"ts\":\n\x00\xff{}\n");
    for link in ["link=mqtt", "link=influxdb"] {
        gateway.wait_for_log(&format!("trying again. {link}"), PATIENCE);
    }
    gateway.signal(Signal::SIGTERM);
    gateway.signal(Signal::SIGTERM);
    gateway.wait_exit(PATIENCE);
    let printed = [gateway.stdout(), gateway.stderr()].concat();
    assert!(printed.iter().any(|line| line.contains("user pi")));
    assert_no_secret(
        &format!("{kept:?} {level}: log"),
        printed.join("\n").as_bytes(),
    );
    let mut looked_through = 0;
    for path in files(gateway.folder()) {
        if path.ends_with("config.toml") {
            continue;
        }
        assert_no_secret(&path.display().to_string(), &fs::read(&path).unwrap());
        looked_through += 1;
    }
    assert!(looked_through >= 2, "a log file and a journal");
}

#[test]
fn no_failure_shows_a_secret() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path(), "authority");
    let signed = authority.expired_server("expired");
    let broker = Mosquitto::start_with(&MosquittoOptions {
        users: vec![("pi", "another")],
        ..MosquittoOptions::default()
    });
    let encrypted = Front::start(
        broker.port(),
        &FrontOptions {
            tls: Some(&signed),
            websocket: None,
        },
    );
    let refused = Port::reserve();
    let database = VictoriaMetrics::start();
    let server = ContractServer::start();
    server.always(Reply::Status(
        500,
        format!("{{\"message\":\"{}\"}}", "x".repeat(500)),
    ));
    let broker_urls = [
        format!("broker_url = \"{}\"", broker.url()),
        format!("broker_url = \"mqtt://127.0.0.1:{}\"", refused.number()),
        format!(
            "broker_url = \"mqtts://localhost:{}\"\nca_file = \"{}\"",
            encrypted.port(),
            authority.ca_file().display()
        ),
        // A server that speaks another protocol.
        format!("broker_url = \"ws://127.0.0.1:{}\"", database.port()),
    ];
    let urls = [
        // 401: the token is another one.
        format!("url = \"{}\"", server.url()),
        format!("url = \"http://127.0.0.1:{}\"", refused.number()),
        format!("url = \"https://localhost:{}\"", encrypted.port()),
        format!("url = \"http://127.0.0.1:{}\"", broker.port()),
    ];
    let kept = [
        Kept::Configuration,
        Kept::Environment,
        Kept::Files,
        Kept::Credentials,
    ];
    for ((mqtt, influxdb), kept) in broker_urls.iter().zip(&urls).zip(kept) {
        fail(kept, "trace", mqtt, influxdb);
    }
    // With all that the libraries have to say as well.
    for (mqtt, influxdb) in broker_urls.iter().zip(&urls) {
        for protocol in [4, 5] {
            let mqtt = format!("{mqtt}\nprotocol = {protocol}");
            fail(Kept::Environment, "trace,fieldgate=trace", &mqtt, influxdb);
        }
    }
}

#[test]
fn no_error_of_the_configuration_shows_a_secret() {
    let config = |mqtt: &str, influxdb: &str| {
        format!("[source]\nkind = \"stdin\"\n[mqtt]\n{mqtt}\n[influxdb]\n{influxdb}\n")
    };
    let secrets = tempfile::tempdir().unwrap();
    let both = secrets.path().join("both");
    fs::write(&both, format!("{PASSWORD}\n{TOKEN}\n")).unwrap();
    let both = both.display();
    for (text, arguments) in [
        // The name of the user is missing; a secret stands beside its file.
        (
            config(
                &format!("password = \"{PASSWORD}\""),
                &format!("token = \"{TOKEN}\"\ntoken_file = \"{both}\""),
            ),
            vec![],
        ),
        // Not closed, so that all behind it may belong to it.
        (config(&format!("password = \"{PASSWORD}"), ""), vec![]),
        (config("", &format!("token = [\"{TOKEN}\"]")), vec![]),
        (config("", &format!("tokem = \"{TOKEN}\"")), vec![]),
        (
            config("qos = 3", ""),
            vec![
                format!("--set=influxdb.token={TOKEN}"),
                "--set=mqtt.qos=4".into(),
            ],
        ),
        (
            config(
                &format!("broker_url = \"mqtt://pi:{PASSWORD}@localhost\""),
                &format!("url = \"http://pi:{TOKEN}@localhost\""),
            ),
            vec![],
        ),
        // Two lines are no token that HTTP could carry.
        (config("", &format!("token_file = \"{both}\"")), vec![]),
    ] {
        let mut gateway = Fieldgate::new(&text);
        for argument in &arguments {
            gateway = gateway.arg(argument);
        }
        let mut gateway = gateway.start();
        assert!(!gateway.wait_exit(PATIENCE).success(), "{text}");
        let printed = [gateway.stdout(), gateway.stderr()].concat();
        assert_no_secret(&text, printed.join("\n").as_bytes());
    }
}
