//! How the gateway says that it is there, and how it goes.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::{Fieldgate, Mosquitto, PATIENCE, Sample, Signal, Subscriber};

const STATUS: &str = "iiot/gateway/status";

/// A gateway that has published a sample and waits for more.
fn deliver_and_wait(broker: &Mosquitto) -> Fieldgate {
    let subscriber = Subscriber::start(broker.port(), "iiot/#");
    let mut gateway = Fieldgate::new(&format!(
        "[source]\nkind = \"stdin\"\n[mqtt]\nbroker_url = \"{}\"\n",
        broker.url()
    ))
    .start();
    gateway.write_stdin(&std::fs::read(Sample::LiteralNewline.path()).unwrap());
    let count = Sample::LiteralNewline.readings().len();
    subscriber.wait_for_count(count + 1, PATIENCE);
    gateway
}

/// What a subscriber that comes now is told of the gateway.
fn status(broker: &Mosquitto) -> (String, bool) {
    let subscriber = Subscriber::start(broker.port(), STATUS);
    let message = subscriber.wait_for_count(1, PATIENCE).swap_remove(0);
    (message.payload, message.retained)
}

#[test]
fn a_stop_is_tidy_by_either_signal() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let broker = Mosquitto::start();
        let mut gateway = deliver_and_wait(&broker);
        assert_eq!(status(&broker), ("online".into(), true));
        gateway.signal(signal);
        let metrics = gateway.wait_for_metrics(PATIENCE);
        assert_eq!(status(&broker), ("offline".into(), true));
        let expected = format!(
            "Stopped. 40 packets received; delivered {} messages to MQTT (0 waiting). Journal: \
             {}/fieldgate/journal.db.",
            Sample::LiteralNewline.readings().len(),
            gateway.folder().display()
        );
        assert_eq!(gateway.stdout().pop().as_deref(), Some(expected.as_str()));
        assert_eq!(gateway.stderr(), [""; 0]);
        assert_eq!(metrics[r#"queue_depth{sink="mqtt"}"#].to_string(), "0");
    }
}

#[test]
fn the_broker_tells_of_a_gateway_that_is_gone_without_a_word() {
    let broker = Mosquitto::start();
    let watcher = Subscriber::start(broker.port(), STATUS);
    let mut gateway = deliver_and_wait(&broker);
    watcher.wait_for_count(1, PATIENCE);
    gateway.signal(Signal::SIGKILL);
    gateway.wait_exit(PATIENCE);
    let told = watcher.wait_for_count(2, PATIENCE);
    let payloads: Vec<&str> = told
        .iter()
        .map(|message| message.payload.as_str())
        .collect();
    assert_eq!(payloads, ["online", "offline"]);
    assert_eq!(status(&broker), ("offline".into(), true));
    // And when it is back.
    gateway.start_again();
    watcher.wait_for_count(3, PATIENCE);
    assert_eq!(status(&broker), ("online".into(), true));
}

#[test]
fn a_second_signal_does_not_wait_for_a_broker_that_is_away() {
    let mut broker = Mosquitto::start();
    let mut gateway = Fieldgate::new(&format!(
        "shutdown_timeout = \"1h\"\n[source]\nkind = \"stdin\"\n[mqtt]\nbroker_url = \"{}\"\n",
        broker.url()
    ))
    .start();
    gateway.wait_for_log("Connected.", PATIENCE);
    broker.stop();
    gateway.wait_for_log("Connection failed", PATIENCE);
    gateway.write_stdin(&std::fs::read(Sample::LiteralNewline.path()).unwrap());
    gateway.wait_for_log("Board reports", PATIENCE);
    gateway.signal(Signal::SIGINT);
    gateway.wait_for_log("a second signal stops at once", PATIENCE);
    gateway.signal(Signal::SIGINT);
    gateway.wait_for_metrics(PATIENCE);
    let count = Sample::LiteralNewline.readings().len();
    let summary = gateway.stdout().pop().unwrap();
    let expected = format!("delivered 0 messages to MQTT ({count} waiting).");
    assert!(summary.contains(&expected), "{summary}");

    // What waited is delivered after the next start.
    broker.start_again();
    let subscriber = Subscriber::start(broker.port(), "iiot/#");
    gateway.start_again();
    gateway.close_stdin();
    gateway.wait_for_metrics(PATIENCE);
    subscriber.wait_for_count(count + 2, Duration::ZERO);
}

