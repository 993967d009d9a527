//! The disk under the journal: full, damaged, replaced under the running gateway.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::bounds::summary;
use crate::outage_mqtt::finish;
use crate::support::numbered::ANY_VALUE;
use crate::support::{
    Conduct, ContractBroker, Fieldgate, MESSAGES, PATIENCE, Signal, Tally, packets, poll,
};

/// A journal cannot be larger than this at first.
const ROOM_KIB: usize = 600;

/// What ends the shortage.
enum Scarcity {
    /// A file system of that size, which can be made larger.
    Disk(PathBuf),
    /// A limit on the size of files, for those who may not mount.
    Limit,
}

fn config(broker: &ContractBroker, journal: &Path) -> String {
    format!(
        "[source]\nkind = \"stdin\"\n\
         [mqtt]\nbroker_url = \"{}\"\n\
         [journal]\npath = \"{}\"\n\
         [telemetry]\nclock_tolerance = \"1h\"\n{ANY_VALUE}",
        broker.url(),
        journal.display(),
    )
}

impl Scarcity {
    /// A folder for the journal in which there is little room.
    fn begin(folder: &Path) -> Self {
        let disk = folder.join("disk");
        fs::create_dir(&disk).unwrap();
        let size = format!("size={ROOM_KIB}k");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&disk);
        match mount.output() {
            Ok(output) if output.status.success() => Self::Disk(disk),
            _ => Self::Limit,
        }
    }

    fn end(&self, gateway: &mut Fieldgate) {
        let mut command = match self {
            Self::Disk(disk) => {
                let mut remount = Command::new("mount");
                remount.args(["-o", "remount,size=64m"]).arg(disk);
                remount
            }
            Self::Limit => {
                let mut lift = Command::new("prlimit");
                lift.args(["--pid", &gateway.pid().to_string(), "--fsize=unlimited"]);
                lift
            }
        };
        assert!(command.status().unwrap().success(), "{command:?}");
    }
}

impl Drop for Scarcity {
    fn drop(&mut self) {
        if let Self::Disk(disk) = self {
            drop(Command::new("umount").arg("-l").arg(disk).status());
        }
    }
}

/// Slow: it takes 6,000 packets to fill the smallest disk.
#[test]
fn a_full_disk_is_said_once_and_costs_nothing() {
    const PACKETS: u64 = 6_000;
    let broker = ContractBroker::start();
    broker.always(Conduct::HangUp);
    let folder = tempfile::tempdir().unwrap();
    let scarcity = Scarcity::begin(folder.path());
    // The soft limit only, and a write beyond it shall fail rather than kill.
    let limit = match scarcity {
        Scarcity::Disk(_) => String::new(),
        Scarcity::Limit => format!("trap '' XFSZ; ulimit -S -f {ROOM_KIB}; "),
    };
    let script = format!(
        "{limit}exec {} run --no-tui --config config.toml",
        env!("CARGO_BIN_EXE_fieldgate")
    );
    let gateway = Fieldgate::with_program("bash", &["-c", &script]);
    gateway.write_file(
        "config.toml",
        &config(&broker, &folder.path().join("disk/journal.db")),
    );
    let mut gateway = gateway.start();
    gateway.write_stdin(packets(1..=PACKETS).as_bytes());
    let line = gateway.wait_for_log("Cannot write the journal", PATIENCE);
    assert!(
        line.contains("ERROR") && line.contains("kept in memory"),
        "{line}"
    );
    gateway.write_stdin(packets(PACKETS + 1..=PACKETS + 100).as_bytes());
    scarcity.end(&mut gateway);
    gateway.wait_for_log("Journal is written again", PATIENCE);
    assert_eq!(gateway.count_log("Cannot write the journal"), 1);
    broker.always(Conduct::Serve);
    finish(&mut gateway);
    let all = usize::try_from(PACKETS + 100).unwrap() * MESSAGES;
    assert_eq!(summary(&mut gateway), (all, 0));
    let sessions = broker.record().sessions();
    Tally::of_acknowledged(&sessions).assert_complete("MQTT", 1..=PACKETS + 100);
}

/// A gateway with a backlog of 500 packets in its journal, stopped.
fn with_backlog(broker: &ContractBroker) -> (Fieldgate, PathBuf) {
    broker.always(Conduct::HangUp);
    let mut gateway = Fieldgate::new(&config(broker, Path::new("journal.db"))).start();
    gateway.write_stdin(packets(1..=500).as_bytes());
    let path = gateway.folder().join("journal.db");
    let written = poll(PATIENCE, || {
        (crate::crash::try_journaled(&path).ok()?.len() == 500).then_some(())
    });
    written.expect("the packets are not in the journal");
    (gateway, path)
}

