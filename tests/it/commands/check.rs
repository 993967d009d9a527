//! `check`: everything that can be wrong, each with what to do about it.

use serde_json::Value;

use super::ended;
use crate::support::{
    Authority, ContractServer, Fieldgate, Front, FrontOptions, Mosquitto, MosquittoOptions, Pty,
    Reply, VictoriaMetrics,
};

/// The result of a check with this configuration.
pub(crate) fn check(config: &str) -> (Option<i32>, Value) {
    let gateway = Fieldgate::with_arguments(&["check", "--json", "--config", "config.toml"]);
    gateway.write_file("config.toml", config);
    let result = ended(gateway.start());
    let json = serde_json::from_str(&result.stdout);
    (
        result.code,
        json.unwrap_or_else(|error| panic!("{error}: {}{}", result.stdout, result.stderr)),
    )
}

const STDIN: &str = "[source]\nkind = \"stdin\"\n";

/// How one check went, and what it says.
fn outcome<'a>(report: &'a Value, part: &str, name: &str) -> (&'a str, String) {
    let checks = report["checks"].as_array().unwrap();
    let check = checks
        .iter()
        .find(|check| check["part"] == part && check["check"] == name);
    let check = check.unwrap_or_else(|| panic!("no {part} {name}: {report:#}"));
    (check["result"].as_str().unwrap(), check.to_string())
}

/// Fails unless a check failed, with these words and what to do.
pub(crate) fn assert_failed(report: &Value, part: &str, name: &str, words: &[&str]) {
    let (result, text) = outcome(report, part, name);
    assert_eq!(result, "failed", "{text}");
    assert!(text.contains("\"fix\":"), "{text}");
    for word in words {
        assert!(text.contains(word), "{word}: {text}");
    }
}

fn influxdb(url: &str, token: &str) -> String {
    format!(
        "[influxdb]\nurl = \"{url}\"\norg = \"iiot\"\nbucket = \"telemetry\"\ntoken = \"{token}\"\n"
    )
}

#[test]
fn all_is_well_when_all_is_there() {
    let broker = Mosquitto::start();
    let database = VictoriaMetrics::start();
    let port = Pty::open();
    let config = format!(
        "[source]\nkind = \"serial\"\nport = \"{}\"\n[mqtt]\nbroker_url = \"{}\"\n{}\
         [api]\nlisten = \"127.0.0.1:0\"\n",
        port.path().display(),
        broker.url(),
        influxdb(&database.url(), "")
    );
    let (code, report) = check(&config);
    assert_eq!(
        (code, &report["ok"]),
        (Some(0), &Value::Bool(true)),
        "{report:#}"
    );
    for (part, name) in [
        ("configuration", "is valid"),
        ("source", "port exists"),
        ("source", "port may be opened"),
        ("mqtt", "broker reached"),
        ("mqtt", "login accepted"),
        ("mqtt", "publish allowed"),
        ("influxdb", "server reached"),
        ("influxdb", "token valid"),
        ("influxdb", "org and bucket exist"),
        ("influxdb", "write allowed"),
        ("journal", "can be written"),
        ("journal", "has room"),
        ("clock", "is set"),
        ("api", "can listen"),
    ] {
        assert_eq!(outcome(&report, part, name).0, "passed", "{part} {name}");
    }
    assert!(
        outcome(&report, "influxdb", "server reached")
            .1
            .contains("VictoriaMetrics")
    );
    database.wait_for_points("fieldgate_check", 1, crate::support::PATIENCE);

    let gateway = Fieldgate::with_arguments(&["check", "--config", "config.toml"]);
    gateway.write_file("config.toml", &config);
    let table = ended(gateway.start());
    assert_eq!(table.code, Some(0));
    assert!(table.stdout.ends_with("All is well."), "{}", table.stdout);
}

#[test]
fn what_is_not_there_is_named_with_a_fix() {
    let config = format!(
        "[source]\nkind = \"serial\"\nport = \"/dev/ttyNONE\"\n[mqtt]\nbroker_url = \"mqtt://127.0.0.1:9\"\n{}",
        influxdb("http://127.0.0.1:9", "")
    );
    let (code, report) = check(&config);
    assert_eq!(code, Some(1));
    assert_failed(
        &report,
        "source",
        "port exists",
        &["/dev/ttyNONE", "fieldgate ports"],
    );
    assert_failed(
        &report,
        "mqtt",
        "broker reached",
        &["refused", "mqtt.broker_url"],
    );
    assert_failed(
        &report,
        "influxdb",
        "server reached",
        &["refused", "influxdb.url"],
    );
    assert_eq!(outcome(&report, "mqtt", "publish allowed").0, "skipped");
    assert_eq!(outcome(&report, "influxdb", "write allowed").0, "skipped");

    let probe =
        "[source]\nkind = \"probe-rs\"\nchip = \"STM32F446RETx\"\nfirmware_path = \"none.elf\"\n";
    let (_, report) = check(probe);
    assert_failed(&report, "source", "firmware", &["none.elf"]);
    assert_failed(&report, "source", "probe-rs found", &["https://probe.rs"]);
    let (_, report) = check("[source]\nkind = \"command\"\ncommand = [\"no-such-program\"]\n");
    assert_failed(&report, "source", "program found", &["no-such-program"]);
}

