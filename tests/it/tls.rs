//! MQTT over TLS against a Mosquitto with a password file and an access control list: what works,
//! and what is said when it does not.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::support::{
    Authority, Conduct, ContractBroker, ContractServer, Fieldgate, Front, FrontOptions, Mosquitto,
    PATIENCE, Port, Signal, Signed, Subscriber, SubscriberOptions,
};

const USER: (&str, &str) = ("fieldgate", "hunter2");
const PACKET: &str = r#"{"ts":12000,"id":"N2","n1":{"t":27.6},"n2":{},"sig":{"rssi":-39,"snr":13},"sts":{"rx":1,"err":0}}"#;

/// The connection is the same for both.
const PROTOCOLS: [&str; 2] = ["protocol = 4\n", "protocol = 5\n"];

/// A broker with one listener for each thing that can be wrong with a certificate.
struct Broker {
    server: Mosquitto,
    authority: Authority,
    folder: TempDir,
    good: Port,
    expired: Port,
    wrong_name: Port,
    wants_certificate: Port,
}

impl Broker {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new(folder.path(), "authority");
        let [good, expired, wrong_name, wants_certificate] =
            std::array::from_fn(|_| Port::reserve());
        let certificate = authority.server("good", &["localhost"]);
        let listeners = [
            listener(&good, &certificate),
            listener(&expired, &authority.expired_server("expired")),
            listener(&wrong_name, &authority.server("other", &["other.example"])),
            listener(&wants_certificate, &certificate)
                + &format!(
                    "require_certificate true\ncafile {}\n",
                    authority.ca_file().display()
                ),
        ];
        let server = Mosquitto::start_with_config(|port, _| {
            let shown = folder.path().display();
            format!(
                "listener {port} 127.0.0.1\n{}allow_anonymous false\n\
                 password_file {shown}/passwords\nacl_file {shown}/acl\n",
                passwords_and_rights(folder.path(), &listeners.concat())
            )
        });
        Self {
            server,
            authority,
            folder,
            good,
            expired,
            wrong_name,
            wants_certificate,
        }
    }

    fn subscribe(&self) -> Subscriber {
        let options = SubscriberOptions {
            user: Some(("watcher", "watcher")),
            ..SubscriberOptions::default()
        };
        Subscriber::start_with(self.server.port(), "iiot/#", &options)
    }

    fn ca(&self) -> String {
        format!("ca_file = \"{}\"\n", self.authority.ca_file().display())
    }

    fn gateway(&self, host: &str, port: &Port, keys: &str) -> Fieldgate {
        let (user, password) = USER;
        std::fs::write(self.folder.path().join("password"), password).unwrap();
        gateway(&format!(
            "broker_url = \"mqtts://{host}:{}\"\nusername = \"{user}\"\npassword_file = \"{}\"\n{keys}",
            port.number(),
            self.folder.path().join("password").display(),
        ))
    }
}

fn listener(port: &Port, signed: &Signed) -> String {
    format!(
        "listener {} 127.0.0.1\ncertfile {}\nkeyfile {}\n",
        port.number(),
        signed.certificate.display(),
        signed.key.display()
    )
}

/// Writes who may do what beside the listeners, and passes those on.
fn passwords_and_rights(folder: &Path, listeners: &str) -> String {
    let passwords = folder.join("passwords");
    std::fs::write(&passwords, "").unwrap();
    for (name, password) in [USER, ("watcher", "watcher"), ("stranger", "stranger")] {
        let mut command = Command::new("mosquitto_passwd");
        command.arg("-b").arg(&passwords).args([name, password]);
        assert!(command.status().unwrap().success());
    }
    let mut rights = String::new();
    writeln!(rights, "user {}\ntopic write iiot/#", USER.0).unwrap();
    writeln!(rights, "user watcher\ntopic read iiot/#").unwrap();
    std::fs::write(folder.join("acl"), rights).unwrap();
    listeners.to_owned()
}

/// A gateway with these keys of `[mqtt]`.
fn gateway(mqtt: &str) -> Fieldgate {
    Fieldgate::new(&format!("[source]\nkind = \"stdin\"\n[mqtt]\n{mqtt}\n")).start()
}

/// Sends a packet through a gateway and sees it arrive.
fn assert_delivers(mut gateway: Fieldgate, subscriber: &Subscriber) {
    let before = subscriber.messages().len();
    gateway.write_stdin(PACKET.as_bytes());
    gateway.write_stdin(b"\n");
    gateway.wait_for_log("Connected.", PATIENCE);
    subscriber.wait_until("temperature", PATIENCE, |messages| {
        messages[before..]
            .iter()
            .any(|message| message.topic == "iiot/node1/temperature" && message.payload == "27.6")
    });
    gateway.signal(Signal::SIGTERM);
    assert!(gateway.wait_exit(PATIENCE).success());
}

