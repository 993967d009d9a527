use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::ExposeSecret;
use tempfile::TempDir;

use super::*;

/// A folder with or without a `config.toml`.
struct Folder(TempDir);

impl Folder {
    fn empty() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn with(text: &str) -> Self {
        let folder = Self::empty();
        fs::write(folder.file(), text).unwrap();
        folder
    }

    fn file(&self) -> PathBuf {
        self.0.path().join(DEFAULT_FILE)
    }

    fn load(&self, variables: &[(&str, &str)], set: &[&str]) -> Result<Config, ConfigErrors> {
        let mut overrides = Overrides::default();
        for assignment in set {
            overrides.assign(*assignment);
        }
        load_or_default(&overrides, &environment(variables), &self.file())
    }
}

fn environment(variables: &[(&str, &str)]) -> Environment {
    let home = [("HOME", "/home/pi")];
    home.iter().chain(variables).copied().collect()
}

const STDIN: &str = "[source]\nkind = \"stdin\"\n";

#[test]
fn no_file_is_needed_when_something_else_names_a_source() {
    let folder = Folder::empty();
    let by_flag = folder.load(&[], &["source.kind=stdin"]).unwrap();
    let by_variable = folder
        .load(&[("FIELDGATE_SOURCE_KIND", "stdin")], &[])
        .unwrap();
    for config in [by_flag, by_variable] {
        assert_eq!(config.sources[0].source, Source::Stdin);
        assert!(config.mqtt.is_empty() && config.influxdb.is_empty());
    }
}

#[test]
fn nothing_at_all_is_answered_with_how_to_begin() {
    let errors = Folder::empty()
        .load(&[("MQTT_PASSWORD", "hunter2")], &[])
        .unwrap_err();
    assert_eq!(errors.iter().count(), 1);
    let text = errors.to_string();
    assert!(text.contains("fieldgate init"), "{text}");
    assert!(
        text.contains("fieldgate run --source simulator --broker-url mqtt://localhost:1883"),
        "{text}"
    );
}

#[test]
fn a_source_that_nobody_names_is_a_board_on_its_usual_port() {
    let board = |selector: PortSelector| Source::Serial(Port::new(selector));
    let path = |path: &str| board(PortSelector::Path(path.into()));
    for (set, expected) in [
        (&["mqtt.qos=1"][..], path("/dev/ttyACM0")),
        (&["source.kind=serial"], path("/dev/ttyACM0")),
        (&["source.port=/dev/ttyUSB1"], path("/dev/ttyUSB1")),
        (
            &["source.serial_number=0672FF"],
            board(PortSelector::SerialNumber("0672FF".into())),
        ),
    ] {
        let config = Folder::empty().load(&[], set).unwrap();
        assert_eq!(config.sources[0].source, expected, "{set:?}");
    }
    let errors = Folder::empty().load(&[], &["source.usb_id=x"]).unwrap_err();
    let keys: Vec<&str> = errors.iter().map(ConfigError::key).collect();
    assert_eq!(keys, ["source.usb_id"]);
}

#[test]
fn a_named_file_must_exist_and_hides_the_default_one() {
    let folder = Folder::with("broken");
    let other = folder.0.path().join("other.toml");
    let mut overrides = Overrides::default();
    overrides.file = Some(other.clone());
    let by_flag = || load_or_default(&overrides, &environment(&[]), &folder.file());
    let path = other.to_str().unwrap().to_owned();
    let by_variable = || folder.load(&[("FIELDGATE_CONFIG", &path)], &[]);

    for errors in [by_flag().unwrap_err(), by_variable().unwrap_err()] {
        assert!(errors.to_string().contains(&path), "{errors}");
    }
    fs::write(&other, STDIN).unwrap();
    for config in [by_flag().unwrap(), by_variable().unwrap()] {
        assert_eq!(config.sources[0].source, Source::Stdin);
    }
}

