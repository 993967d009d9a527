//! At which times readings are stored: never in the future, and as far apart as they were measured.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fieldgate::monitor::{Command, Recording};
use serde_json::Value;

use crate::crash::{journaled, try_journaled};
use crate::support::{
    Fieldgate, Gateway, Mosquitto, PATIENCE, Pty, Signal, Subscriber, VictoriaMetrics, poll,
    request,
};

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_nanos()).unwrap()
}

/// Packets ten seconds apart by the board's clock, numbered from 1 as its radio counts them.
fn packets(count: u64) -> String {
    (1..=count).fold(String::new(), |mut lines, number| {
        let (ts, temperature) = (2_000 + 10_000 * number, number % 100);
        writeln!(
            lines,
            "{{\"ts\":{ts},\"id\":\"N2\",\"n1\":{{\"t\":{temperature}}},\"sts\":{{\"rx\":{number},\"err\":0}}}}"
        )
        .unwrap();
        lines
    })
}

fn wait_for_journal(gateway: &Fieldgate, count: u64) -> BTreeMap<u64, i64> {
    let path = gateway.folder().join("journal.db");
    let all = poll(PATIENCE, || {
        let found = try_journaled(&path).ok()?;
        (found.len() as u64 >= count).then_some(found)
    });
    all.expect("packets are missing from the journal")
}

/// Fails unless the times are ten seconds apart and end between these.
fn assert_ends(times: &BTreeMap<u64, i64>, from: i64, to: i64) {
    let (&last, &end) = times.last_key_value().unwrap();
    assert!((from..=to).contains(&end), "{end} is not in {from}..={to}");
    for (number, time) in times {
        let before = i64::try_from(last - number).unwrap();
        assert_eq!((end - time) / 1_000_000, 10_000 * before, "{number}");
    }
}

const JOURNAL: &str = "[journal]\npath = \"journal.db\"\n";

#[test]
fn what_a_pipe_held_ends_now() {
    let mut gateway = Fieldgate::new(&format!("[source]\nkind = \"stdin\"\n{JOURNAL}")).start();
    let from = now();
    gateway.write_stdin(packets(360).as_bytes());
    // The pipe stays open: nothing says that this was all.
    let times = wait_for_journal(&gateway, 360);
    assert_ends(&times, from, now());
}

#[test]
fn what_a_port_held_when_it_was_opened_ends_now() {
    let mut port = Pty::open();
    port.write(packets(30).as_bytes());
    let from = now();
    let mut gateway = Fieldgate::new(JOURNAL)
        .arg("--port")
        .arg(port.path())
        .start();
    let times = wait_for_journal(&gateway, 30);
    assert_ends(&times, from, now());
    // What is measured now follows, and nothing of it is held.
    gateway.signal(Signal::SIGTERM);
    gateway.wait_for_metrics(PATIENCE);
}

#[test]
fn a_pipe_that_holds_more_than_is_kept_stays_in_order_and_never_gets_ahead() {
    let mut gateway = Fieldgate::new(&format!("[source]\nkind = \"stdin\"\n{JOURNAL}")).start();
    let mut stdin = gateway.take_stdin();
    let input = packets(60_000);
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()).unwrap());
    writer.join().unwrap();
    gateway.wait_for_metrics(PATIENCE);
    let end = now();
    let times = journaled(&gateway.folder().join("journal.db"));
    assert_eq!(times.len(), 60_000);
    let times: Vec<i64> = times.into_values().collect();
    assert!(times.windows(2).all(|pair| pair[0] < pair[1]));
    assert!(*times.last().unwrap() <= end + 100_000_000);
}

