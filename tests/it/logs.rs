//! The log as it is found afterwards.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::{
    ContractServer, Fieldgate, Mosquitto, PATIENCE, Reply, Sample, Signal, packets, poll, request,
};

/// Replays a sample to its end with these keys of `[log]`.
fn run(log: &str) -> Fieldgate {
    let broker = Mosquitto::start();
    let mut gateway = Fieldgate::new(&format!(
        "[source]\nkind = \"file\"\npath = '{}'\nspeed = \"max\"\n\
         [mqtt]\nbroker_url = \"{}\"\n[log]\n{log}\n",
        Sample::Dirty.path().display(),
        broker.url(),
    ))
    .start();
    assert!(gateway.wait_exit(PATIENCE).success());
    gateway
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// The lines of all log files; there are two when one was begun during the test.
fn lines(gateway: &Fieldgate) -> Vec<String> {
    let files = files(&gateway.folder().join("logs"));
    let texts = files.iter().map(|path| fs::read_to_string(path).unwrap());
    let lines: Vec<String> = texts
        .flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    assert!(!lines.is_empty());
    lines
}

#[test]
fn files_hold_the_same_lines_as_the_terminal_to_the_last() {
    for format in ["text", "json"] {
        let mut gateway = run(&format!("dir = \"logs\"\nformat = \"{format}\""));
        let mut printed = gateway.stdout();
        let summary = printed.pop().unwrap();
        assert!(summary.starts_with("Stopped. 43 packets"), "{summary}");
        // Each writer takes the time for itself.
        let without_time = |lines: &[String]| -> Vec<String> {
            let start = if format == "json" {
                "\",\"level\""
            } else {
                "  "
            };
            let rest = lines
                .iter()
                .map(|line| line.split_once(start).unwrap().1.to_owned());
            rest.collect()
        };
        let lines = lines(&gateway);
        // Two threads that log at the same moment may reach the two writers in either order.
        let sorted = |lines: &[String]| -> Vec<String> {
            let mut lines = without_time(lines);
            lines.sort();
            lines
        };
        assert_eq!(sorted(&lines), sorted(&printed));
        assert!(lines[0].contains("Starting."), "{}", lines[0]);
        assert!(lines.last().unwrap().contains("Metrics: "), "{lines:?}");
        assert!(lines.iter().all(|line| !line.contains('\u{1b}')));
        assert_eq!(gateway.stderr(), [""; 0]);
    }
}

#[test]
fn a_json_log_has_one_object_a_line() {
    let gateway = run("dir = \"logs\"\nformat = \"json\"\noutput = \"stderr\"");
    let lines = lines(&gateway);
    let objects: Vec<serde_json::Value> = lines
        .iter()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    for object in &objects {
        for field in ["timestamp", "level", "message", "target"] {
            assert!(object[field].is_string(), "{object}");
        }
    }
    let connected = objects.iter().find(|it| it["message"] == "Connected.");
    assert_eq!(connected.expect("never connected")["link"], "mqtt");
}

#[test]
fn the_log_goes_where_it_is_told() {
    let mut gateway = run("output = \"stderr\"");
    assert_eq!(gateway.stdout().len(), 1, "the summary alone");
    assert!(gateway.stderr()[0].contains("Starting."));
}

#[test]
fn the_level_says_which_lines_are_written() {
    for (level, present, absent) in [
        ("debug", Some("Rejected a frame"), None),
        ("info", Some("Starting."), Some("Rejected a frame")),
        ("warn", Some("Packets were lost"), Some("Starting.")),
        ("error", None, Some("Packets were lost")),
        (
            "warn,fieldgate::pipeline=debug",
            Some("Rejected a frame"),
            Some("Starting."),
        ),
    ] {
        let printed = run(&format!("level = \"{level}\"")).stdout().join("\n");
        let holds = |text: &str| printed.contains(text);
        assert!(present.is_none_or(holds), "{level}: {printed}");
        assert!(!absent.is_some_and(holds), "{level}: {printed}");
    }
}

#[test]
fn what_repeats_with_every_frame_is_one_line_and_its_end() {
    let mut gateway = Fieldgate::new("[source]\nkind = \"stdin\"\n").start();
    for number in 1..=2_000_u64 {
        // Each time two packets are missing.
        let frame = format!(
            "{{\"ts\":{},\"id\":\"N2\",\"sts\":{{\"rx\":{},\"err\":0}}}}\n",
            number * 10,
            number * 3
        );
        gateway.write_stdin(frame.as_bytes());
    }
    gateway.close_stdin();
    assert!(gateway.wait_exit(PATIENCE).success());
    let lines = gateway.stdout();
    let losses: Vec<_> = lines
        .iter()
        .filter(|line| line.contains("Packets were lost"))
        .collect();
    assert_eq!(losses.len(), 2, "{losses:?}");
    assert!(losses[0].ends_with("missed=2"), "{losses:?}");
    for part in [
        "missed=3998 ",
        "repeated=\"1999 times in ",
        ", then no more\"",
    ] {
        assert!(losses[1].contains(part), "{losses:?}");
    }
}

#[test]
fn a_port_that_stays_away_is_said_once() {
    let mut gateway = Fieldgate::new(
        "[source]\nkind = \"serial\"\nport = \"nowhere\"\n[api]\nlisten = \"127.0.0.1:0\"\n",
    )
    .start();
    let listens = gateway.wait_for_log("The HTTP API listens", PATIENCE);
    let port = listens.rsplit(':').next().unwrap().trim().parse().unwrap();
    let mut attempts = BTreeSet::new();
    poll(PATIENCE, || {
        let snapshot = request(port, "GET", "/api/v1/snapshot", &[], b"")
            .unwrap()
            .body;
        let snapshot: serde_json::Value = serde_json::from_str(&snapshot).unwrap();
        let until = &snapshot["source"]["until"];
        attempts.extend((!until.is_null()).then(|| until.to_string()));
        (attempts.len() >= 3).then_some(())
    })
    .unwrap_or_else(|| panic!("{attempts:?}"));
    gateway.signal(Signal::SIGTERM);
    gateway.wait_exit(PATIENCE);
    let lines = gateway.stdout();
    let lines: Vec<_> = lines
        .iter()
        .filter(|line| line.contains("does not deliver"))
        .collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[1].contains(", then no more"), "{lines:?}");
}

