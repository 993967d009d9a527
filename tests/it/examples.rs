//! The examples and the scripts that come with the gateway, run as a user runs them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use crate::support::{
    ContractServer, Mosquitto, MosquittoOptions, Reply, Subscriber, VictoriaMetrics,
};

/// The program of an example, as up to date as the tests are.
fn example(name: &str) -> PathBuf {
    static BUILT: OnceLock<()> = OnceLock::new();
    let profile = Path::new(env!("CARGO_BIN_EXE_fieldgate")).parent().unwrap();
    BUILT.get_or_init(|| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--examples"]);
        cargo.args(profile.ends_with("release").then_some("--release"));
        // What cargo tells the tests would have it build some dependencies anew for the examples.
        for (name, _) in std::env::vars_os() {
            let told = [
                "CARGO_PKG_",
                "CARGO_MANIFEST_",
                "CARGO_CRATE_",
                "CARGO_BIN_",
            ];
            let name = name.to_string_lossy();
            if told.iter().any(|begin| name.starts_with(begin)) {
                cargo.env_remove(&*name);
            }
        }
        assert!(cargo.status().unwrap().success());
    });
    profile.join("examples").join(name)
}

/// Runs an example in an empty folder with an environment of its own.
fn run(name: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    Command::new(example(name))
        .args(arguments)
        .current_dir(folder.path())
        .env_clear()
        .env("HOME", folder.path())
        .envs(variables.iter().copied())
        .output()
        .unwrap()
}

/// Exit code and everything printed.
fn said(output: &Output) -> (i32, String) {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    (
        output.status.code().unwrap(),
        String::from_utf8(text).unwrap(),
    )
}

#[test]
fn a_published_message_arrives_and_its_acknowledgement_is_told() {
    let broker = Mosquitto::start();
    let subscriber = Subscriber::start(broker.port(), "plant/#");
    for (protocol, qos, acknowledgement) in [
        ("4", "0", "nothing, as QoS 0 has it"),
        ("4", "1", "with PUBACK"),
        ("4", "2", "with PUBREC and PUBCOMP"),
        ("5", "0", "nothing, as QoS 0 has it"),
        ("5", "1", "with PUBACK"),
        ("5", "2", "with PUBREC and PUBCOMP"),
    ] {
        let (code, text) = said(&run(
            "publish_test",
            &[
                "--broker-url",
                &broker.url(),
                "--set",
                "mqtt.topic_prefix=plant",
            ],
            &[
                ("FIELDGATE_MQTT_QOS", qos),
                ("FIELDGATE_MQTT_PROTOCOL", protocol),
            ],
        ));
        assert_eq!(code, 0, "{text}");
        assert!(text.contains(acknowledgement), "{text}");
    }
    let messages = subscriber.wait_for_count(6, crate::support::PATIENCE);
    for (message, qos) in messages.iter().zip([0, 1, 2, 0, 1, 2]) {
        assert_eq!(message.topic, "plant/gateway/publish_test");
        assert_eq!((&*message.payload, message.qos), ("1", qos));
        assert!(!message.retained);
    }
}

#[test]
fn a_message_that_cannot_be_published_is_told() {
    let broker = Mosquitto::start_with(&MosquittoOptions {
        users: vec![("pi", "hunter2")],
        ..MosquittoOptions::default()
    });
    let url = broker.url();
    let user = ["--broker-url", &url, "--set", "mqtt.username=pi"];
    let (code, text) = said(&run("publish_test", &user, &[("MQTT_PASSWORD", "hunter2")]));
    assert_eq!(code, 0, "{text}");
    assert!(!text.contains("hunter2"), "{text}");
    let (code, text) = said(&run(
        "publish_test",
        &user,
        &[("MQTT_PASSWORD", "wrong-pw")],
    ));
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("check mqtt.username"), "{text}");
    assert!(!text.contains("wrong-pw"), "{text}");

    let (code, text) = said(&run(
        "publish_test",
        &["--broker-url", "mqtt://127.0.0.1:1"],
        &[],
    ));
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("connection refused"), "{text}");

    let (code, text) = said(&run("publish_test", &[], &[]));
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("--broker-url"), "{text}");
    let (code, text) = said(&run("publish_test", &["--set", "mqtt.qos=3"], &[]));
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("mqtt.qos"), "{text}");
}

/// `influx_health` asked about the contract server, with a token of the caller's.
fn influx_health(server: &ContractServer, token: &str, set: &str) -> (i32, String) {
    let org = format!("influxdb.org={}", ContractServer::ORG);
    let url = server.url();
    let arguments = ["--influxdb-url", &url, "--set", &org, "--set", set];
    said(&run(
        "influx_health",
        &arguments,
        &[("INFLUXDB_TOKEN", token)],
    ))
}

#[test]
fn a_healthy_database_takes_a_point_and_gives_it_back() {
    let server = ContractServer::start();
    let bucket = format!("influxdb.bucket={}", ContractServer::BUCKET);
    let (code, text) = influx_health(&server, ContractServer::TOKEN, &bucket);
    assert_eq!(code, 0, "{text}");
    let steps: Vec<&str> = text
        .lines()
        .filter_map(|line| line.split(':').next())
        .collect();
    assert_eq!(steps, ["health", "token", "write", "read"], "{text}");
    let points = server.points();
    assert_eq!(points.len(), 1);
    assert_eq!(points[0].measurement, "fieldgate_health");
}

