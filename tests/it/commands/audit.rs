//! `audit`: what a database lacks of the journal is found to the reading, and mended.

use serde_json::Value;

use super::{Ended, about, ended};
use crate::support::{
    Fieldgate, PATIENCE, Point, QueriedDatabase, Speaks, VictoriaMetrics, request,
};

/// A gateway to a database, fed by standard input.
fn gateway(url: &str, more: &str) -> Fieldgate {
    let config = format!(
        "gateway = \"hall\"\n[source]\nkind = \"stdin\"\n\
         [influxdb]\nurl = \"{url}\"\ntoken = \"{}\"\ngzip = false\nflush_interval = \"10ms\"\n{more}",
        QueriedDatabase::TOKEN
    );
    Fieldgate::new(&config).start()
}

/// Packets of two nodes, three readings each.
fn send(gateway: &mut Fieldgate, packets: std::ops::Range<u32>) {
    for number in packets {
        let time = number * 1_000;
        let packet = format!(
            "{{\"ts\":{time},\"id\":\"N1\",\"n1\":{{\"t\":{number}.1,\"h\":0.3}},\"n2\":{{\"t\":{number}}}}}\n"
        );
        gateway.write_stdin(packet.as_bytes());
    }
}

fn end(gateway: &mut Fieldgate) {
    gateway.close_stdin();
    assert!(gateway.wait_exit(PATIENCE).success());
}

fn audit(gateway: &Fieldgate, arguments: &[&str]) -> Ended {
    audit_of("influxdb", gateway, arguments)
}

fn audit_of(database: &str, gateway: &Fieldgate, arguments: &[&str]) -> Ended {
    let arguments = [&[database], arguments].concat();
    let ended = ended(about(gateway, "audit", &arguments).start());
    for text in [&ended.stdout, &ended.stderr] {
        assert!(!text.contains(QueriedDatabase::TOKEN), "{text}");
    }
    ended
}

/// The last line of an audit that ends like this.
fn total(gateway: &Fieldgate, arguments: &[&str], code: i32) -> String {
    total_of(&audit(gateway, arguments), code)
}

const CLEAN: &str = "30 readings: 0 missing, 0 different, 0 waiting, 0 rejected";

#[test]
fn what_victoriametrics_lost_is_found_and_mended_and_nothing_else() {
    let database = VictoriaMetrics::start();
    let mut gateway = gateway(&database.url(), "");
    send(&mut gateway, 1..11);
    database.wait_for_points("{gateway=\"hall\"}", 30, PATIENCE);
    let all = database.export("temperature{node_id=\"node1\"}").remove(0);
    end(&mut gateway);
    assert_eq!(total(&gateway, &[], 0), CLEAN);

    // A gap, and a value that is another one: all of a series goes, and some of it comes back.
    database.delete("temperature{node_id=\"node1\"}");
    let lines = all.timestamps_ms.iter().zip(&all.values).take(6);
    let lines = lines.map(|(time, value)| {
        let value = if *value > 5.5 { -99.0 } else { *value };
        format!("temperature,gateway=hall,node_id=node1,sensor_type=environmental value={value} {time}000000\n")
    });
    let lines = lines.collect::<Vec<String>>().concat();
    let target = "/api/v2/write?bucket=telemetry&org=my-org&precision=ns";
    let written = request(database.port(), "POST", target, &[], lines.as_bytes()).unwrap();
    assert_eq!(written.status, 204, "{}", written.body);
    database.wait_for_points("temperature{node_id=\"node1\"}", 6, PATIENCE);
    let found = audit(&gateway, &["--json"]);
    assert_eq!(found.code, Some(1), "{}", found.stderr);
    let lines = found.stdout.lines();
    let lines: Vec<Value> = lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    // The hour may have ended in between.
    let (last, series) = lines.split_last().unwrap();
    let counted = ["compared", "missing", "different", "unknown"];
    let counted = counted.map(|key| last["total"][key].as_u64().unwrap());
    assert_eq!(counted, [30, 4, 1, 0], "{last}");
    assert!(
        series
            .iter()
            .all(|it| it["node"] == "node1" && it["metric"] == "temperature")
    );
    let counts = |key: &str| -> u64 {
        let counts = series.iter().filter_map(|it| it[key]["count"].as_u64());
        counts.sum()
    };
    let sums = ["journal", "database", "missing", "different"].map(counts);
    assert_eq!(sums, [10, 6, 4, 1]);

    // Of two values at one time, this database keeps the larger one.
    let mended = total(&gateway, &["--repair"], 0);
    assert!(
        mended.contains("4 missing, 1 different") && mended.contains("5 were sent again"),
        "{mended}"
    );
    assert_eq!(total(&gateway, &[], 0), CLEAN);

    // Under a name that nobody sent.
    let now = fieldgate::telemetry::Timestamp::now().0;
    let line = format!("lux,gateway=hall,node_id=node1 value=1 {now}\n");
    let written = request(database.port(), "POST", target, &[], line.as_bytes()).unwrap();
    assert_eq!(written.status, 204, "{}", written.body);
    database.wait_for_points("lux", 1, PATIENCE);
    let told = audit(&gateway, &[]);
    let unknown = format!("{CLEAN}; 1 are there that the journal has not");
    assert_eq!(total_of(&told, 0), unknown);
    let name = " node1/lux: 1 that the journal has not\n";
    assert!(told.stdout.contains(name), "{}", told.stdout);
}

