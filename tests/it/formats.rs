//! Boards of every format, end to end: their readings at the broker and in the database, at their times.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use fieldgate::journal::Archive;
use fieldgate::telemetry::Reading;

use crate::api::listening_port;
use crate::support::{
    Fieldgate, Message, Mosquitto, PATIENCE, Pty, Signal, Subscriber, VictoriaMetrics, poll,
    request,
};

fn data(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data")).join(name)
}

/// Starts a gateway for a source; `keys` are those of the format.
fn gateway(source: &str, keys: &str, rest: &str) -> Fieldgate {
    Fieldgate::new(&format!("[source]\n{source}\n{keys}\n{rest}\n"))
}

fn mqtt(broker: &Mosquitto) -> String {
    format!("[mqtt]\nbroker_url = \"{}\"", broker.url())
}

/// Whether it is of a node, and not how the node or the gateway is.
fn is_reading(message: &Message) -> bool {
    let topic = &message.topic;
    topic.starts_with("iiot/") && !topic.starts_with("iiot/gateway/") && !topic.ends_with("/status")
}

/// Payloads of readings by topic, once there are so many.
fn by_topic(subscriber: &Subscriber, count: usize) -> BTreeMap<String, Vec<String>> {
    let messages = subscriber.wait_until("the readings", PATIENCE, |messages| {
        messages.iter().filter(|it| is_reading(it)).count() >= count
    });
    let mut topics: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for message in messages.into_iter().filter(is_reading) {
        topics
            .entry(message.topic)
            .or_default()
            .push(message.payload);
    }
    topics
}

/// What a file becomes at the broker.
fn topics_of(file: &str, keys: &str, count: usize) -> BTreeMap<String, Vec<String>> {
    let broker = Mosquitto::start();
    let subscriber = Subscriber::start(broker.port(), "iiot/#");
    let path = data(file);
    let source = format!(
        "kind = \"file\"\npath = '{}'\nspeed = \"max\"",
        path.display()
    );
    let mut gateway = gateway(&source, keys, &mqtt(&broker)).start();
    assert!(gateway.wait_exit(PATIENCE).success());
    by_topic(&subscriber, count)
}

fn payloads(topics: &BTreeMap<String, Vec<String>>, topic: &str) -> Vec<String> {
    topics
        .get(topic)
        .cloned()
        .unwrap_or_else(|| panic!("{topic} is not among {topics:?}"))
}

/// What a board prints on a port becomes at the broker, as `topic payload`, each as often as it comes.
fn through_a_port(keys: &str, pieces: &[&str], count: usize) -> BTreeMap<String, Vec<String>> {
    let broker = Mosquitto::start();
    let subscriber = Subscriber::start(broker.port(), "iiot/#");
    let mut port = Pty::open();
    let source = format!("port = '{}'", port.path().display());
    let mut gateway = gateway(&source, keys, &mqtt(&broker)).start();
    gateway.wait_for_log(&format!("serial {}", port.path().display()), PATIENCE);
    for piece in pieces {
        port.write(piece.as_bytes());
    }
    let topics = by_topic(&subscriber, count);
    gateway.signal(Signal::SIGTERM);
    assert!(gateway.wait_exit(PATIENCE).success());
    topics
}

#[test]
fn the_json_of_an_esp32_arrives_with_no_more_than_its_format_named() {
    let line = "{\"temp\":22.5,\"hum\":40}\r\n";
    let topics = through_a_port("format = \"json\"", &["rst:0x1\r\n", line, line, line], 6);
    assert_eq!(payloads(&topics, "iiot/board/temp"), ["22.5"; 3]);
    assert_eq!(payloads(&topics, "iiot/board/hum"), ["40"; 3]);
    assert_eq!(topics.len(), 2);
}

#[test]
fn every_form_of_the_serial_plotter_arrives() {
    let metrics = "format = \"plotter\"\nnode.name = \"bench\"\nmetrics = [\"temp\", \"hum\"]";
    let lines = [
        "boot\n",
        "temp:22.5,hum:40\n",
        "22.5 41\n",
        "22.5\t42\n",
        "22.5 4",
    ];
    let topics = through_a_port(metrics, &lines, 6);
    assert_eq!(payloads(&topics, "iiot/bench/temp"), ["22.5"; 3]);
    assert_eq!(payloads(&topics, "iiot/bench/hum"), ["40", "41", "42"]);
}

#[test]
fn json_over_several_lines_arrives() {
    let topics = topics_of("arduino-json.txt", "format = \"json\"", 12);
    assert_eq!(
        payloads(&topics, "iiot/board/temp"),
        ["22.5", "23.5", "24.5", "25.5"]
    );
    assert_eq!(
        payloads(&topics, "iiot/board/air_hum"),
        ["40", "41", "42", "43"]
    );
    assert_eq!(payloads(&topics, "iiot/board/air_ok"), ["1"; 4]);
    assert_eq!(topics.len(), 3);
}