/// A library that stands before the system's and lets no byte reach the disk while a file exists.
const HANGING_DISK: &str = r#"
#include <stdlib.h>
#include <unistd.h>
static int reach_the_disk(void) {
    while (access(getenv("DISK_HANGS"), F_OK) == 0) usleep(5000);
    return 0;
}
int fsync(int file) { return reach_the_disk(); }
int fdatasync(int file) { return reach_the_disk(); }
"#;

fn build_hanging_disk(folder: &Path) {
    std::fs::write(folder.join("disk.c"), HANGING_DISK).unwrap();
    let arguments = ["-shared", "-fPIC", "-o", "disk.so", "disk.c"];
    let built = Command::new("cc")
        .args(arguments)
        .current_dir(folder)
        .status();
    assert!(built.unwrap().success());
}

#[test]
fn a_disk_that_hangs_does_not_hold_up_a_second_signal() {
    let folder = tempfile::tempdir().unwrap();
    build_hanging_disk(folder.path());
    let hangs = folder.path().join("hangs");
    let library = folder.path().join("disk.so");
    let broker = Mosquitto::start();
    let mut gateway = Fieldgate::new(&format!(
        "shutdown_timeout = \"1h\"\n[source]\nkind = \"stdin\"\n[mqtt]\nbroker_url = \"{}\"\n",
        broker.url()
    ))
    .env("LD_PRELOAD", library.to_str().unwrap())
    .env("DISK_HANGS", hangs.to_str().unwrap())
    .start();
    let subscriber = Subscriber::start(broker.port(), "iiot/#");
    let sample = std::fs::read(Sample::LiteralNewline.path()).unwrap();
    gateway.write_stdin(&sample);
    let count = Sample::LiteralNewline.readings().len();
    subscriber.wait_for_count(count + 1, PATIENCE);

    std::fs::write(&hangs, "").unwrap();
    gateway.write_stdin(&sample);
    gateway.wait_for_log("rebooted", PATIENCE);
    gateway.signal(Signal::SIGTERM);
    gateway.wait_for_log("a second signal stops at once", PATIENCE);
    gateway.signal(Signal::SIGTERM);
    let asked = Instant::now();
    let status = gateway.wait_exit(PATIENCE);
    assert!(asked.elapsed() < Duration::from_secs(10), "{asked:?}");
    assert_eq!(status.code(), Some(1));
    gateway.logged("the disk or a device does not answer");

    // What was in the journal is still there.
    std::fs::remove_file(&hangs).unwrap();
    gateway.start_again();
    gateway.close_stdin();
    gateway.wait_for_metrics(PATIENCE);
}

#[test]
fn a_pipe_that_nobody_reads_does_not_hold_up_a_stop() {
    let broker = Mosquitto::start();
    let script = format!(
        "exec {} run --no-tui --config config.toml > pipe",
        env!("CARGO_BIN_EXE_fieldgate")
    );
    let gateway = Fieldgate::with_program("bash", &["-c", &script]);
    let config = format!(
        "[source]\nkind = \"stdin\"\n[mqtt]\nbroker_url = \"{}\"\n",
        broker.url()
    );
    gateway.write_file("config.toml", &config);
    let path = gateway.folder().join("pipe");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut pipe = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(nix::libc::O_NONBLOCK)
        .open(&path)
        .unwrap();
    let full = loop {
        if let Err(error) = pipe.write(&[b'x'; 4096]) {
            break error;
        }
    };
    assert_eq!(full.kind(), ErrorKind::WouldBlock);
    let subscriber = Subscriber::start(broker.port(), STATUS);
    let mut gateway = gateway.start();
    subscriber.wait_for_count(1, PATIENCE);
    gateway.signal(Signal::SIGTERM);
    assert!(gateway.wait_exit(PATIENCE).success());
    assert_eq!(status(&broker), ("offline".into(), true));
}