#[test]
fn a_broker_that_lets_nobody_write_is_found_out() {
    let broker = Mosquitto::start_with(&MosquittoOptions {
        users: vec![("writer", "right"), ("reader", "right")],
        acl: Some("user writer\ntopic readwrite iiot/#\nuser reader\ntopic read iiot/#\n"),
        ..MosquittoOptions::default()
    });
    let with = |user: &str, password: &str| {
        let url = broker.url();
        check(&format!(
            "{STDIN}[mqtt]\nbroker_url = \"{url}\"\nusername = \"{user}\"\npassword = \"{password}\"\n"
        ))
    };
    let (code, report) = with("writer", "right");
    assert_eq!(code, Some(0), "{report:#}");
    let (code, report) = with("writer", "wrong-password");
    assert_eq!(code, Some(1));
    assert_failed(&report, "mqtt", "login accepted", &["MQTT_PASSWORD"]);
    assert!(!report.to_string().contains("wrong-password"));
    // Mosquitto acknowledges what it drops.
    let (code, report) = with("reader", "right");
    assert_eq!(code, Some(1));
    assert_eq!(outcome(&report, "mqtt", "login accepted").0, "passed");
    assert_failed(
        &report,
        "mqtt",
        "publish allowed",
        &["iiot/gateway/check", "reader"],
    );

    // MQTT 5 has a word for it.
    let with = |user: &str, password: &str| {
        let url = broker.url();
        check(&format!(
            "{STDIN}[mqtt]\nbroker_url = \"{url}\"\nprotocol = 5\nusername = \"{user}\"\n\
             password = \"{password}\"\n"
        ))
    };
    let (code, report) = with("writer", "right");
    assert_eq!(code, Some(0), "{report:#}");
    let (_, report) = with("writer", "wrong-password");
    assert_failed(&report, "mqtt", "login accepted", &["MQTT_PASSWORD"]);
    let (_, report) = with("reader", "right");
    let words = "the broker refused a message to iiot/gateway/check: not authorised";
    assert_failed(&report, "mqtt", "publish allowed", &[words, "reader"]);
}

#[test]
fn a_database_that_refuses_is_found_out() {
    let server = ContractServer::start();
    let url = server.url();
    let (code, report) = check(&format!("{STDIN}{}", influxdb(&url, ContractServer::TOKEN)));
    assert_eq!(code, Some(0), "{report:#}");
    let (_, report) = check(&format!("{STDIN}{}", influxdb(&url, "s3cret-wrong")));
    assert_failed(&report, "influxdb", "token valid", &["INFLUXDB_TOKEN"]);
    assert!(!report.to_string().contains("s3cret-wrong"));
    let wrong_bucket = influxdb(&url, ContractServer::TOKEN).replace("telemetry", "nowhere");
    let (_, report) = check(&format!("{STDIN}{wrong_bucket}"));
    assert_eq!(outcome(&report, "influxdb", "token valid").0, "passed");
    assert_failed(&report, "influxdb", "org and bucket exist", &["nowhere"]);
    let forbidden = r#"{"code":"forbidden","message":"insufficient permissions for write"}"#;
    server.next([Reply::Status(403, forbidden.into())]);
    let (code, report) = check(&format!("{STDIN}{}", influxdb(&url, ContractServer::TOKEN)));
    assert_eq!(code, Some(1));
    assert_failed(
        &report,
        "influxdb",
        "write allowed",
        &["insufficient permissions"],
    );
}

#[test]
fn what_the_database_says_is_said_as_in_the_log() {
    let server = ContractServer::start();
    let config = format!("{STDIN}{}", influxdb(&server.url(), ContractServer::TOKEN));
    let page = "<html><title>Log in</title>";
    for (reply, words) in [
        (
            Reply::Status(415, String::new()),
            "set influxdb.gzip = false",
        ),
        (
            Reply::Status(200, page.into()),
            "this is not InfluxDB, check influxdb.url",
        ),
        (
            Reply::Status(302, String::new()),
            "the server answered 302 Found, check influxdb.url",
        ),
        (
            Reply::RetryAfter(429, 120),
            "the server wants to be left alone for 2m",
        ),
        (Reply::Endless(500, 64 << 10), "the server answered 500"),
    ] {
        server.next([reply]);
        let (code, report) = check(&config);
        assert_eq!(code, Some(1), "{report:#}");
        assert_failed(&report, "influxdb", "write allowed", &[words]);
    }
    let below = ContractServer::start_below("/influx");
    let config = format!("{STDIN}{}", influxdb(&below.url(), ContractServer::TOKEN));
    let (code, report) = check(&config);
    assert_eq!(code, Some(0), "{report:#}");
}