#[test]
fn servers_see_nothing_from_the_future() {
    let (broker, database) = (Mosquitto::start(), VictoriaMetrics::start());
    let subscriber = Subscriber::start(broker.port(), "iiot/node1/temperature");
    let mut gateway = Fieldgate::new(&format!(
        "[source]\nkind = \"stdin\"\n[mqtt]\nbroker_url = \"{}\"\npayload = \"json\"\n\
         [influxdb]\nurl = \"{}\"\nflush_interval = \"100ms\"\n{JOURNAL}\
         [api]\nlisten = \"127.0.0.1:0\"\n",
        broker.url(),
        database.url(),
    ))
    .start();
    gateway.write_stdin(packets(300).as_bytes());
    let messages = subscriber.wait_for_count(300, PATIENCE);
    let series = database.wait_for_points("temperature", 300, PATIENCE);
    let end = now() / 1_000_000;
    assert_eq!(series.len(), 1);
    let points = &series[0].timestamps_ms;
    assert!(points.last().unwrap() <= &end);
    assert!(points.windows(2).all(|pair| pair[1] - pair[0] == 10_000));
    for (message, point) in messages.iter().zip(points) {
        let message: Value = serde_json::from_str(&message.payload).unwrap();
        let time = message["time"].as_str().unwrap();
        let time = humantime::parse_rfc3339(time).unwrap();
        let since = time.duration_since(UNIX_EPOCH).unwrap();
        assert_eq!(i64::try_from(since.as_millis()).unwrap(), *point);
    }
    // What charts are drawn from: all of it, when nothing ahead of now is asked for.
    let line = gateway.wait_for_log("The HTTP API listens", PATIENCE);
    let port = line.rsplit(':').next().unwrap().trim().parse().unwrap();
    let target = format!(
        "/api/v1/history?node=node1&metric=temperature&from={}&to={}&points=1000",
        now() - 3_600_000_000_000,
        now()
    );
    let answer = request(port, "GET", &target, &[], b"").unwrap();
    let history: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(history.as_array().map(Vec::len), Some(300), "{history}");
}

const BROKEN_OFF: i64 = 1_700_000_000_000_000_000;

/// A recording that was last written to then.
fn write_recording(path: &Path, content: &str) {
    std::fs::write(path, content).unwrap();
    let file = std::fs::File::options().write(true).open(path).unwrap();
    let modified = UNIX_EPOCH + Duration::from_nanos(BROKEN_OFF.unsigned_abs());
    file.set_modified(modified).unwrap();
}

/// What the journal holds when a gateway with these arguments has read a recording to its end.
fn replayed(recording: &str, arguments: &[&str]) -> BTreeMap<u64, i64> {
    let mut gateway = Fieldgate::new(JOURNAL);
    write_recording(&gateway.folder().join("a.raw"), recording);
    for argument in arguments {
        gateway = gateway.arg(*argument);
    }
    let mut gateway = gateway.start();
    gateway.wait_for_metrics(PATIENCE);
    journaled(&gateway.folder().join("journal.db"))
}

#[test]
fn a_recording_ends_when_it_was_made() {
    let replay = |arguments: &[&str]| {
        let file = ["--file", "a.raw", "--speed"];
        replayed(&packets(50), &[&file, arguments].concat())
    };
    for speed in ["max", "100000"] {
        assert_ends(&replay(&[speed]), BROKEN_OFF, BROKEN_OFF);
    }
    let end = BROKEN_OFF - 3_600_000_000_000;
    assert_ends(
        &replay(&["max", "--ends-at", "2023-11-14T21:13:20Z"]),
        end,
        end,
    );
    assert_ends(
        &replay(&["max", "--ends-at", "2023-11-14 21:13:20"]),
        end,
        end,
    );
    let end = end + 490_000_000_000;
    assert_ends(
        &replay(&["max", "--starts-at", "2023-11-14T22:13:20+01:00"]),
        end,
        end,
    );
    // No packet is from the future, whatever is said.
    let times = replay(&["max", "--starts-at", "2100-01-01T00:00:00Z"]);
    assert!(
        times
            .into_values()
            .all(|time| time <= now() + 2_000_000_000)
    );
}