#[test]
fn presets_know_what_people_have() {
    let topics = topics_of("rtl_433.ndjson", "preset = \"rtl_433\"", 52);
    let of = "iiot/Nexus-TH_2_184/temperature_C";
    assert_eq!(payloads(&topics, of), ["21.7", "21.8", "21.9", "22"]);
    assert_eq!(
        payloads(&topics, "iiot/Bresser-5in1_77/rain_mm"),
        ["12.4"; 4]
    );
    assert_eq!(payloads(&topics, "iiot/signal/rssi").len(), 8);
    assert!(
        !topics
            .keys()
            .any(|topic| topic.contains("freq") || topic.contains("noise"))
    );

    let topics = topics_of(
        "esphome.txt",
        "preset = \"esphome\"\nnode.name = \"room\"",
        8,
    );
    let of = "iiot/room/sensor-room_temperature";
    assert_eq!(payloads(&topics, of), ["22.5", "23.5", "24.5", "25.5"]);
    assert_eq!(
        payloads(&topics, "iiot/room/binary_sensor-window"),
        ["0", "1", "0", "1"]
    );

    let topics = topics_of("meshtastic.txt", "preset = \"meshtastic\"", 28);
    assert_eq!(
        payloads(&topics, "iiot/2130636288/battery_level"),
        ["99", "98", "97", "96"]
    );
    assert_eq!(topics.len(), 7, "{topics:?}");
}

#[test]
fn rtl_433_reaches_the_database_and_home_assistant() {
    let broker = Mosquitto::start();
    let announced = Subscriber::start(broker.port(), "homeassistant/#");
    let database = VictoriaMetrics::start();
    let rest = format!(
        "{}\n[mqtt.home_assistant]\n[influxdb]\nurl = \"{}\"\norg = \"o\"\nbucket = \"b\"\n",
        mqtt(&broker),
        database.url()
    );
    let path = data("rtl_433.ndjson");
    let source = format!(
        "kind = \"file\"\npath = '{}'\nspeed = \"max\"",
        path.display()
    );
    let mut first = gateway(&source, "preset = \"rtl_433\"", &rest).start();
    database.wait_for_points("{node_id=\"Nexus-TH_2_184\"}", 12, PATIENCE);
    let messages = announced.wait_until("temperature_C", PATIENCE, |messages| {
        messages
            .iter()
            .any(|it| it.payload.contains("temperature_C"))
    });
    let told = messages
        .iter()
        .find(|it| it.payload.contains("temperature_C"));
    assert!(told.unwrap().payload.contains("°C"), "{told:?}");
    assert!(first.wait_exit(PATIENCE).success());
}

#[test]
fn a_correction_is_applied_once_and_traffic_stays_raw() {
    let keys = "format = \"line-protocol\"";
    let broker = Mosquitto::start();
    let subscriber = Subscriber::start(broker.port(), "iiot/#");
    let path = data("line-protocol.txt");
    let source = format!(
        "kind = \"file\"\npath = '{}'\nspeed = \"max\"",
        path.display()
    );
    let rest = format!(
        "{}\n[telemetry.calibrate.weather.temp]\nscale = 1.8\noffset = 32\ndecimals = 1",
        mqtt(&broker)
    );
    let mut gateway = gateway(&source, keys, &rest).start();
    assert!(gateway.wait_exit(PATIENCE).success());
    let topics = by_topic(&subscriber, 12);
    assert_eq!(
        payloads(&topics, "iiot/weather/temp"),
        ["72.5", "74.3", "76.1", "77.9"]
    );
    assert_eq!(
        payloads(&topics, "iiot/weather/hum"),
        ["40", "41", "42", "43"]
    );
}

fn decode(arguments: &[&str]) -> (Option<i32>, String, String) {
    let arguments: Vec<&str> = ["decode"].iter().chain(arguments).copied().collect();
    let mut process = Fieldgate::with_arguments(&arguments).start();
    process.close_stdin();
    let code = process.wait_exit(PATIENCE).code();
    (
        code,
        process.stdout().join("\n"),
        process.stderr().join("\n"),
    )
}