#[test]
fn the_step_that_fails_is_named_with_what_to_do() {
    let server = ContractServer::start();
    let token = ContractServer::TOKEN;
    let bucket = format!("influxdb.bucket={}", ContractServer::BUCKET);
    for (token, set, beginning, advice) in [
        (
            "wrong",
            &*bucket,
            "token: FAILED: token rejected",
            "influx auth list",
        ),
        (
            token,
            "influxdb.bucket=none",
            "token: FAILED: bucket \"none\" not found",
            "influx bucket list",
        ),
    ] {
        let (code, text) = influx_health(&server, token, set);
        assert_eq!(code, 1, "{text}");
        assert!(text.contains(beginning) && text.contains(advice), "{text}");
    }
    assert_eq!(server.points(), []);

    server.next([Reply::Ok, Reply::Status(500, String::new())]);
    let (code, text) = influx_health(&server, token, &bucket);
    assert_eq!(code, 1, "{text}");
    assert!(
        text.contains("write: FAILED: the server answered 500"),
        "{text}"
    );

    // It takes points as InfluxDB does, and knows no Flux.
    let database = VictoriaMetrics::start();
    let (code, text) = said(&run(
        "influx_health",
        &["--influxdb-url", &database.url()],
        &[],
    ));
    assert_eq!(code, 1, "{text}");
    assert!(
        text.contains("\nread: FAILED: ") && text.contains("Flux"),
        "{text}"
    );

    let (code, text) = said(&run(
        "influx_health",
        &["--influxdb-url", "http://127.0.0.1:1"],
        &[],
    ));
    assert_eq!(code, 1, "{text}");
    assert!(
        text.contains("health: FAILED: connection refused"),
        "{text}"
    );
    let (code, text) = said(&run("influx_health", &[], &[]));
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("--influxdb-url"), "{text}");
}

/// `scripts/mqtt-sub` where only these programs are found.
fn mqtt_sub(path: &Path, arguments: &[&str]) -> Output {
    Command::new("/bin/bash")
        .arg("scripts/mqtt-sub")
        .args(arguments)
        .env("PATH", path)
        .output()
        .unwrap()
}

/// A program that prints its name and its arguments.
fn double(folder: &Path, name: &str) {
    let path = folder.join(name);
    fs::write(
        &path,
        format!("#!/bin/bash\nprintf '%s\\n' {name} \"$@\"\n"),
    )
    .unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn messages_are_shown_with_whatever_is_on_the_machine() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["cat", "bash"] {
        std::os::unix::fs::symlink(Path::new("/bin").join(name), folder.path().join(name)).unwrap();
    }
    let (code, text) = said(&mqtt_sub(folder.path(), &[]));
    assert_eq!(code, 127, "{text}");
    assert!(text.contains("apt-get install mosquitto-clients"), "{text}");
    let (code, text) = said(&mqtt_sub(folder.path(), &["--help"]));
    assert!(
        code == 0 && text.contains("Usage: scripts/mqtt-sub"),
        "{text}"
    );

    double(folder.path(), "docker");
    let (_, text) = said(&mqtt_sub(folder.path(), &["-C", "1"]));
    let words: Vec<&str> = text.lines().collect();
    assert_eq!(words[..2], ["docker", "run"]);
    assert!(text.contains("--network\nhost\n"), "{text}");
    let image = words
        .iter()
        .position(|word| *word == "eclipse-mosquitto:2")
        .unwrap();
    assert_eq!(
        words[image + 1..],
        [
            "mosquitto_sub",
            "-h",
            "localhost",
            "-t",
            "iiot/#",
            "-v",
            "-C",
            "1"
        ]
    );

    double(folder.path(), "mosquitto_sub");
    for (arguments, passed) in [
        (&[][..], &["-h", "localhost", "-t", "iiot/#", "-v"][..]),
        (
            &["-h", "pi", "-R"],
            &["-t", "iiot/#", "-v", "-h", "pi", "-R"],
        ),
        (&["-t", "a b/#"], &["-h", "localhost", "-v", "-t", "a b/#"]),
        (
            &["-L", "mqtt://pi/x", "-F", "%p"],
            &["-L", "mqtt://pi/x", "-F", "%p"],
        ),
    ] {
        let (_, text) = said(&mqtt_sub(folder.path(), arguments));
        let words: Vec<&str> = text.lines().collect();
        assert_eq!(words[0], "mosquitto_sub");
        assert_eq!(&words[1..], passed);
    }
}

#[test]
fn messages_of_a_real_broker_are_shown() {
    let broker = Mosquitto::start();
    let port = broker.port().to_string();
    let retained = [
        "-t",
        "iiot/node1/temperature",
        "-m",
        "27.6",
        "-r",
        "-q",
        "1",
    ];
    let published = Command::new("mosquitto_pub")
        .args(["-p", &port])
        .args(retained)
        .status();
    assert!(published.unwrap().success());
    let output = Command::new("scripts/mqtt-sub")
        .args(["-p", &port, "-C", "1", "-W", "20"])
        .output()
        .unwrap();
    let (code, text) = said(&output);
    assert_eq!((code, &*text), (0, "iiot/node1/temperature 27.6\n"));
}