#[test]
fn many_points_refused_are_one_line_and_its_end() {
    let server = ContractServer::start();
    server.always(Reply::RejectIf(400, std::sync::Arc::new(|_| true)));
    let mut gateway = Fieldgate::new(&format!(
        "[source]\nkind = \"stdin\"\n[influxdb]\nurl = \"{}\"\norg = \"{}\"\nbucket = \"{}\"\ntoken = \"{}\"\n",
        server.url(),
        ContractServer::ORG,
        ContractServer::BUCKET,
        ContractServer::TOKEN,
    ))
    .start();
    gateway.write_stdin(packets(1..=100).as_bytes());
    gateway.close_stdin();
    assert!(gateway.wait_exit(PATIENCE).success());
    let summary = gateway.stdout().pop().unwrap();
    let rejected = summary
        .split(" rejected")
        .next()
        .unwrap()
        .rsplit(' ')
        .next()
        .unwrap();
    assert!(rejected.parse::<u32>().unwrap() > 100, "{summary}");
    let lines = gateway.stdout();
    let lines: Vec<_> = lines
        .iter()
        .filter(|line| line.contains("Rejected for good"))
        .collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    let sum = format!("repeated=\"{rejected} times in ");
    assert!(lines[1].contains(&sum), "{lines:?}");
}

#[test]
fn files_are_named_by_when_they_were_begun() {
    for (rotation, pattern) in [
        ("never", "fieldgate.log"),
        ("daily", "fieldgate.9999-99-99.log"),
        ("hourly", "fieldgate.9999-99-99-99.log"),
    ] {
        let gateway = run(&format!("dir = \"logs\"\nrotation = \"{rotation}\""));
        for path in files(&gateway.folder().join("logs")) {
            let name = path.file_name().unwrap().to_str().unwrap();
            assert_eq!(name.replace(|c: char| c.is_ascii_digit(), "9"), pattern);
        }
    }
}

#[test]
fn the_oldest_files_go() {
    let broker = Mosquitto::start();
    let gateway = Fieldgate::new(&format!(
        "[source]\nkind = \"stdin\"\n[mqtt]\nbroker_url = \"{}\"\n\
         [log]\ndir = \"logs\"\nmax_files = 2\n",
        broker.url()
    ));
    fs::create_dir(gateway.folder().join("logs")).unwrap();
    for day in 1..=4 {
        gateway.write_file(&format!("logs/fieldgate.2020-01-0{day}.log"), "old\n");
    }
    let mut gateway = gateway.start();
    gateway.close_stdin();
    assert!(gateway.wait_exit(PATIENCE).success());
    let kept = files(&gateway.folder().join("logs"));
    assert_eq!(kept.len(), 2, "{kept:?}");
    let newest = fs::read_to_string(kept.last().unwrap()).unwrap();
    assert!(newest.contains("Starting."), "{kept:?}");
}

#[test]
fn a_folder_that_cannot_be_written_is_said_at_once() {
    let mut gateway = Fieldgate::new("[log]\ndir = \"config.toml\"\n").start();
    assert_eq!(gateway.wait_exit(PATIENCE).code(), Some(1));
    let printed = gateway.stderr().join("\n");
    assert!(
        printed.contains("cannot write log files into config.toml"),
        "{printed}"
    );
}

#[test]
fn what_is_not_0_is_in_the_log_at_the_end() {
    let line = run("").stdout();
    let line = line.iter().find(|line| line.contains("Metrics: "));
    let line = line.expect("no metrics");
    for name in [
        "telemetry_packets_processed_total 43",
        r#"telemetry_frames_rejected_total{reason="syntax"} "#,
    ] {
        assert!(line.contains(name), "no {name} in {line}");
    }
    assert!(!line.contains(" 0,") && !line.ends_with(" 0."), "{line}");
}

#[test]
fn the_log_says_what_changed_and_nothing_else() {
    for (interval, expected) in [("1s", true), ("off", false)] {
        let mut gateway = Fieldgate::new(&format!(
            "[source]\nkind = \"simulator\"\nrate = 20\n[log]\nmetrics = \"{interval}\"\n"
        ))
        .start();
        if expected {
            let line = gateway.wait_for_log("Metrics: packets processed +", PATIENCE);
            assert!(line.len() < 400 && !line.contains(" +0"), "{line}");
        } else {
            gateway.wait_for_log("Starting.", PATIENCE);
        }
        gateway.signal(Signal::SIGTERM);
        assert!(gateway.wait_exit(PATIENCE).success());
        let all = gateway.stdout();
        let count = all.iter().filter(|line| line.contains("Metrics: ")).count();
        assert_eq!(count > 0, expected, "{all:?}");
    }
}