#[test]
fn a_secret_comes_from_the_strongest_layer() {
    let text = format!("{STDIN}[mqtt]\nusername = \"pi\"\npassword = \"file\"\n");
    let folder = Folder::with(&text);
    let convention = ("MQTT_PASSWORD", "convention");
    let own = ("FIELDGATE_MQTT_PASSWORD", "own");
    for (variables, set, expected) in [
        (&[][..], &[][..], "file"),
        (&[convention], &[], "convention"),
        (&[own, convention], &[], "own"),
        (&[own, convention], &["mqtt.password=fl=ag"], "fl=ag"),
    ] {
        let mqtt = folder
            .load(variables, set)
            .unwrap()
            .mqtt
            .into_iter()
            .next()
            .unwrap();
        assert_eq!(mqtt.password.unwrap().expose_secret(), expected);
    }
}

#[test]
fn a_credential_wins_over_the_file_and_yields_to_the_environment() {
    let folder = Folder::with(&format!(
        "{STDIN}[mqtt]\nusername = \"pi\"\npassword = \"file\"\n[api]\nlisten = \"0.0.0.0:0\"\n"
    ));
    let credentials = tempfile::tempdir().unwrap();
    fs::write(credentials.path().join("mqtt-password"), "handed over\n").unwrap();
    fs::write(credentials.path().join("api-token"), "api\r\n").unwrap();
    let directory = (
        "CREDENTIALS_DIRECTORY",
        credentials.path().to_str().unwrap(),
    );
    for (variables, expected) in [
        (&[][..], "file"),
        (&[directory], "handed over"),
        (
            &[directory, ("MQTT_PASSWORD", "environment")],
            "environment",
        ),
    ] {
        let own = ("FIELDGATE_API_TOKEN", "x");
        let variables: Vec<_> = variables.iter().copied().chain([own]).collect();
        let mqtt = folder
            .load(&variables, &[])
            .unwrap()
            .mqtt
            .into_iter()
            .next()
            .unwrap();
        assert_eq!(mqtt.password.unwrap().expose_secret(), expected);
    }
    let api = folder.load(&[directory], &[]).unwrap().api.unwrap();
    assert_eq!(api.token.unwrap().expose_secret(), "api");

    // The name with a dot stands in the same layer, and yields to the other one.
    let dotted = credentials.path().join("mqtt.password");
    fs::write(&dotted, "dotted\n").unwrap();
    for expected in ["handed over", "dotted"] {
        let mqtt = folder
            .load(&[directory], &[])
            .unwrap()
            .mqtt
            .into_iter()
            .next()
            .unwrap();
        assert_eq!(mqtt.password.unwrap().expose_secret(), expected);
        drop(fs::remove_file(credentials.path().join("mqtt-password")));
    }

    fs::write(credentials.path().join("mqtt-password"), [0xff]).unwrap();
    let errors = folder.load(&[directory], &[]).unwrap_err().to_string();
    assert!(errors.contains("mqtt-password"), "{errors}");
}

/// The keys that are refused, with the advice.
fn refused(text: &str) -> Vec<(String, String)> {
    match Folder::with(&format!("{STDIN}{text}")).load(&[], &[]) {
        Ok(_) => Vec::new(),
        Err(errors) => errors
            .iter()
            .map(|error| (error.key.clone(), error.advice.clone().unwrap_or_default()))
            .collect(),
    }
}

