//! Server-sent events as a program reads them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Gateway, PACKET};
use crate::support::PATIENCE;

/// An open stream of events.
pub(super) struct Events(BufReader<TcpStream>);

impl Events {
    /// Opens the stream with a query as `?kinds=log`, or none.
    pub(super) fn open(port: u16, query: &str) -> Self {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // HTTP/1.0: no chunks between the lines.
        write!(
            stream,
            "GET /api/v1/events{query} HTTP/1.0\r\nHost: localhost\r\n\r\n"
        )
        .unwrap();
        let mut events = Self(BufReader::new(stream));
        let head = events.block().unwrap();
        assert!(
            head.contains(" 200 ") && head.contains("text/event-stream"),
            "{head}"
        );
        events
    }

    /// Lines up to an empty one; `None` at the end of the stream.
    fn block(&mut self) -> Option<String> {
        let mut block = String::new();
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).ok()? == 0 {
                return None;
            }
            if line.trim_end().is_empty() {
                return Some(block);
            }
            block.push_str(&line);
        }
    }

    /// The next event: its name and data. Comments are skipped.
    pub(super) fn next(&mut self) -> Option<(String, String)> {
        loop {
            let block = self.block()?;
            let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
            if let (Some(event), Some(data)) = (field("event: "), field("data: ")) {
                return Some((event.to_owned(), data.to_owned()));
            }
        }
    }

    /// The data of the next event with this name.
    pub(super) fn next_of(&mut self, name: &str) -> Value {
        loop {
            let (event, data) = self.next().expect("the stream ended");
            if event == name {
                return serde_json::from_str(&data).unwrap();
            }
        }
    }

    /// Whether the stream ends, once all of it has been read.
    pub(super) fn ends(mut self) -> bool {
        let mut rest = Vec::new();
        match self.0.read_to_end(&mut rest) {
            Ok(_) => true,
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }
}

#[test]
fn events_are_as_documented_and_tell_what_happens() {
    let mut gateway =
        Gateway::start("[influxdb]\nurl = \"http://127.0.0.1:9\"\norg = \"o\"\nbucket = \"b\"\n");
    let mut events = Events::open(gateway.port, "");
    let (first, data) = events.next().unwrap();
    assert_eq!(first, "snapshot");
    gateway.document.check_event(&first, &data);
    gateway
        .process
        .write_stdin(format!("boot \u{e9}\n{PACKET}\n").as_bytes());

    let mut seen = std::collections::BTreeSet::new();
    let mut traffic = String::new();
    let mut next_traffic = 0;
    while seen.len() < 4 || !traffic.contains(PACKET) {
        let (name, data) = events.next().unwrap();
        gateway.document.check_event(&name, &data);
        if name == "traffic" {
            let entries: Vec<Value> = serde_json::from_str(&data).unwrap();
            for entry in entries {
                assert_eq!(entry["number"], next_traffic);
                next_traffic += 1;
                traffic.push_str(entry["entry"]["bytes"].as_str().unwrap());
            }
        }
        seen.insert(name);
    }
    assert!(traffic.starts_with("boot \u{c3}\u{a9}\n"), "{traffic}");

    let mut narrow = Events::open(gateway.port, "?kinds=log");
    let (name, _) = narrow.next().unwrap();
    assert_eq!(name, "log");
}

#[test]
fn snapshots_come_when_something_changed_and_not_more_often_than_four_times_a_second() {
    let mut gateway = Gateway::start("");
    let mut events = Events::open(gateway.port, "?kinds=snapshot");
    let taken = |data: &Value| data["taken"].as_i64().unwrap();
    let mut last = events.next_of("snapshot");
    // Standard input is up at once or in a moment; after that nothing changes until something comes.
    while last["source"]["state"] != "up" {
        last = events.next_of("snapshot");
    }
    let quiet = Instant::now() + Duration::from_secs(2);
    events
        .0
        .get_ref()
        .set_read_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    while Instant::now() < quiet {
        let nothing = events.block();
        assert!(nothing.is_none(), "{nothing:?}");
    }
    events.0.get_ref().set_read_timeout(Some(PATIENCE)).unwrap();
    let mut times = Vec::new();
    for number in 0..8_u64 {
        let packet = PACKET.replace("12000", &(13_000 + number).to_string());
        gateway
            .process
            .write_stdin(format!("{packet}\n").as_bytes());
        let snapshot = events.next_of("snapshot");
        let but_time = |it: &Value| {
            let mut it = it.clone();
            it["taken"].take();
            it
        };
        assert_ne!(but_time(&snapshot), but_time(&last));
        times.push(taken(&snapshot));
        last = snapshot;
    }
    let between = times.windows(2).map(|pair| pair[1] - pair[0]);
    for nanos in between {
        assert!(nanos >= 200_000_000, "{nanos} ns between two snapshots");
    }
}

/// Slow: the buffers of the system must be full before a reader counts as asleep.
#[test]
fn a_reader_that_does_not_read_is_dropped_and_holds_up_nobody() {
    let config = "[api]\nlisten = \"127.0.0.1:0\"\n[source]\nkind = \"simulator\"\nrate = 20000\n\
                  nodes = 20\n[journal]\npath = \":memory:\"\n[log]\nlevel = \"debug\"\n";
    let mut process = crate::support::Fieldgate::new(config).start();
    let port = super::listening_port(&mut process);
    let asleep = Events::open(port, "");
    let mut awake = Events::open(port, "?kinds=snapshot");
    let count = |data: &Value| data["telemetry"]["packets_processed"].as_u64().unwrap();
    let mut last = count(&awake.next_of("snapshot"));
    let deadline = Instant::now() + Duration::from_mins(1);
    while !process
        .stdout()
        .iter()
        .any(|line| line.contains("too slow"))
        && is_open(&asleep)
    {
        assert!(
            Instant::now() < deadline,
            "the sleeping reader is still there"
        );
        let now = count(&awake.next_of("snapshot"));
        assert!(now > last, "the gateway stands still");
        last = now;
    }
    assert!(asleep.ends());
}

/// Whether the other side still holds the connection, as the system sees it.
fn is_open(events: &Events) -> bool {
    let local = events.0.get_ref().local_addr().unwrap().port();
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let wanted = format!(":{local:04X} ");
    table.lines().any(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let is_of_server = format!("{} ", columns[2]).ends_with(&wanted);
        // 01: established.
        is_of_server && columns[3] == "01"
    })
}