#[test]
fn readings_arrive_over_tls() {
    let broker = Broker::start();
    let subscriber = broker.subscribe();
    let client = broker.authority.client("gateway");
    let identity = format!(
        "client_certificate = \"{}\"\nclient_key = \"{}\"\n",
        client.certificate.display(),
        client.key.display()
    );
    for (host, port, keys) in [
        ("localhost", &broker.good, String::new()),
        ("localhost", &broker.good, "alpn = [\"mqtt\"]\n".into()),
        (
            "127.0.0.1",
            &broker.good,
            "server_name = \"localhost\"\n".into(),
        ),
        (
            "localhost",
            &broker.wrong_name,
            "server_name = \"other.example\"\n".into(),
        ),
        ("localhost", &broker.wants_certificate, identity),
    ] {
        for protocol in PROTOCOLS {
            let keys = broker.ca() + &keys + protocol;
            assert_delivers(broker.gateway(host, port, &keys), &subscriber);
        }
    }
}

#[test]
fn what_is_wrong_with_a_certificate_is_said() {
    let broker = Broker::start();
    let stranger = Authority::new(broker.folder.path(), "stranger");
    // Of the same name, so that only the signature tells them apart.
    let folder = tempfile::tempdir().unwrap();
    let impostor = Authority::new(folder.path(), "authority");
    let ca = broker.ca();
    let trust =
        |authority: &Authority| format!("ca_file = \"{}\"\n", authority.ca_file().display());
    let foreign = stranger.client("foreign");
    let foreign = format!(
        "{ca}client_certificate = \"{}\"\nclient_key = \"{}\"\n",
        foreign.certificate.display(),
        foreign.key.display()
    );
    let untrusted = "the broker's certificate is signed by nobody who is trusted: set mqtt.ca_file";
    for (host, port, keys, reason) in [
        ("localhost", &broker.good, trust(&stranger), untrusted),
        ("localhost", &broker.good, trust(&impostor), untrusted),
        (
            "localhost",
            &broker.expired,
            ca.clone(),
            "the broker's certificate has expired",
        ),
        (
            "localhost",
            &broker.wrong_name,
            ca.clone(),
            "the broker's certificate is for another name, only for other.example; use",
        ),
        (
            "127.0.0.1",
            &broker.good,
            ca.clone(),
            "the broker's certificate is for another name",
        ),
        (
            "localhost",
            &broker.good,
            format!("{ca}server_name = \"else.example\"\n"),
            "the broker's certificate is for another name",
        ),
        (
            "localhost",
            &broker.wants_certificate,
            ca.clone(),
            "mqtt.client_certificate and mqtt.client_key",
        ),
        (
            "localhost",
            &broker.wants_certificate,
            foreign,
            "not accept mqtt.client_certificate",
        ),
        (
            "localhost",
            &broker.good,
            "ca_file = \"no such file\"\n".into(),
            "cannot use mqtt.ca_file no such file: No such file or directory",
        ),
    ] {
        for protocol in PROTOCOLS {
            let mut gateway = broker.gateway(host, port, &format!("{keys}{protocol}"));
            let line = gateway.wait_for_log("trying again", PATIENCE);
            assert!(line.contains(reason), "{keys}{protocol}{line}");
            assert!(!line.contains(USER.1), "{line}");
        }
    }
}

#[test]
fn the_wrong_kind_of_port_is_told() {
    let broker = Broker::start();
    let plain = broker.server.port();
    let mut gateway = gateway(&format!(
        "broker_url = \"mqtts://localhost:{plain}\"\n{}",
        broker.ca()
    ));
    let line = gateway.wait_for_log("trying again", PATIENCE);
    assert!(
        line.contains("the port may not be one for TLS") || line.contains("does not speak TLS"),
        "{line}"
    );
    let mut gateway = self::gateway(&format!(
        "broker_url = \"mqtt://localhost:{}\"",
        broker.good.number()
    ));
    let line = gateway.wait_for_log("trying again", PATIENCE);
    assert!(line.contains("mqtts://"), "{line}");
}

#[test]
fn a_stranger_is_told_what_to_check() {
    let broker = Broker::start();
    let keys = broker.ca();
    let url = format!("mqtts://localhost:{}", broker.good.number());
    for (user, reason) in [
        (String::new(), "not authorised, check mqtt.username"),
        (
            "username = \"fieldgate\"\npassword = \"wrong\"\n".into(),
            "not authorised, check mqtt.username",
        ),
    ] {
        let mut gateway = gateway(&format!("broker_url = \"{url}\"\n{keys}{user}"));
        let line = gateway.wait_for_log("trying again", PATIENCE);
        assert!(line.contains(reason), "{line}");
    }
}