#[test]
fn a_name_that_something_else_has_is_refused_with_who_has_it() {
    let nodes = |lines: &str| refused(&format!("[telemetry.nodes]\n{lines}"));
    let metrics = |lines: &str| refused(&format!("[telemetry.metrics]\n{lines}"));
    for (refused, key, advice) in [
        (
            nodes("n1 = \"hall\"\nn2 = \"hall\"\n"),
            "telemetry.nodes.n2",
            "n1 has it",
        ),
        (
            nodes("n1 = \"hall\"\nsig = \"hall\"\n"),
            "telemetry.nodes.sig",
            "n1 has it",
        ),
        (
            nodes("n3 = \"gateway\"\n"),
            "telemetry.nodes.n3",
            "taken by the gateway",
        ),
        (
            nodes("node3 = \"stats\"\n"),
            "telemetry.nodes.node3",
            "taken by the gateway",
        ),
        (
            nodes("sts = \"signal\"\n"),
            "telemetry.nodes.sts",
            "taken by the gateway",
        ),
        (nodes("n1 = \"node2\"\n"), "telemetry.nodes.n1", "n2 has it"),
        (
            nodes("n1 = \"node2\"\nn2 = \"node2\"\n"),
            "telemetry.nodes.n2",
            "n1 has it",
        ),
        (
            metrics("t.name = \"humidity\"\n"),
            "telemetry.metrics.t.name",
            "h has it",
        ),
        (
            metrics("lux.name = \"light\"\nuv.name = \"light\"\n"),
            "telemetry.metrics.uv.name",
            "lux has it",
        ),
        (
            metrics("lux.unit = \"lx\"\nuv.name = \"lux\"\n"),
            "telemetry.metrics.uv.name",
            "lux has it",
        ),
        (
            metrics("\"a/b\".unit = \"x\"\nc.name = \"a_b\"\n"),
            "telemetry.metrics.c.name",
            "telemetry.metrics.\"a/b\"",
        ),
        (
            metrics("\"sig.snr\".name = \"rssi\"\n"),
            "telemetry.metrics.sig.snr.name",
            "sig.rssi has it",
        ),
    ] {
        assert_eq!(refused.len(), 1, "{refused:?}");
        assert_eq!(refused[0].0, key);
        assert!(refused[0].1.contains(advice), "{refused:?}");
    }
    for allowed in [
        nodes("n1 = \"hall\"\nn2 = \"Hall\"\nn3 = \"node3\"\nnode4 = \"attic\"\n"),
        nodes("n1 = \"node2\"\nn2 = \"node1\"\nsig = \"radio\"\nsts = \"stats\"\n"),
        nodes("n1 = \"hall\"\nnode1 = \"hall\"\n"),
        metrics("t.name = \"humidity\"\nh.name = \"temperature\"\n"),
        metrics("temperature.unit = \"K\"\n"),
        metrics("\"sig.rssi\".name = \"temperature\"\n"),
    ] {
        assert_eq!(allowed, []);
    }
    let errors = Folder::with(&format!(
        "{STDIN}[telemetry.nodes]\nn1 = \"hall\"\n\nn2 = \"hall\"\n"
    ));
    let errors = errors.load(&[], &[]).unwrap_err().to_string();
    assert!(
        errors.ends_with(
            "config.toml:6: telemetry.nodes.n2 is a name that is taken\n  found:   \"hall\"\n  \
             allowed: a name that nothing else has\n  advice:  n1 has it: give one of the two another name"
        ),
        "{errors}"
    );
}

#[test]
fn an_address_that_others_can_reach_needs_a_token() {
    let folder = Folder::with(STDIN);
    for (listen, token, allowed) in [
        ("127.0.0.1:8787", "", true),
        ("[::1]:0", "", true),
        ("127.9.9.9:8787", "secret", true),
        ("0.0.0.0:8787", "", false),
        ("[::]:8787", "", false),
        ("192.168.0.7:8787", "secret", true),
        ("192.168.0.7:8787", "two words", false),
        ("8787", "secret", false),
        ("localhost:8787", "secret", false),
    ] {
        let set = [format!("api.listen={listen}"), format!("api.token={token}")];
        let loaded = folder.load(&[], &[&set[0], &set[1]]);
        assert_eq!(loaded.is_ok(), allowed, "{listen} {token}");
    }
    assert!(folder.load(&[], &["api.token=x"]).unwrap().api.is_none());
}

#[test]
fn an_empty_secret_is_none() {
    let text = format!("{STDIN}[mqtt]\npassword = \"\"\n[influxdb]\norg = \"x\"\nbucket = \"y\"\n");
    let config = Folder::with(&text)
        .load(&[("INFLUXDB_TOKEN", "")], &[])
        .unwrap();
    assert!(config.mqtt.into_iter().next().unwrap().password.is_none());
    assert_eq!(
        config
            .influxdb
            .into_iter()
            .next()
            .unwrap()
            .token
            .expose_secret(),
        ""
    );
}