#[test]
fn decode_says_what_each_frame_becomes_and_what_is_rejected_where() {
    let plotter = data("plotter.txt").display().to_string();
    let (code, out, err) = decode(&["--format", "plotter", "--as", "topics", &plotter]);
    assert_eq!(code, Some(0), "{err}");
    assert!(
        out.starts_with("iiot/board/temp 22.5\niiot/board/hum 40\n"),
        "{out}"
    );
    assert_eq!(out.lines().count(), 9, "{out}");
    assert!(err.contains("line 6: rejected: "), "{err}");
    assert!(err.contains("hum:▶4x"), "{err}");
    let (code, ..) = decode(&["--format", "plotter", "--strict", &plotter]);
    assert_eq!(code, Some(1));
    // Of another format nothing is rejected, and nothing is there either.
    let (code, out, err) = decode(&["--format", "json", "--strict", &plotter]);
    assert_eq!((code, &*out), (Some(1), ""), "{err}");
    assert!(err.contains("fieldgate decode --learn"), "{err}");

    let lines = data("line-protocol.txt").display().to_string();
    let strict = [
        "--format",
        "line-protocol",
        "--strict",
        "--as",
        "line-protocol",
        &lines,
    ];
    let (code, out, err) = decode(&strict);
    assert_eq!(code, Some(0), "{err}");
    let first = "temp,node_id=weather,sensor_type=other value=22.5 1772366400000000000";
    assert_eq!(out.lines().next(), Some(first));

    let clean = data("clean.ndjson").display().to_string();
    let (code, out, _) = decode(&["--strict", "--as", "json", &clean]);
    assert_eq!(code, Some(0));
    assert!(out.lines().count() > 3_000);
    let first: serde_json::Value = serde_json::from_str(out.lines().next().unwrap()).unwrap();
    assert_eq!(first["node"], "node1");
}

#[test]
fn learning_proposes_a_section_that_works() {
    for (file, expected) in [
        ("rtl_433.ndjson", "preset = \"rtl_433\""),
        ("arduino-json.txt", "format = \"json\""),
        ("plotter.txt", "format = \"plotter\""),
        ("line-protocol.txt", "format = \"line-protocol\""),
        ("meshtastic.txt", "preset = \"meshtastic\""),
        ("clean.ndjson", "of format board"),
    ] {
        let path = data(file).display().to_string();
        let (code, out, err) = decode(&["--learn", &path]);
        assert_eq!(code, Some(0), "{file}: {err}");
        assert!(out.contains(expected), "{file}: {out}");
        let process = Fieldgate::with_arguments(&["decode", "--config", "learnt.toml", &path]);
        process.write_file("learnt.toml", &out);
        let mut process = process.start();
        process.close_stdin();
        assert!(
            process.wait_exit(PATIENCE).success(),
            "{:?}",
            process.stderr()
        );
        assert!(process.stdout().len() > 3, "{file}: {:?}", process.stderr());
    }
}

/// Slow: each of eight speeds is listened to for 2.5 s.
#[test]
fn a_port_is_probed_for_its_speed_and_format() {
    let mut port = Pty::open();
    let path = port.path().display().to_string();
    let mut process = Fieldgate::with_arguments(&["ports", "--probe", &path]).start();
    process.close_stdin();
    let ended = poll(3 * PATIENCE, || {
        port.write(b"temp:22.5,hum:40\n");
        let said = process.stdout();
        said.iter()
            .any(|line| line.contains("[source]"))
            .then_some(())
    });
    assert!(
        ended.is_some(),
        "{:?} {:?}",
        process.stdout(),
        process.stderr()
    );
    assert!(process.wait_exit(PATIENCE).success());
    let said = process.stdout().join("\n");
    assert!(said.contains("plotter, "), "{said}");
    assert!(said.contains(&format!("port = \"{path}\"")), "{said}");
    assert!(said.contains("format = \"plotter\""), "{said}");
}

/// A recording of the gateway's own, made of what a port said, gives each packet its time of then.
#[test]
fn a_replay_gives_packets_without_a_clock_their_times_again() {
    let folder = tempfile::tempdir().unwrap();
    let recording = folder.path().join("a.raw");
    let frames = ["{\"temp\":1}\n", "{\"temp\":2}\n", "{\"temp\":1}\n"];
    fs::write(&recording, frames.concat()).unwrap();
    let times = [
        1_772_366_400_000_000_000_i64,
        1_772_366_401_500_000_000,
        1_772_366_409_000_000_000,
    ];
    let sum = |frame: &str| {
        frame.trim_end().bytes().fold(0x811c_9dc5_u32, |sum, byte| {
            (sum ^ u32::from(byte)).wrapping_mul(0x0100_0193)
        })
    };
    let notes = frames.iter().zip(times).map(|(frame, time)| {
        let ts = sum(frame);
        format!("{{\"board\":\"\",\"ts\":{ts},\"event_time\":{time},\"arrival\":true}}\n")
    });
    fs::write(folder.path().join("a.raw.times"), notes.collect::<String>()).unwrap();
    let path = recording.display().to_string();
    let (code, out, err) = decode(&["--format", "json", "--as", "line-protocol", &path]);
    assert_eq!(code, Some(0), "{err}");
    let told: Vec<&str> = out
        .lines()
        .filter_map(|line| line.rsplit(' ').next())
        .collect();
    assert_eq!(told, times.map(|time| time.to_string()));
}

