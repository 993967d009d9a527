//! Faults, one by one on the real thing: each is seen soon, wherever somebody looks.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::api::listening_port;
use crate::support::{
    ContractServer, Fieldgate, Mosquitto, Pty, Reply, Subscriber, Terminal, request,
};
use crate::times::{set_clock, with_a_clock_of_its_own};

/// A fault, as the documentation lists it.
struct Fault {
    what: &'static str,
    kind: &'static str,
    /// What `status` says.
    words: &'static str,
}

const FAULTS: [Fault; 10] = [
    fault("the broker is killed", "link_down", "is down"),
    fault("the database refuses", "link_refused", "refuses"),
    fault("the cable is pulled out", "link_down", "is down"),
    fault("a node falls silent", "node_silent", "is late"),
    fault(
        "a value is beyond its limit",
        "value_beyond_limits",
        "above",
    ),
    fault(
        "the line is damaged",
        "line_damaged",
        "frames arrive damaged",
    ),
    fault("the disk is nearly full", "disk_nearly_full", "MiB left"),
    fault("the clock was never set", "clock_wrong", "was never set"),
    fault(
        "the journal is soon full",
        "backlog_grows",
        "the journal is full in",
    ),
    fault(
        "another program reads the journal",
        "journal_log_grows",
        "another program reads it",
    ),
];

const fn fault(what: &'static str, kind: &'static str, words: &'static str) -> Fault {
    Fault { what, kind, words }
}

/// Within this each fault is seen everywhere.
const PROMISED: Duration = Duration::from_secs(5);

/// Between two frames.
const PACE: Duration = Duration::from_millis(50);

/// The log of a journal that is too long, as the gateway sees it.
const LONG_LOG: u64 = 16 << 20;

/// A gateway with a board, a broker and a database, looked at from everywhere.
struct Site {
    broker: Mosquitto,
    database: ContractServer,
    subscriber: Subscriber,
    board: Pty,
    gateway: Fieldgate,
    api: u16,
    /// At 80×24 and at 40×12.
    screens: [Terminal; 2],
    frames: u64,
}

impl Site {
    /// One that is well.
    fn start(journal: &Path, more: &str) -> Self {
        let mut site = Self::start_with(journal, more, |gateway| gateway);
        site.wait_until_well();
        site
    }

    fn start_with(
        journal: &Path,
        more: &str,
        prepare: impl FnOnce(Fieldgate) -> Fieldgate,
    ) -> Self {
        let broker = Mosquitto::start();
        let database = ContractServer::start();
        let board = Pty::open();
        let subscriber = Subscriber::start(broker.port(), "#");
        let gateway = Fieldgate::new(&format!(
            "[source]\nport = '{}'\n[mqtt]\nbroker_url = \"{}\"\n[mqtt.home_assistant]\n\
             [influxdb]\nurl = \"{}\"\norg = \"{}\"\nbucket = \"{}\"\ntoken = \"{}\"\n\
             flush_interval = \"100ms\"\n[api]\nlisten = \"127.0.0.1:0\"\n\
             [journal]\npath = '{}'\ndurability = \"normal\"\n{more}\n\
             [telemetry]\nmetrics.t.max = 40\n\
             nodes.n1.interval = \"500ms\"\nnodes.n2.interval = \"30s\"\n",
            board.path().display(),
            broker.url(),
            database.url(),
            ContractServer::ORG,
            ContractServer::BUCKET,
            ContractServer::TOKEN,
            journal.display(),
        ));
        let mut gateway = prepare(gateway).start();
        let api = listening_port(&mut gateway);
        let url = format!("http://127.0.0.1:{api}");
        let screens =
            [(80, 24), (40, 12)].map(|size| Terminal::start(size, &["attach", url.as_str()]));
        Self {
            broker,
            database,
            subscriber,
            board,
            gateway,
            api,
            screens,
            frames: 0,
        }
    }

    /// Sends a frame with this of node 1, and waits for as long as until the next one.
    fn send(&mut self, node: &str) {
        let frame = self.frame(node);
        self.board.write(frame.as_bytes());
        std::thread::sleep(PACE);
    }

