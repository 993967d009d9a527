//! The gateway as a service: what it tells systemd, what it takes from it, and how it reads its
//! configuration again.

use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::Duration;

use crate::support::{
    Fieldgate, Mosquitto, MosquittoOptions, PATIENCE, Signal, Subscriber, SubscriberOptions,
    request,
};

const PACKET: &str = r#"{"ts":12000,"id":"N2","n1":{"t":27.6},"sig":{"rssi":-39,"snr":13}}"#;

#[test]
fn systemd_hears_when_it_is_ready_alive_and_stopping() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let broker = Mosquitto::start();
    let config = format!(
        "[source]\nkind = \"simulator\"\nrate = 100\n[mqtt]\nbroker_url = \"{}\"\n",
        broker.url()
    );
    let mut gateway = Fieldgate::new(&config)
        .env("NOTIFY_SOCKET", path.to_str().unwrap())
        .env("WATCHDOG_USEC", "3000000")
        .start();
    let mut buffer = [0; 4096];
    let mut next = || {
        let length = socket.recv(&mut buffer).expect("nothing is said");
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    };
    let mut said = Vec::new();
    while said
        .iter()
        .filter(|it: &&String| it.contains("WATCHDOG=1"))
        .count()
        < 3
        || !said
            .iter()
            .any(|it| it.contains("STATUS=source up; mqtt up"))
    {
        said.push(next());
    }
    let ready = said.iter().filter(|it| it.contains("READY=1")).count();
    assert_eq!(ready, 1, "{said:?}");
    gateway.signal(Signal::SIGTERM);
    while !next().contains("STOPPING=1") {}
    assert!(gateway.wait_exit(PATIENCE).success());
}

#[test]
fn secrets_come_from_the_credentials_of_the_service() {
    let broker = Mosquitto::start_with(&MosquittoOptions {
        users: vec![("pi", "from-systemd")],
        ..MosquittoOptions::default()
    });
    let credentials = tempfile::tempdir().unwrap();
    std::fs::write(credentials.path().join("mqtt-password"), "from-systemd\n").unwrap();
    std::fs::write(credentials.path().join("api-token"), "api-secret\n").unwrap();
    let config = format!(
        "[source]\nkind = \"stdin\"\n[mqtt]\nbroker_url = \"{}\"\nusername = \"pi\"\n\
         [api]\nlisten = \"127.0.0.1:0\"\n",
        broker.url()
    );
    let mut gateway = Fieldgate::new(&config)
        .env(
            "CREDENTIALS_DIRECTORY",
            credentials.path().to_str().unwrap(),
        )
        .start();
    gateway.wait_for_log("Connected.", PATIENCE);
    let line = gateway.wait_for_log("The HTTP API listens", PATIENCE);
    let port = line.rsplit(':').next().unwrap().trim().parse().unwrap();
    let ask = |headers: &[(&str, &str)]| {
        request(port, "GET", "/metrics", headers, b"")
            .unwrap()
            .status
    };
    assert_eq!(ask(&[]), 401);
    assert_eq!(ask(&[("Authorization", "Bearer api-secret")]), 200);
}

#[test]
fn a_configuration_read_again_changes_what_it_can_and_names_the_rest() {
    let broker = Mosquitto::start_with(&MosquittoOptions {
        users: vec![("one", "1"), ("two", "2")],
        ..MosquittoOptions::default()
    });
    let config = |user: &str, password: &str, prefix: &str, rest: &str| {
        format!(
            "[source]\nkind = \"stdin\"\n[mqtt]\nbroker_url = \"{}\"\ntopic_prefix = \"{prefix}\"\n\
             username = \"{user}\"\npassword = \"{password}\"\n{rest}",
            broker.url()
        )
    };
    let options = SubscriberOptions {
        user: Some(("one", "1")),
        ..SubscriberOptions::default()
    };
    let subscriber = Subscriber::start_with(broker.port(), "#", &options);
    let mut gateway = Fieldgate::new(&config("one", "1", "before", "")).start();
    gateway.write_stdin(format!("{PACKET}\n").as_bytes());
    let arrived = |topic: &'static str, count: usize| {
        subscriber.wait_until(topic, PATIENCE, |messages| {
            messages
                .iter()
                .filter(|message| message.topic == topic)
                .count()
                >= count
        });
    };
    arrived("before/node1/temperature", 1);

    // Another login and other topics; what is believed of telemetry needs a restart.
    let more = "[log]\nlevel = \"debug\"\n[telemetry]\nclock_tolerance = \"3s\"\n";
    let second = config("two", "2", "after", more);
    gateway.write_file("config.toml", &second);
    gateway.signal(Signal::SIGHUP);
    let line = gateway.wait_for_log("The configuration was read again", PATIENCE);
    assert!(line.contains("changed=\"mqtt, log\""), "{line}");
    assert!(line.contains("need_restart=\"telemetry\""), "{line}");
    arrived("after/gateway/status", 1);
    gateway.write_stdin(format!("{{\"ts\":1,\n{PACKET}\n").as_bytes());
    arrived("after/node1/temperature", 1);
    gateway.wait_for_log("Rejected a frame", PATIENCE);
    let all = subscriber.messages();
    let offline = all
        .iter()
        .any(|it| it.topic == "before/gateway/status" && it.payload == "offline");
    assert!(offline, "the old topic must not stay online");

    // A bad file changes nothing.
    gateway.write_file(
        "config.toml",
        &config("one", "s3cret", "bad", "[influxdb]\nurl = 7\n"),
    );
    gateway.signal(Signal::SIGHUP);
    let line = gateway.wait_for_log("influxdb.url has a value", PATIENCE);
    assert!(!line.contains("s3cret"), "{line}");
    gateway.wait_for_log("The configuration stays as it was", PATIENCE);
    gateway.write_stdin(format!("{PACKET}\n").as_bytes());
    arrived("after/node1/temperature", 2);
    let all = subscriber.messages();
    assert!(all.iter().all(|message| !message.topic.starts_with("bad/")));
    let once = all
        .iter()
        .filter(|message| message.topic == "before/node1/temperature");
    assert_eq!(
        once.count(),
        1,
        "a restarted sink must not send again what was acknowledged"
    );

    gateway.close_stdin();
    assert!(gateway.wait_exit(PATIENCE).success());
}