#[test]
fn a_file_in_the_place_of_standard_input_is_a_recording() {
    let script = "head -c 134 >/dev/null; exec \"$0\" run --no-tui --config config.toml --source -";
    let program = env!("CARGO_BIN_EXE_fieldgate");
    let command = format!("( {script} ) <a.raw");
    let mut gateway = Fieldgate::with_program("sh", &["-c", &command, program]);
    gateway.write_file("config.toml", JOURNAL);
    write_recording(&gateway.folder().join("a.raw"), &packets(50));
    gateway.start_again();
    gateway.wait_for_metrics(PATIENCE);
    let times = journaled(&gateway.folder().join("journal.db"));
    assert!(times.len() > 40, "{times:?}");
    assert_ends(&times, BROKEN_OFF, BROKEN_OFF);
}

#[test]
fn a_pipe_with_a_name_is_a_pipe() {
    let gateway = Fieldgate::new(JOURNAL).args(["--file", "a.raw", "--speed", "max"]);
    let path = gateway.folder().join("a.raw");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let from = now();
    let mut gateway = gateway.start();
    std::fs::write(&path, packets(50)).unwrap();
    gateway.wait_for_metrics(PATIENCE);
    let times = journaled(&gateway.folder().join("journal.db"));
    assert_ends(&times, from, now());
}

#[test]
fn the_gateways_own_recording_is_replayed_at_its_times() {
    let mut gateway = Gateway::start("");
    // The recording begins within a packet, and the board reboots in it.
    let first = packets(120)
        .lines()
        .skip(100)
        .fold(String::new(), |lines, line| lines + line + "\n");
    let (before, after) = first.split_at(first.len() - 300);
    gateway.send(before);
    let processed = |count: u64| {
        move |snapshot: &fieldgate::monitor::Snapshot| {
            (snapshot.telemetry.packets_processed >= count).then_some(())
        }
    };
    gateway.wait_until("packets before", processed(10));
    gateway.command(Command::StartRecording(None));
    let path = gateway.wait_until("recording", |snapshot| match &snapshot.recording {
        Recording::On { path, .. } => Some(path.clone()),
        _ => None,
    });
    gateway.send(after);
    gateway.wait_until("all of them", processed(20));
    gateway.send("{\"ts\":1500,\"id\":\"N2\",\"sts\":{\"rx\":1}}\n");
    gateway.send("{\"ts\":4500,\"id\":\"N2\",\"sts\":{\"rx\":2}}\n");
    gateway.wait_until("the rest", processed(22));
    let (_, folder) = gateway.quit();
    let original = journaled(&folder.path().join("journal.db"));
    assert_eq!(original.len(), 22);

    let mut replay = Fieldgate::new(JOURNAL)
        .arg("--speed=max")
        .arg("--file")
        .arg(path)
        .start();
    replay.wait_for_metrics(PATIENCE);
    let times = journaled(&replay.folder().join("journal.db"));
    assert!(times.len() >= 4, "{times:?}");
    for (number, time) in &times {
        assert_eq!(time, &original[number], "{number}");
    }
}