    fn frame(&mut self, node: &str) -> String {
        self.frames += 1;
        let (time, count) = (self.frames * 50, self.frames);
        format!(
            "{{\"ts\":{time},\"id\":\"N2\",{node}\"n2\":{{\"p\":1013}},\
             \"sts\":{{\"rx\":{count},\"err\":0}}}}\r\n"
        )
    }

    fn wait_until_well(&mut self) {
        let deadline = Instant::now() + 4 * PROMISED;
        loop {
            self.send(WARM);
            let (code, said) = self.status();
            let is_well = code == Some(0)
                && self
                    .screens
                    .iter()
                    .all(|screen| screen.text().contains('●'))
                && !self
                    .screens
                    .iter()
                    .any(|screen| screen.text().contains('▲'));
            if is_well && self.told().as_deref() == Some("[]") {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "{said}{:?}{}",
                self.told(),
                self.seen()
            );
        }
    }

    /// Sends frames until everybody sees it.
    fn wait_until_seen(&mut self, what: &str, mut send: impl FnMut(&mut Self)) {
        let fault = FAULTS.iter().find(|fault| fault.what == what).unwrap();
        let is_told = what != "the broker is killed";
        let began = Instant::now();
        let mut missing = vec!["80×24", "40×12", "status", "/metrics", "Home Assistant"];
        missing.truncate(if is_told { 5 } else { 4 });
        loop {
            send(self);
            // What is seen now was to be seen when the look began.
            let elapsed = began.elapsed();
            missing.retain(|place| !self.sees(place, fault));
            if missing.is_empty() {
                println!("{what}: seen everywhere after {elapsed:?}");
                return;
            }
            assert!(
                elapsed < PROMISED,
                "{what} is not seen in {missing:?}: {}{:?}{}",
                self.status().1,
                self.told(),
                self.seen(),
            );
        }
    }

    fn sees(&self, place: &str, fault: &Fault) -> bool {
        match place {
            "80×24" => self.screens[0].text().contains('▲'),
            "40×12" => self.screens[1].text().contains('▲'),
            "status" => {
                let (code, said) = self.status();
                code == Some(1) && said.contains(fault.words)
            }
            "/metrics" => {
                let metrics = request(self.api, "GET", "/metrics", &[], b"").unwrap().body;
                let kind = format!("kind=\"{}\"", fault.kind);
                let mut lines = metrics.lines();
                lines.any(|line| {
                    line.starts_with("fieldgate_problems{")
                        && line.contains(&kind)
                        && line.ends_with(" 1")
                })
            }
            _ => self.told().is_some_and(|told| told.contains(fault.kind)),
        }
    }

    fn status(&self) -> (Option<i32>, String) {
        let url = format!("http://127.0.0.1:{}", self.api);
        let mut status = Command::new(env!("CARGO_BIN_EXE_fieldgate"));
        let status = status.args(["status", "--gateway", &url]).output().unwrap();
        let said = String::from_utf8(status.stdout).unwrap();
        (status.status.code(), said)
    }

    /// What Home Assistant has as the state of its problem sensor.
    fn told(&self) -> Option<String> {
        let messages = self.subscriber.messages();
        let sensor = messages.iter().find(|message| {
            message.topic.starts_with("homeassistant/binary_sensor/")
                && message.payload.contains("\"iiot/gateway/problems\"")
        });
        sensor?;
        let mut states = messages.iter().rev();
        let last = states.find(|message| message.topic == "iiot/gateway/problems");
        last.map(|message| message.payload.clone())
    }

    /// The screens, for a failed test.
    fn seen(&self) -> String {
        let [large, small] = &self.screens;
        format!("\n{}\n---\n{}", large.text(), small.text())
    }
}

const WARM: &str = r#""n1":{"t":27.5},"#;