#[test]
fn a_sink_that_cannot_take_other_settings_keeps_the_old_ones() {
    let server = crate::support::ContractServer::start();
    let config = |token: &str| {
        format!(
            "[source]\nkind = \"stdin\"\n[influxdb]\nurl = \"{}\"\norg = \"iiot\"\n\
             bucket = \"telemetry\"\nflush_interval = \"10ms\"\ntoken = \"{token}\"\n",
            server.url()
        )
    };
    let mut gateway = Fieldgate::new(&config(crate::support::ContractServer::TOKEN)).start();
    gateway.write_stdin(format!("{PACKET}\n").as_bytes());
    server.wait_for_points(3, PATIENCE);
    gateway.write_file("config.toml", &config("two\\nlines"));
    gateway.signal(Signal::SIGHUP);
    gateway.wait_for_log("A changed section cannot be applied", PATIENCE);
    gateway.wait_for_log("need_restart=\"influxdb\"", PATIENCE);
    let later = PACKET.replace("12000", "22000");
    gateway.write_stdin(format!("{later}\n").as_bytes());
    server.wait_for_points(6, PATIENCE);
    gateway.signal(Signal::SIGTERM);
    assert!(gateway.wait_exit(PATIENCE).success());
}

#[test]
fn the_unit_file_is_one_that_systemd_takes() {
    let text = std::fs::read_to_string("assets/fieldgate.service").unwrap();
    for line in [
        "Type=notify",
        "DynamicUser=yes",
        "StateDirectory=fieldgate",
        "User=fieldgate",
        "WatchdogSec=60",
        "ExecReload=/bin/sh -c \"kill -HUP $MAINPID\"",
    ] {
        assert!(text.lines().any(|it| it == line), "{line}");
    }
    // With a group that this system does not have, the unit would not start.
    assert!(!text.contains("SupplementaryGroups="));
    let folder = tempfile::tempdir().unwrap();
    let unit = folder.path().join("fieldgate.service");
    let program = env!("CARGO_BIN_EXE_fieldgate");
    let text = text
        .replace("/usr/local/bin/fieldgate", program)
        .replace("Documentation=man:fieldgate(1)\n", "");
    std::fs::write(&unit, text.replace("#LoadCredential", "LoadCredential")).unwrap();
    match Command::new("systemd-analyze")
        .arg("verify")
        .arg(&unit)
        .output()
    {
        // A machine without systemd has nobody to ask.
        Err(error) => eprintln!("systemd-analyze is not there: {error}"),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            let of_unit: Vec<&str> = said
                .lines()
                .filter(|it| it.contains("fieldgate.service"))
                .collect();
            assert!(output.status.success() && of_unit.is_empty(), "{said}");
        }
    }
}

#[test]
fn a_gateway_without_systemd_says_nothing_to_nobody() {
    let mut gateway = Fieldgate::new("[source]\nkind = \"stdin\"\n").start();
    gateway.close_stdin();
    assert!(gateway.wait_exit(Duration::from_secs(10)).success());
    assert!(
        !gateway
            .stdout()
            .iter()
            .any(|line| line.contains("service manager"))
    );
}