/// A gateway whose clock is as far from the real one as a file says, which may change while it runs.
pub(crate) fn with_a_clock_of_its_own(gateway: Fieldgate) -> (Fieldgate, PathBuf) {
    let mut libraries = std::fs::read_dir("/usr/lib").unwrap();
    let library = libraries.find_map(|entry| {
        let library = entry.unwrap().path().join("faketime/libfaketimeMT.so.1");
        library.exists().then_some(library)
    });
    let library = library.expect("faketime is not installed");
    let clock = gateway.folder().join("clock");
    std::fs::write(&clock, "+0\n").unwrap();
    let gateway = gateway
        .env("LD_PRELOAD", library.to_str().unwrap())
        .env("FAKETIME_TIMESTAMP_FILE", clock.to_str().unwrap())
        .env("FAKETIME_NO_CACHE", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    (gateway, clock)
}

/// In place of the other at once: nobody reads half of it.
pub(crate) fn set_clock(clock: &Path, offset: &str) {
    let next = clock.with_extension("next");
    std::fs::write(&next, format!("{offset}\n")).unwrap();
    std::fs::rename(next, clock).unwrap();
}

#[test]
fn what_was_read_before_the_clock_was_set_is_delivered_at_its_right_time() {
    for offset in ["-20y", "+2y"] {
        let mut database = VictoriaMetrics::start();
        database.stop();
        let gateway = Fieldgate::new(&format!(
            "[source]\nkind = \"stdin\"\n[influxdb]\nurl = \"{}\"\nflush_interval = \"100ms\"\n{JOURNAL}",
            database.url(),
        ));
        let (gateway, clock) = with_a_clock_of_its_own(gateway);
        set_clock(&clock, offset);
        let from = now();
        let mut gateway = gateway.start();
        gateway.write_stdin(packets(30).as_bytes());
        let wrong = wait_for_journal(&gateway, 30);
        assert!((wrong[&30] - now()).abs() > 300 * 86_400_000_000_000);
        set_clock(&clock, "+0");
        gateway.wait_for_log("clock was set", PATIENCE);
        let path = gateway.folder().join("journal.db");
        poll(PATIENCE, || {
            let times = try_journaled(&path).ok()?;
            (from..=now()).contains(&times[&30]).then_some(())
        })
        .expect("times in the journal stay wrong");
        database.start_again();
        let series = database.wait_for_points("temperature", 30, PATIENCE);
        assert_eq!(series.len(), 1, "{series:?}");
        let points = &series[0].timestamps_ms;
        assert!(
            points.windows(2).all(|pair| pair[1] - pair[0] == 10_000),
            "{points:?}"
        );
        // The faked clock is read in steps of its own, some milliseconds off.
        let last = points.last().unwrap() * 1_000_000;
        assert!((from - 100_000_000..=now()).contains(&last));
        // What comes now follows on it.
        let line = "{\"ts\":305000,\"id\":\"N2\",\"n1\":{\"t\":31}}\n";
        gateway.write_stdin(line.as_bytes());
        let series = database.wait_for_points("temperature", 31, PATIENCE);
        assert!(series[0].timestamps_ms.is_sorted());
        gateway.close_stdin();
        let metrics = gateway.wait_for_metrics(PATIENCE);
        // Nor was it ever a delay.
        assert!(metrics["delivery_latency_seconds_sum{sink=\"influxdb\"}"] < 3_600.0);
    }
}

#[test]
fn delivery_waits_for_a_clock_that_is_right_and_not_longer_than_told() {
    let [broker, other] = [Mosquitto::start(), Mosquitto::start()];
    let subscribers =
        [&broker, &other].map(|it| Subscriber::start(it.port(), "iiot/node1/temperature"));
    let config = |sinks: &str| {
        format!(
            "[source]\nkind = \"stdin\"\n[[mqtt]]\nbroker_url = \"{}\"\n{sinks}{JOURNAL}\
             [telemetry]\nwait_for_clock = \"5s\"\n",
            broker.url(),
        )
    };
    let mut gateway = Fieldgate::new(&config("")).start();
    gateway.write_stdin(packets(1).as_bytes());
    // Reading does not wait.
    wait_for_journal(&gateway, 1);
    // A sink that comes meanwhile waits like the others.
    let more = format!(
        "[[mqtt]]\nbroker_url = \"{}\"\nbegin = \"oldest\"\n",
        other.url()
    );
    gateway.write_file("config.toml", &config(&more));
    gateway.signal(Signal::SIGHUP);
    gateway.wait_for_log("The configuration was read again.", PATIENCE);
    if fieldgate::system_clock::is_synchronised() == Some(false) {
        gateway.wait_for_log_count("Held until it is released.", 2, PATIENCE);
        assert!(subscribers.iter().all(|it| it.messages().is_empty()));
        gateway.wait_for_log("nothing is delivered until it is", PATIENCE);
        gateway.wait_for_log("still not synchronised", PATIENCE);
    }
    for subscriber in &subscribers {
        subscriber.wait_for_count(1, PATIENCE);
    }
}