#[test]
fn the_journal_is_bounded_by_where_it_lives() {
    let folder = Folder::with(STDIN);
    let journal = |set: &[&str]| folder.load(&[], set).unwrap().journal;
    let file = journal(&[]);
    let expected = PathBuf::from("/home/pi/.local/state/fieldgate/journal.db");
    assert_eq!(file.path, JournalPath::File(expected));
    assert_eq!(file.max_messages, 10_000_000);
    let memory = journal(&["journal.path=:memory:"]);
    assert_eq!(memory.path, JournalPath::Memory);
    assert_eq!(memory.max_messages, 1_000);
    let both = journal(&["journal.path=:memory:", "journal.max_messages=5"]);
    assert_eq!(both.max_messages, 5);
}

#[test]
fn exactly_once_asks_no_more_of_a_broker_than_it_takes() {
    let folder = Folder::with(STDIN);
    let max_inflight = |set: &[&str]| {
        folder
            .load(&[], set)
            .unwrap()
            .mqtt
            .into_iter()
            .next()
            .unwrap()
            .max_inflight
    };
    assert_eq!(max_inflight(&["mqtt.qos=1"]), 100);
    assert_eq!(max_inflight(&["mqtt.qos=2"]), 20);
    assert_eq!(max_inflight(&["mqtt.qos=2", "mqtt.max_inflight=100"]), 100);
}

#[test]
fn a_journal_without_any_home_is_asked_for() {
    let environment: Environment = [("FIELDGATE_SOURCE_KIND", "stdin")].into_iter().collect();
    let missing = Path::new("/nonexistent/config.toml");
    let errors = load_or_default(&Overrides::default(), &environment, missing).unwrap_err();
    let keys: Vec<&str> = errors.iter().map(ConfigError::key).collect();
    assert_eq!(keys, ["journal.path"]);
}

#[test]
fn a_variable_that_is_no_utf8_is_refused() {
    use std::os::unix::ffi::OsStringExt;
    let strange = std::ffi::OsString::from_vec(vec![b'/', 0xff]);
    let variables = [
        ("HOME", "/".into()),
        ("FIELDGATE_SOURCE_KIND", "stdin".into()),
        ("FIELDGATE_LOG_DIR", strange),
    ];
    let missing = Path::new("/nonexistent/config.toml");
    let environment = variables.into_iter().collect();
    let errors = load_or_default(&Overrides::default(), &environment, missing).unwrap_err();
    assert!(
        errors.to_string().contains("text that is not UTF-8"),
        "{errors}"
    );
}

#[test]
fn a_file_that_is_no_utf8_is_an_error_and_no_panic() {
    let folder = Folder::empty();
    fs::write(folder.file(), [0xff, 0xfe]).unwrap();
    let errors = folder.load(&[], &[]).unwrap_err();
    assert!(errors.to_string().contains("cannot be read"), "{errors}");
}

#[test]
fn durations_are_text_or_seconds_in_every_layer() {
    for (written, millis) in [
        ("3", 3_000),
        ("0.5", 500),
        ("\"1m 30s\"", 90_000),
        ("\"2\"", 0),
    ] {
        let folder = Folder::with(&format!("shutdown_timeout = {written}\n{STDIN}"));
        let expected = (millis > 0).then_some(Duration::from_millis(millis));
        let loaded = folder
            .load(&[], &[])
            .ok()
            .map(|config| config.shutdown_timeout);
        assert_eq!(loaded, expected, "{written}");
    }
    for (written, millis) in [
        ("3", 3_000),
        ("0.5", 500),
        ("1m 30s", 90_000),
        ("250ms", 250),
    ] {
        let folder = Folder::with(STDIN);
        let variable = [("FIELDGATE_SHUTDOWN_TIMEOUT", written)];
        let assignment = format!("shutdown_timeout={written}");
        for loaded in [
            folder.load(&variable, &[]),
            folder.load(&[], &[&assignment]),
        ] {
            assert_eq!(
                loaded.unwrap().shutdown_timeout,
                Duration::from_millis(millis)
            );
        }
    }
}

