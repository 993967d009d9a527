//! `export`: what is in the journal, while a gateway writes to it and after.

use serde_json::Value;

use super::{about, ended};
use crate::support::{Fieldgate, PATIENCE, parse_lines};

/// A gateway without sinks whose journal holds these packets: two nodes, one a minute.
fn gateway(packets: u64) -> Fieldgate {
    let config = "gateway = \"hall\"\n[source]\nkind = \"stdin\"\n[telemetry.nodes]\nn1 = \"green, \\\"house\\\"\"\n";
    let mut gateway = Fieldgate::new(config).start();
    for number in 0..packets {
        let time = number * 60_000;
        let packet = format!(
            "{{\"ts\":{time},\"id\":\"N2\",\"n1\":{{\"t\":{number}.5}},\"n2\":{{\"h\":{number},\"p\":1000}}}}\n"
        );
        gateway.write_stdin(packet.as_bytes());
    }
    gateway
}

fn export(gateway: &Fieldgate, arguments: &[&str]) -> super::Ended {
    ended(about(gateway, "export", arguments).start())
}

fn wait_for_rows(gateway: &Fieldgate, readings: usize) -> String {
    let found = crate::support::poll(PATIENCE, || {
        let csv = export(gateway, &[]);
        (csv.code == Some(0) && csv.stdout.lines().count() > readings).then_some(csv.stdout)
    });
    found.expect("the journal stays without its rows")
}

#[test]
fn every_format_holds_every_reading_while_the_gateway_runs_and_after() {
    let mut gateway = gateway(3);
    let running = wait_for_rows(&gateway, 9);
    let lines: Vec<&str> = running.lines().collect();
    assert_eq!(lines[0], "time,received,node,metric,value");
    assert_eq!(lines.len(), 10, "{running}");
    assert!(
        lines[1].ends_with(",\"green, \"\"house\"\"\",temperature,0.5"),
        "{running}"
    );
    assert!(lines[2].ends_with(",node2,humidity,0"), "{running}");

    gateway.close_stdin();
    assert!(gateway.wait_exit(PATIENCE).success());
    let csv = export(&gateway, &[]);
    assert_eq!(csv.stdout, running);
    assert!(csv.stderr.contains("Exported 9 readings"), "{}", csv.stderr);

    let json = export(&gateway, &["--format", "jsonl"]).stdout;
    let json: Vec<Value> = json
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(json.len(), 9);
    assert_eq!(
        (json[0]["node"].as_str(), json[0]["value"].as_f64()),
        (Some("green, \"house\""), Some(0.5))
    );

    let points = export(&gateway, &["--format", "line"]).stdout;
    let points = parse_lines(&points).unwrap();
    assert_eq!(points.len(), 9);
    assert!(points.iter().all(|point| point.tags["gateway"] == "hall"));
    for (line, point) in lines[1..].iter().zip(&json) {
        assert!(line.starts_with(point["time"].as_str().unwrap()), "{line}");
    }
}

#[test]
fn time_node_and_metric_narrow_it_down() {
    let mut gateway = gateway(5);
    gateway.close_stdin();
    assert!(gateway.wait_exit(PATIENCE).success());
    let rows = |arguments: &[&str]| {
        let csv = export(&gateway, arguments);
        assert_eq!(csv.code, Some(0), "{}", csv.stderr);
        csv.stdout
            .lines()
            .skip(1)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let all = rows(&[]);
    assert_eq!(all.len(), 15);
    let time = |row: &str| row.split(',').next().unwrap().to_owned();
    assert_eq!(rows(&["--node", "node2"]).len(), 10);
    assert_eq!(rows(&["--node", "node2", "--metric", "humidity"]).len(), 5);
    assert_eq!(
        rows(&["--metric", "humidity", "--metric", "temperature"]).len(),
        10
    );
    let (second, fourth) = (time(&all[3]), time(&all[9]));
    assert_eq!(rows(&["--from", &second]), all[3..]);
    assert_eq!(rows(&["--to", &fourth]), all[..9]);
    assert_eq!(rows(&["--from", &second, "--to", &fourth]), all[3..9]);
    assert_eq!(rows(&["--from", "2100-01-01T00:00:00Z"]), [] as [String; 0]);

    let wrong = export(&gateway, &["--from", "yesterday"]);
    assert_eq!(wrong.code, Some(1));
    assert!(wrong.stderr.contains("--from"), "{}", wrong.stderr);
    let file = gateway.folder().join("out.csv");
    let written = export(&gateway, &["--output", file.to_str().unwrap()]);
    assert_eq!((written.code, written.stdout.as_str()), (Some(0), ""));
    assert_eq!(std::fs::read_to_string(file).unwrap().lines().count(), 16);
}

#[test]
fn a_time_that_ends_before_it_begins_is_said() {
    let gateway = gateway(1);
    wait_for_rows(&gateway, 3);
    let backwards = [
        "--from",
        "2026-03-02T00:00:00Z",
        "--to",
        "2026-03-01T00:00:00Z",
    ];
    let printed = export(&gateway, &backwards);
    assert_eq!((printed.code, printed.stdout.as_str()), (Some(1), ""));
    assert!(printed.stderr.contains("before"), "{}", printed.stderr);
}

#[test]
fn what_is_no_journal_is_said() {
    let nowhere = Fieldgate::with_arguments(&["export", "--journal", "nowhere.db"]);
    let nowhere = ended(nowhere.start());
    assert_eq!(nowhere.code, Some(1));
    assert!(nowhere.stderr.contains("nowhere.db"), "{}", nowhere.stderr);
    let memory = ended(Fieldgate::with_arguments(&["export", "--journal", ":memory:"]).start());
    assert!(memory.stderr.contains("in the memory"), "{}", memory.stderr);
    let text = Fieldgate::with_arguments(&["export", "--journal", "text.db"]);
    text.write_file(
        "text.db",
        "This is no database, though it is long enough to be one.",
    );
    assert_eq!(ended(text.start()).code, Some(1));
}