#[test]
fn a_proxy_in_use_is_named_and_this_machine_needs_none() {
    // Nothing listens there.
    let proxy = "http://user:s3cret@127.0.0.1:9";
    let check = |url: &str, more: &[(&str, &str)]| {
        let mut gateway =
            Fieldgate::with_arguments(&["check", "--json", "--config", "config.toml"]);
        let config = format!("{STDIN}{}", influxdb(url, ContractServer::TOKEN));
        gateway.write_file("config.toml", &config);
        for (name, value) in [("http_proxy", proxy), ("https_proxy", proxy)]
            .iter()
            .chain(more)
        {
            gateway = gateway.env(name, value);
        }
        let result = ended(gateway.start());
        let report: Value = serde_json::from_str(&result.stdout).unwrap();
        assert!(!result.stdout.contains("s3cret"), "{}", result.stdout);
        report
    };
    let server = ContractServer::start();
    let report = check(&server.url(), &[]);
    assert_eq!(outcome(&report, "influxdb", "write allowed").0, "passed");
    let named = "connection refused, through the proxy http://127.0.0.1:9 of http_proxy";
    let report = check("http://db.invalid:8086", &[]);
    assert_failed(&report, "influxdb", "server reached", &[named]);
    let report = check("http://db.invalid:8086", &[("no_proxy", "other,.invalid")]);
    let (_, text) = outcome(&report, "influxdb", "server reached");
    assert!(
        text.contains("db.invalid") && !text.contains("proxy"),
        "{text}"
    );

    // A proxy takes whole addresses; this server takes their paths.
    let url = server.url();
    let report = check("http://db.invalid:8086", &[("http_proxy", &url)]);
    let (result, text) = outcome(&report, "influxdb", "server reached");
    assert_eq!(result, "passed", "{text}");
    assert!(
        text.contains(&format!("through the proxy {url} of http_proxy")),
        "{text}"
    );
    server.next([Reply::Status(407, String::new())]);
    let report = check("http://db.invalid:8086", &[("http_proxy", &url)]);
    assert_failed(
        &report,
        "influxdb",
        "write allowed",
        &["wants a login", &url],
    );
}

#[test]
fn a_journal_that_cannot_be_is_found_out() {
    let (code, report) = check(&format!(
        "{STDIN}[journal]\npath = \"/proc/fieldgate/journal.db\"\n"
    ));
    assert_eq!(code, Some(1));
    assert_failed(
        &report,
        "journal",
        "can be written",
        &["/proc/fieldgate", "journal.path"],
    );
    let (_, report) = check(&format!("{STDIN}[journal]\nmax_bytes = \"1000TiB\"\n"));
    assert_failed(&report, "journal", "has room", &["journal.max_bytes"]);
    let (_, report) = check(&format!("{STDIN}[journal]\npath = \"config.toml\"\n"));
    assert_failed(&report, "journal", "can be written", &["config.toml"]);
}

#[test]
fn a_wrong_configuration_is_a_failed_check() {
    let (code, report) = check("[source]\nkind = \"telepathy\"\n");
    assert_eq!(code, Some(1));
    assert_failed(&report, "configuration", "is valid", &["source.kind"]);
    let gateway = Fieldgate::with_arguments(&["check", "--source", "stdin", "--set", "mqtt.qos=7"]);
    let result = ended(gateway.start());
    assert_eq!(result.code, Some(2));
    assert!(result.stderr.contains("mqtt.qos"), "{}", result.stderr);
}

#[test]
fn encrypted_servers_are_tried_as_the_gateway_would() {
    let (broker, database) = (Mosquitto::start(), ContractServer::start());
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path(), "authority");
    let stranger = Authority::new(folder.path(), "stranger");
    let signed = authority.server("good", &["localhost"]);
    let front = |port: u16, websocket| {
        let tls = Some(&signed);
        Front::start(port, &FrontOptions { tls, websocket })
    };
    let broker_front = front(broker.port(), Some("/mqtt"));
    let database_front = front(database.port(), None);
    let with_trust_in = |authority: &Authority| {
        let ca = format!("ca_file = \"{}\"\n", authority.ca_file().display());
        let url = format!("https://localhost:{}", database_front.port());
        check(&format!(
            "{STDIN}[mqtt]\nbroker_url = \"wss://localhost:{}/mqtt\"\n{ca}{}{ca}",
            broker_front.port(),
            influxdb(&url, ContractServer::TOKEN)
        ))
    };
    let (code, report) = with_trust_in(&authority);
    assert_eq!(code, Some(0), "{report:#}");
    let (code, report) = with_trust_in(&stranger);
    assert_eq!(code, Some(1));
    assert_failed(&report, "mqtt", "broker reached", &["certificate"]);
    assert_failed(&report, "influxdb", "server reached", &["ertificate"]);
}