#[test]
fn readings_arrive_over_websocket() {
    let broker = Mosquitto::start();
    let subscriber = Subscriber::start(broker.port(), "iiot/#");
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path(), "authority");
    let signed = authority.server("good", &["localhost"]);
    let ca = format!("ca_file = \"{}\"\n", authority.ca_file().display());
    for (tls, scheme, path, keys) in [
        (None, "ws", "", ""),
        (Some(&signed), "wss", "/other/path", &*ca),
    ] {
        let options = FrontOptions {
            tls,
            websocket: Some(if path.is_empty() { "/mqtt" } else { path }),
        };
        let front = Front::start(broker.port(), &options);
        let url = format!("{scheme}://localhost:{}{path}", front.port());
        for protocol in PROTOCOLS {
            let gateway = gateway(&format!("broker_url = \"{url}\"\n{keys}{protocol}"));
            assert_delivers(gateway, &subscriber);
        }
    }
}

#[test]
fn a_websocket_that_cannot_be_trusted_or_is_none_is_told() {
    let broker = Mosquitto::start();
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path(), "authority");
    let stranger = Authority::new(folder.path(), "stranger");
    let signed = authority.server("good", &["localhost"]);
    let front = Front::start(
        broker.port(),
        &FrontOptions {
            tls: Some(&signed),
            websocket: Some("/mqtt"),
        },
    );
    let untrusted = format!(
        "broker_url = \"wss://localhost:{}\"\nca_file = \"{}\"\n",
        front.port(),
        stranger.ca_file().display()
    );
    let plain = format!("broker_url = \"ws://localhost:{}\"\n", broker.port());
    for (mqtt, reason) in [
        (untrusted, "signed by nobody who is trusted"),
        (plain, "before it had accepted it"),
    ] {
        for protocol in PROTOCOLS {
            let mut gateway = gateway(&format!("{mqtt}{protocol}"));
            let line = gateway.wait_for_log("trying again", PATIENCE);
            assert!(line.contains(reason), "{line}");
        }
    }
}

#[test]
fn points_arrive_over_https() {
    let database = ContractServer::start();
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path(), "authority");
    let stranger = Authority::new(folder.path(), "stranger");
    let influxdb = |front: &Front, scheme: &str, keys: &str| {
        let mut gateway = Fieldgate::new(&format!(
            "[source]\nkind = \"stdin\"\n[influxdb]\nurl = \"{scheme}://localhost:{}\"\n\
             org = \"{}\"\nbucket = \"{}\"\ntoken = \"{}\"\nbatch_size = 1\n{keys}",
            front.port(),
            ContractServer::ORG,
            ContractServer::BUCKET,
            ContractServer::TOKEN,
        ))
        .start();
        gateway.write_stdin(PACKET.as_bytes());
        gateway.write_stdin(b"\n");
        gateway
    };
    let trust =
        |authority: &Authority| format!("ca_file = \"{}\"\n", authority.ca_file().display());
    let front = |signed: &Signed| {
        let tls = Some(signed);
        let options = FrontOptions {
            tls,
            ..FrontOptions::default()
        };
        Front::start(database.port(), &options)
    };
    let good = front(&authority.server("good", &["localhost"]));
    let expired = front(&authority.expired_server("expired"));
    let other = front(&authority.server("other", &["other.example"]));
    for (front, scheme, keys, reason) in [
        (
            &good,
            "https",
            trust(&stranger),
            "signed by nobody who is trusted: set influxdb.ca_file",
        ),
        (
            &good,
            "https",
            String::new(),
            "signed by nobody who is trusted: set influxdb.ca_file",
        ),
        (
            &expired,
            "https",
            trust(&authority),
            "the server's certificate has expired",
        ),
        (
            &other,
            "https",
            trust(&authority),
            "the server's certificate is for another name",
        ),
    ] {
        let mut gateway = influxdb(front, scheme, &keys);
        let line = gateway.wait_for_log("trying again", PATIENCE);
        assert!(line.contains(reason), "{line}");
    }
    assert_eq!(database.points(), []);
    let no_server_of_http = ContractBroker::start();
    no_server_of_http.always(Conduct::HangUp);
    for (port, reason) in [
        (database.port(), "does not speak TLS on this port"),
        (no_server_of_http.port(), "the port is not one for TLS"),
    ] {
        let plain = Front::start(port, &FrontOptions::default());
        let mut gateway = influxdb(&plain, "https", &trust(&authority));
        let line = gateway.wait_for_log("trying again", PATIENCE);
        assert!(line.contains(reason), "{line}");
    }

    let _gateway = influxdb(&good, "https", &trust(&authority));
    database.wait_for_points(5, PATIENCE);
}