fn stop_at_once(gateway: &mut Fieldgate) {
    gateway.signal(Signal::SIGINT);
    gateway.wait_for_log("a second signal stops at once", PATIENCE);
    gateway.signal(Signal::SIGINT);
    assert!(gateway.wait_exit(PATIENCE).success());
}

/// What of a damaged journal was kept aside.
fn kept_aside(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path.parent().unwrap()).unwrap();
    let is_kept = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.starts_with("journal.db.damaged-")
            && !name.ends_with("-wal")
            && !name.ends_with("-shm")
    };
    entries
        .map(|entry| entry.unwrap().path())
        .filter(is_kept)
        .collect()
}

/// Damages a file, in one of many ways.
fn damage(bytes: &mut Vec<u8>, random: &mut fastrand::Rng) {
    match random.u8(..4) {
        0 => bytes.truncate(random.usize(..bytes.len())),
        1 => {
            for _ in 0..50 {
                let place = random.usize(..bytes.len());
                bytes[place] ^= 1 << random.u8(..8);
            }
        }
        2 => {
            let start = random.usize(..bytes.len());
            let end = bytes.len().min(start + 8_192);
            bytes[start..end].fill(0);
        }
        _ => {
            let start = random.usize(..100);
            bytes[start] = !bytes[start];
        }
    }
}

/// Slow: twelve damages at random places, with two runs of the gateway for each.
#[test]
fn a_damaged_journal_is_kept_aside_and_never_stops_the_gateway() {
    let seed = fastrand::u64(..);
    println!("Seed {seed}.");
    let mut random = fastrand::Rng::with_seed(seed);
    for round in 0..12 {
        let broker = ContractBroker::start();
        let (mut gateway, path) = with_backlog(&broker);
        stop_at_once(&mut gateway);
        let mut bytes = fs::read(&path).unwrap();
        damage(&mut bytes, &mut random);
        fs::write(&path, &bytes).unwrap();

        broker.always(Conduct::Serve);
        gateway.start_again();
        gateway.write_stdin(packets(501..=600).as_bytes());
        finish(&mut gateway);
        let sessions = broker.record().sessions();
        let tally = Tally::of_acknowledged(&sessions);
        tally.assert_holds("new packets", 501..=600);
        assert_eq!(gateway.count_log("panicked"), 0);
        let kept = kept_aside(&path);
        let said = gateway.count_log("Journal is damaged.");
        let is_complete = tally.distinct() == 600 * MESSAGES;
        println!(
            "Round {round}: {} of 600 arrived.",
            tally.distinct() / MESSAGES
        );
        // What is not there is said, and what is said is kept.
        assert!(is_complete || said > 0, "round {round}: lost in silence");
        assert_eq!(kept.len(), said, "round {round}: {kept:?}");
        for kept in kept {
            assert!(
                fs::read(&kept).unwrap() == bytes,
                "round {round}: {kept:?} was changed"
            );
        }
        tally.assert_only("readings", 1..=600);
    }
}

#[test]
fn a_journal_that_is_damaged_under_the_running_gateway_never_stops_it() {
    let broker = ContractBroker::start();
    let (mut gateway, path) = with_backlog(&broker);
    // All that there is, headers included: nothing can be saved.
    for suffix in ["", "-wal"] {
        let path = PathBuf::from(format!("{}{suffix}", path.display()));
        let length = fs::metadata(&path).unwrap().len();
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        let noise: Vec<u8> = (0..length).map(|_| fastrand::u8(..)).collect();
        std::os::unix::fs::FileExt::write_all_at(&file, &noise, 0).unwrap();
    }
    gateway.write_stdin(packets(501..=600).as_bytes());
    broker.always(Conduct::Serve);
    gateway.wait_for_log("Journal is damaged", PATIENCE);
    gateway.write_stdin(packets(601..=700).as_bytes());
    finish(&mut gateway);
    assert_eq!(gateway.count_log("panicked"), 0);
    let tally = Tally::of_acknowledged(&broker.record().sessions());
    // What came before the damage was noticed may have gone into the damaged file.
    tally.assert_holds("new packets", 601..=700);
    tally.assert_only("readings", 1..=700);
    let (delivered, dropped) = summary(&mut gateway);
    assert_eq!(delivered + dropped, 700 * MESSAGES);
    assert_eq!(kept_aside(&path).len(), 1);
}