#[test]
fn a_link_that_fails_is_seen_everywhere() {
    let mut site = Site::start(Path::new("journal.db"), "");
    site.broker.kill();
    site.wait_until_seen("the broker is killed", |site| site.send(WARM));
    site.broker.start_again();
    site.wait_until_well();
    let refusal = Reply::Status(401, "{\"message\":\"unauthorized access\"}".to_owned());
    site.database.always(refusal);
    site.wait_until_seen("the database refuses", |site| site.send(WARM));
    site.database.always(Reply::Ok);
    let url = format!("http://127.0.0.1:{}", site.api);
    let mut reconnect = Command::new(env!("CARGO_BIN_EXE_fieldgate"));
    reconnect.args(["reconnect", "influxdb", "--gateway", &url]);
    assert!(reconnect.status().unwrap().success());
    site.wait_until_well();
    site.board.close();
    site.wait_until_seen("the cable is pulled out", |_| std::thread::sleep(PACE));
    site.board.reopen();
}

#[test]
fn what_is_wrong_at_a_board_is_seen_everywhere() {
    let mut site = Site::start(Path::new("journal.db"), "");
    let hot = r#""n1":{"t":41},"#;
    site.wait_until_seen("a value is beyond its limit", |site| site.send(hot));
    site.wait_until_well();
    site.wait_until_seen("a node falls silent", |site| site.send(""));
    site.wait_until_well();
    site.wait_until_seen("the line is damaged", |site| {
        let frame = site.frame(WARM);
        site.board.write(&frame.as_bytes()[..frame.len() - 20]);
        site.send(WARM);
    });
}

#[test]
fn a_journal_that_fills_is_seen_everywhere() {
    let mut site = Site::start(Path::new("journal.db"), "max_messages = 5000");
    site.database.always(Reply::Status(503, "busy".to_owned()));
    site.wait_until_seen("the journal is soon full", |site| site.send(WARM));
}

#[test]
fn a_disk_that_fills_is_seen_everywhere() {
    // Who may not mount has no disk that is nearly full.
    let Some(disk) = Disk::mount() else {
        eprintln!("not tried: this user may not mount a disk");
        return;
    };
    let mut site = Site::start(&disk.folder.path().join("journal.db"), "");
    fs::write(disk.folder.path().join("others"), vec![0; 61 << 20]).unwrap();
    site.wait_until_seen("the disk is nearly full", |site| site.send(WARM));
}

/// A disk of 64 MiB.
struct Disk {
    folder: tempfile::TempDir,
}

impl Disk {
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=64m", "tmpfs"]);
        let mounted = mount.arg(folder.path()).output();
        let is_mounted = mounted.is_ok_and(|output| output.status.success());
        is_mounted.then_some(Self { folder })
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(
            Command::new("umount")
                .arg("-l")
                .arg(self.folder.path())
                .status(),
        );
    }
}

#[test]
fn a_clock_that_was_never_set_is_seen_everywhere() {
    let clock = |gateway| {
        let (gateway, clock): (Fieldgate, PathBuf) = with_a_clock_of_its_own(gateway);
        set_clock(&clock, "-20y");
        gateway
    };
    let mut site = Site::start_with(Path::new("journal.db"), "", clock);
    site.wait_until_seen("the clock was never set", |site| site.send(WARM));
}

#[test]
fn another_reader_of_the_journal_is_seen_everywhere() {
    let mut site = Site::start(Path::new("journal.db"), "");
    let path = site.gateway.folder().join("journal.db");
    let reader = Connection::open(&path).unwrap();
    let read = "BEGIN; SELECT count(*) FROM cursors;";
    reader.execute_batch(read).unwrap();
    // As much as the gateway writes in hours.
    let writer = Connection::open(&path).unwrap();
    writer.busy_timeout(PROMISED).unwrap();
    let write = format!(
        "CREATE TABLE notes AS SELECT randomblob({}) AS note;",
        LONG_LOG + (1 << 20)
    );
    writer.execute_batch(&write).unwrap();
    site.wait_until_seen("another program reads the journal", |site| site.send(WARM));
    drop(reader);
}

#[test]
fn the_documented_faults_are_those_of_the_tests() {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operating.md"));
    let page = page.unwrap();
    for Fault { what, kind, words } in &FAULTS {
        let row = format!("| {what} | `{kind}` | … {words} … |");
        assert!(page.contains(&row), "docs/operating.md has no row\n{row}");
    }
}