fn total_of(found: &Ended, code: i32) -> String {
    assert_eq!(found.code, Some(code), "{}\n{}", found.stdout, found.stderr);
    found.stdout.lines().last().unwrap().to_owned()
}

#[test]
fn each_database_is_compared_with_what_goes_there_alone() {
    let databases = [VictoriaMetrics::start(), VictoriaMetrics::start()];
    let [attic, cellar] = &databases;
    let section = |name: &str, database: &VictoriaMetrics, chosen: &str| {
        format!(
            "[[influxdb]]\nname = \"{name}\"\nurl = \"{}\"\nflush_interval = \"10ms\"\n{chosen}\n",
            database.url()
        )
    };
    let mut gateway = Fieldgate::new(&format!(
        "gateway = \"hall\"\n[source]\nkind = \"stdin\"\n{}{}",
        section("attic", attic, "only = [\"node1/*\"]"),
        section("cellar", cellar, "not = [\"*/humidity\"]"),
    ))
    .start();
    send(&mut gateway, 1..11);
    let held = |database: &VictoriaMetrics, selector: &str| -> usize {
        let series = database.export(selector);
        series.iter().map(|one| one.values.len()).sum()
    };
    for database in &databases {
        database.wait_for_points("{gateway=\"hall\"}", 20, PATIENCE);
    }
    end(&mut gateway);
    let clean = "20 readings: 0 missing, 0 different, 0 waiting, 0 rejected";
    let audit = |database: &str, arguments: &[&str], code| {
        total_of(&audit_of(database, &gateway, arguments), code)
    };
    assert_eq!(audit("attic", &[], 0), clean);
    assert_eq!(audit("influxdb cellar", &[], 0), clean);

    // Whole series, more than once: what is new there is seen as soon as it is sent.
    for _ in 0..2 {
        cellar.delete("temperature{node_id=\"node1\"}");
        attic.delete("humidity");
        let found = audit_of("cellar", &gateway, &[]);
        let lacks = "20 readings: 10 missing, 0 different, 0 waiting, 0 rejected";
        assert_eq!(total_of(&found, 1), lacks);
        let names_one =
            |line: &str| line.contains(" node1/temperature: ") || line.contains("20 readings");
        assert!(
            found.stdout.lines().skip(1).all(names_one),
            "{}",
            found.stdout
        );
        let mended = format!("{lacks}; 10 were sent again and are there");
        assert_eq!(audit("cellar", &["--repair"], 0), mended);
        assert_eq!(audit("cellar", &[], 0), clean);
        // The other one lacks what it lacked, until its turn comes.
        assert_eq!(held(attic, "humidity"), 0);
        assert_eq!(audit("attic", &["--repair"], 0), mended);
        assert_eq!(audit("attic", &[], 0), clean);
    }
    for (database, selector, count) in [
        (attic, "{node_id=\"node2\"}", 0),
        (attic, "{gateway=\"hall\"}", 20),
        (cellar, "humidity", 0),
        (cellar, "{gateway=\"hall\"}", 20),
    ] {
        assert_eq!(held(database, selector), count, "{selector}");
    }
}

#[test]
fn what_influxdb_lost_is_found_and_mended_in_each_language() {
    for speaks in [Speaks::Flux, Speaks::InfluxQl] {
        let database = QueriedDatabase::start(speaks);
        let mut gateway = gateway(&database.url(), "");
        send(&mut gateway, 1..11);
        end(&mut gateway);
        // Half a million hours, of which one or two have readings.
        let since = ["--since", "1970-01-01T00:00:00Z"];
        assert_eq!(total(&gateway, &since, 0), CLEAN);
        let before = database.points().clone();
        {
            let mut points = database.points();
            let is_gone = |point: &Point| point.value.to_string() == "3.1";
            points.retain(|point| !is_gone(point));
            let is_swapped = |point: &Point| ["5", "6"].contains(&&*point.value.to_string());
            for point in points.iter_mut().filter(|point| is_swapped(point)) {
                point.value = 11.0 - point.value;
            }
            // No sum would tell.
            let is_grazed = |point: &&mut Point| point.value.to_string() == "7.1";
            let grazed = points.iter_mut().find(is_grazed).unwrap();
            grazed.value += 1e-12;
            let mut unknown = points[points.len() - 1].clone();
            unknown.timestamp_ns += 1;
            points.push(unknown.clone());
            // Under names that nobody sent; what `check` writes is none of them.
            for (metric, node) in [("lux", "node1"), ("temperature", "node9")] {
                metric.clone_into(&mut unknown.measurement);
                unknown.tags.insert("node_id".to_owned(), node.to_owned());
                points.push(unknown.clone());
            }
            "fieldgate_check".clone_into(&mut unknown.measurement);
            points.push(unknown);
            // Not this gateway's.
            let mut other = points[0].clone();
            other.tags.insert("gateway".to_owned(), "yard".to_owned());
            points.push(other);
        }
        let found = audit(&gateway, &[]);
        let last = total_of(&found, 1);
        assert_eq!(
            last,
            "30 readings: 1 missing, 3 different, 0 waiting, 0 rejected; 3 are there that the journal has not"
        );
        for name in ["node1/lux", "node9/temperature"] {
            let told = format!(" {name}: 1 that the journal has not\n");
            assert!(found.stdout.contains(&told), "{}", found.stdout);
        }
        assert!(
            found.stdout.contains(" node1/temperature: 1 of "),
            "{}",
            found.stdout
        );
        assert!(
            found.stdout.contains(" node2/temperature: 2 of "),
            "{}",
            found.stdout
        );
        let mended = total(&gateway, &["--repair"], 0);
        assert!(mended.contains("4 were sent again"), "{mended}");
        for point in &before {
            assert!(database.points().contains(point), "{point:?}");
        }
        assert_eq!(database.points().len(), before.len() + 5);
        let clean = total(&gateway, &[], 0);
        assert!(clean.starts_with(CLEAN), "{clean}");
    }
}