const JOURNAL: &str = "[journal]\npath = \"journal.db\"\n";

/// Times and readings in the journal of a gateway, in their order.
fn journaled(gateway: &Fieldgate) -> Vec<(i64, Vec<Reading>)> {
    let journal = Archive::open(&gateway.folder().join("journal.db"));
    let rows = journal.and_then(|mut journal| journal.read());
    let rows = rows.unwrap_or_default().into_iter();
    rows.map(|row| (row.event_time.0, row.readings)).collect()
}

/// Records what a board of a format says eight times over; returns the gateway that did and the recording.
fn record(keys: &str, frame: &str) -> (Fieldgate, PathBuf) {
    let mut port = Pty::open();
    let source = format!("port = '{}'", port.path().display());
    let rest = format!("[api]\nlisten = \"127.0.0.1:0\"\n{JOURNAL}");
    let mut live = gateway(&source, keys, &rest).start();
    let api = listening_port(&mut live);
    live.wait_for_log("Source opened.", PATIENCE);
    let json = [("Content-Type", "application/json")];
    let command = b"{\"command\":\"start_recording\"}";
    let answer = request(api, "POST", "/api/v1/commands", &json, command).unwrap();
    assert_eq!(answer.status, 202, "{}", answer.body);
    live.wait_for_log("Recording the raw stream.", PATIENCE);
    // As they come on a port: each by itself.
    for number in 11..=18 {
        let time = (number * 100).to_string();
        let line = frame.replace("TIME", &time);
        let line = line.replace("NUM", &number.to_string());
        port.write(format!("{line}\n").as_bytes());
        sleep(Duration::from_millis(5 * (number - 10)));
    }
    let all = poll(PATIENCE, || (journaled(&live).len() == 8).then_some(()));
    assert!(all.is_some(), "{keys}: {:?}", journaled(&live));
    live.signal(Signal::SIGTERM);
    assert!(live.wait_exit(PATIENCE).success());
    let files = fs::read_dir(live.folder()).unwrap();
    let mut paths = files.map(|entry| entry.unwrap().path());
    let recording = paths.find(|path| path.extension().is_some_and(|it| it == "raw"));
    (live, recording.unwrap())
}

/// What a board says is recorded, and replayed by another gateway: the same readings at the same times.
#[test]
fn a_recording_of_each_format_becomes_the_same_again() {
    let name = "node.name = \"bench\"\nmetrics = [\"temp\"]";
    for (keys, frame) in [
        (
            "",
            r#"{"ts":TIME,"id":"N2","n1":{"t":NUM},"sts":{"rx":NUM,"err":0}}"#,
        ),
        (&format!("format = \"json\"\n{name}"), r#"{"temp":NUM}"#),
        (
            &format!("format = \"json\"\n{name}\ntime.key = \"at\"\ntime.format = \"uptime\""),
            r#"{"at":TIME,"temp":NUM}"#,
        ),
        (&format!("format = \"plotter\"\n{name}"), "temp:NUM"),
        (
            "format = \"line-protocol\"",
            "bench temp=NUM 17723664000000000NUM",
        ),
        (
            "preset = \"rtl_433\"",
            r#"{"model" : "Nexus-TH", "id" : 1, "temperature_C" : NUM.0}"#,
        ),
    ] {
        let (live, recording) = record(keys, frame);
        let path = recording.display();
        let source = format!("kind = \"file\"\npath = '{path}'\nspeed = \"max\"");
        let mut replay = gateway(&source, keys, JOURNAL).start();
        assert!(replay.wait_exit(PATIENCE).success());
        assert_eq!(journaled(&replay), journaled(&live), "{keys}");
    }
}

#[test]
fn a_replay_at_its_pace_takes_as_long_as_the_packets_were_apart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.raw");
    let lines: Vec<String> = (0..4)
        .map(|second| format!("{{\"at\":{},\"temp\":1}}\n", 1_772_366_400 + second))
        .collect();
    fs::write(&path, lines.concat()).unwrap();
    let source = format!("kind = \"file\"\npath = '{}'\nspeed = 2", path.display());
    let keys =
        "format = \"json\"\nmetrics = [\"temp\"]\ntime.key = \"at\"\ntime.format = \"seconds\"";
    let began = Instant::now();
    let mut replay = gateway(&source, keys, JOURNAL).start();
    assert!(replay.wait_exit(PATIENCE).success());
    assert!(began.elapsed() >= Duration::from_millis(1_500));
    assert_eq!(journaled(&replay).len(), 4);
}