#[test]
fn sizes_have_units() {
    let folder = Folder::with(STDIN);
    for (written, expected) in [
        ("65536", Some(65_536)),
        ("65535", None),
        ("512MiB", Some(512 << 20)),
        ("512 mib", Some(512 << 20)),
        ("2GB", Some(2_000_000_000)),
        ("1_000 kB", Some(1_000_000)),
        ("9223372036854775808", None),
        ("99999999TiB", None),
        ("1.5GB", None),
        ("-1", None),
        ("MB", None),
    ] {
        let loaded = folder.load(&[], &[&format!("journal.max_bytes={written}")]);
        let bytes = loaded.map(|config| config.journal.max_bytes);
        assert_eq!(bytes.ok().flatten(), expected, "{written}");
    }
}

#[test]
fn a_broker_has_a_host_and_a_port() {
    let folder = Folder::with(STDIN);
    for (url, expected) in [
        ("mqtt://localhost", Some(("localhost", 1883))),
        ("tcp://10.0.0.1:18830/", Some(("10.0.0.1", 18830))),
        ("mqtt://[::1]:1884", Some(("[::1]", 1884))),
        ("mqtt://", None),
        ("mqtt://localhost:0", None),
        ("mqtt://localhost:99999", None),
        ("mqtt://localhost/topic", None),
        ("mqtt://localhost?x", None),
        ("mqtt://pi@localhost", None),
        ("mqtts://localhost", Some(("localhost", 8883))),
        ("ssl://localhost:8884", Some(("localhost", 8884))),
        ("ws://localhost", Some(("localhost", 80))),
        ("wss://localhost:9001/mqtt", Some(("localhost", 9001))),
        ("ws://localhost/mqtt?x", None),
        ("http://localhost", None),
        ("localhost:1883", None),
        ("localhost", None),
        ("mqtt:localhost", None),
    ] {
        let loaded = folder.load(&[], &[&format!("mqtt.broker_url={url}")]);
        let mqtt = loaded
            .ok()
            .map(|config| config.mqtt.into_iter().next().unwrap());
        let broker = mqtt.as_ref().map(|mqtt| (mqtt.host.as_str(), mqtt.port));
        assert_eq!(broker, expected, "{url}");
    }
}

#[test]
fn a_misspelt_level_does_not_pass_as_a_filter() {
    let folder = Folder::with(STDIN);
    for (level, allowed) in [
        ("info", true),
        ("WARN", true),
        ("off", true),
        ("warn,fieldgate::sink=debug,rumqttc=off", true),
        ("fieldgate[span{field=1}]=trace", true),
        ("inof", false),
        ("info,wran", false),
        ("info,", false),
        ("fieldgate=wran", false),
        (" ", false),
    ] {
        let loaded = folder.load(&[], &[&format!("log.level={level}")]);
        assert_eq!(loaded.is_ok(), allowed, "{level:?}");
    }
}

#[test]
fn every_default_is_allowed() {
    let folder = Folder::with(STDIN);
    let config = folder.load(&[], &["mqtt.qos=1", "influxdb.gzip=true"]);
    let config = config.unwrap_or_else(|errors| panic!("{errors}"));
    let mqtt = config.mqtt.into_iter().next().unwrap();
    assert_eq!((mqtt.host.as_str(), mqtt.port), ("localhost", 1883));
    assert_eq!(mqtt.client_id, "fieldgate-gateway");
    let influxdb = config.influxdb.into_iter().next().unwrap();
    assert_eq!(influxdb.url.as_str(), "http://localhost:8086/");
    assert_eq!(
        (influxdb.org.as_str(), influxdb.bucket.as_str()),
        ("my-org", "telemetry")
    );
    assert_eq!(config.log.max_files, 14);
    assert_eq!(config.shutdown_timeout, Duration::from_secs(5));
    assert_eq!(config.telemetry.clock_tolerance, Duration::from_secs(2));
}