#[test]
fn what_waits_or_was_refused_is_not_missing() {
    let database = QueriedDatabase::start(Speaks::Flux);
    let mut gateway = gateway(&database.url(), "");
    send(&mut gateway, 1..11);
    end(&mut gateway);
    let gone = database.points().remove(0);
    let journal = gateway.folder().join("fieldgate/journal.db");
    let journal = rusqlite::Connection::open(journal).unwrap();
    journal
        .execute(
            "INSERT INTO rejected (rejected_at, sink, sequence, event_time, node, metric, value,
                 reason_name, reason)
             VALUES (?1, 'influxdb', 1, ?1, ?2, ?3, ?4, 'refused', 'field type conflict')",
            rusqlite::params![
                gone.timestamp_ns,
                gone.tags["node_id"],
                gone.measurement,
                gone.value
            ],
        )
        .unwrap();
    let told = total(&gateway, &[], 0);
    assert!(
        told.contains("0 missing, 0 different, 0 waiting, 1 rejected"),
        "{told}"
    );
    // What a sink has before it again waits, and is not sent by a repair.
    let rewound = about(&gateway, "rewind", &["influxdb", "--to", "oldest"]);
    assert_eq!(ended(rewound.start()).code, Some(0));
    database.points().truncate(20);
    let told = total(&gateway, &["--repair"], 0);
    assert!(
        told.contains("0 missing, 0 different, 10 waiting"),
        "{told}"
    );
    assert_eq!(database.points().len(), 20);
}

#[test]
fn what_is_refused_holds_up_no_repair() {
    let database = QueriedDatabase::start(Speaks::Flux);
    let mut gateway = gateway(&database.url(), "");
    send(&mut gateway, 1..11);
    end(&mut gateway);
    database.points().clear();
    database.refuse("humidity");
    let told = total(&gateway, &["--repair"], 1);
    let words = "30 readings: 30 missing, 0 different, 0 waiting, 0 rejected; 20 were sent again \
                 and are there; 10 were sent again and are not seen there (the server: failure \
                 writing points to database: partial write: field type conflict";
    assert!(told.starts_with(words), "{told}");
    assert_eq!(database.points().len(), 20);
}

#[test]
fn what_cannot_be_told_is_said_and_why() {
    let database = QueriedDatabase::start(Speaks::Flux);
    let mut gateway = gateway(&database.url(), "");
    send(&mut gateway, 1..3);
    end(&mut gateway);
    let write_token = format!("influxdb.token={}", QueriedDatabase::WRITE_TOKEN);
    for (arguments, words) in [
        (
            &["--set", "influxdb.token=wrong-token"][..],
            "token rejected",
        ),
        (
            &["--set", "influxdb.url=http://127.0.0.1:1"],
            "cannot be reached",
        ),
        // The same server would answer another question in InfluxQL, whatever the organisation.
        (&["--set", "influxdb.org=other"], "org \"other\" not found"),
        (
            &["--set", "influxdb.bucket=other"],
            "bucket \"other\" not found, or the token may not read it",
        ),
        (
            &["--set", &write_token],
            "bucket \"telemetry\" not found, or the token may not read it",
        ),
        (
            &["--since", "yesterday"],
            "--since \"yesterday\" is no time",
        ),
    ] {
        let found = audit(&gateway, arguments);
        assert_eq!(found.code, Some(2), "{arguments:?} {}", found.stdout);
        assert!(
            found.stderr.contains(words),
            "{arguments:?} {}",
            found.stderr
        );
        assert!(!found.stderr.contains("wrong-token"), "{}", found.stderr);
    }
}
