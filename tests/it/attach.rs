//! Two terminals attached to one gateway, through its restart.

use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::process::Command;

use nix::fcntl::OFlag;
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};

use crate::support::{Fieldgate, Mosquitto, PATIENCE, Port, Signal, Terminal, poll};

const SIZE: (u16, u16) = (110, 30);

#[test]
fn two_terminals_see_a_gateway_through_its_restart_and_leave_it_running() {
    let broker = Mosquitto::start();
    let port = Port::reserve();
    let listen = format!("127.0.0.1:{}", port.number());
    let mut gateway = Fieldgate::new(&format!(
        "[source]\nkind = \"simulator\"\nrate = 20\n[mqtt]\nbroker_url = \"{}\"\n\
         [api]\nlisten = \"{listen}\"\n",
        broker.url()
    ))
    .start();
    let url = format!("http://{listen}");
    let mut terminals = [0; 2].map(|_| Terminal::start(SIZE, &["attach", &url]));
    for terminal in &terminals {
        terminal.wait_for("temperature");
        terminal.wait_for(&listen);
    }
    gateway.signal(Signal::SIGTERM);
    assert!(gateway.wait_exit(PATIENCE).success());
    for terminal in &terminals {
        terminal.wait_for("lost");
    }
    gateway.start_again();
    for terminal in &mut terminals {
        terminal.wait_until("the gateway again", |screen| {
            !screen.contains("lost") && screen.contains("temperature")
        });
        terminal.type_keys("q");
        assert_eq!(terminal.wait_exit(), 0);
        terminal.assert_restored();
    }
    gateway.signal(Signal::SIGTERM);
    assert!(gateway.wait_exit(PATIENCE).success());
}

#[test]
fn the_frames_of_a_node_that_came_before_anybody_looked_are_there() {
    let port = Port::reserve();
    let listen = format!("127.0.0.1:{}", port.number());
    let config = format!("[source]\nkind = \"stdin\"\n[api]\nlisten = \"{listen}\"\n");
    let mut gateway = Fieldgate::new(&config).start();
    for second in 1..=6 {
        let frame = format!(
            "{{\"ts\":{second}000,\"id\":\"N2\",\"n1\":{{\"t\":2{second}}},\"sts\":{{\"rx\":{second}}}}}\n"
        );
        gateway.write_stdin(frame.as_bytes());
    }
    gateway.wait_for_log("Node is heard for the first time.", PATIENCE);
    let url = format!("http://{listen}");
    let mut terminal = Terminal::start(SIZE, &["attach", &url]);
    terminal.wait_for("temperature");
    terminal.type_keys("2\r");
    terminal.wait_for("its last frames");
    terminal.wait_for("{\"ts\":5000,");
    terminal.wait_for("{\"ts\":6000,");
}

#[test]
fn it_ends_with_its_terminal() {
    let mut window = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC).unwrap();
    grantpt(&window).unwrap();
    unlockpt(&window).unwrap();
    let path = ptsname_r(&window).unwrap();
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    options.custom_flags(OFlag::O_NOCTTY.bits());
    let terminal = options.open(path).unwrap();
    let mut attached = {
        let url = format!("http://127.0.0.1:{}", Port::reserve().number());
        let script = "stty rows 30 cols 110; exec \"$0\" attach \"$1\"";
        let mut command = Command::new("setsid");
        command
            .args(["--ctty", "sh", "-c", script])
            .args([env!("CARGO_BIN_EXE_fieldgate"), &url])
            .env("TERM", "xterm-256color")
            .stdin(terminal.try_clone().unwrap())
            .stdout(terminal.try_clone().unwrap())
            .stderr(terminal);
        command.spawn().unwrap()
    };
    let mut drawn = Vec::new();
    while !drawn.windows(8).any(|bytes| bytes == b"Overview") {
        let mut bytes = [0; 4096];
        let count = window.read(&mut bytes).unwrap();
        drawn.extend_from_slice(&bytes[..count]);
    }
    // As when its window is closed.
    drop(window);
    let ended = poll(PATIENCE, || attached.try_wait().unwrap());
    if ended.is_none() {
        drop(attached.kill());
    }
    let status = ended.expect("it goes on without a terminal");
    assert_eq!(status.code(), Some(1), "{status}");
}

/// Nineteen of the twenty answer; one of these is killed and comes back.
/// Slow: twenty gateways start.
#[test]
fn twenty_gateways_are_listed_and_each_can_be_looked_into() {
    let ports: Vec<Port> = (0..20).map(|_| Port::reserve()).collect();
    let urls: Vec<String> = ports
        .iter()
        .map(|port| format!("http://127.0.0.1:{}", port.number()))
        .collect();
    let start = |url: &String| {
        let listen = url.trim_start_matches("http://");
        let config = format!(
            "[source]\nkind = \"simulator\"\n[journal]\npath = \":memory:\"\n[api]\nlisten = \"{listen}\"\n"
        );
        Fieldgate::new(&config).start()
    };
    let mut gateways: Vec<_> = urls[..19].iter().map(start).collect();
    let mut arguments = vec!["attach"];
    arguments.extend(urls.iter().map(String::as_str));
    let mut terminal = Terminal::start(SIZE, &arguments);
    terminal.wait_for("20 gateways");
    terminal.wait_for("19 of 20 gateways in reach");
    terminal.wait_for("connection refused");
    gateways[1].kill();
    terminal.wait_for("18 of 20 gateways in reach");
    gateways[1].start_again();
    terminal.wait_for("19 of 20 gateways in reach");

    terminal.type_keys("\x1b[B\x1b[B\r");
    let inside = terminal.wait_for("temperature");
    let third = urls[2].trim_start_matches("http://");
    assert!(inside.contains(third), "{inside}");
    terminal.type_keys("\x1b");
    terminal.wait_for("20 gateways");
    // The one that does not answer is looked into all the same.
    terminal.type_keys("G\r");
    terminal.wait_for("is out of reach");
    terminal.type_keys("\x1b");
    terminal.wait_for("20 gateways");
    terminal.type_keys("q");
    assert_eq!(terminal.wait_exit(), 0);
    terminal.assert_restored();
}

#[test]
fn without_an_address_the_gateways_of_the_configuration_are_listed() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("fleet.toml");
    let ports = [Port::reserve(), Port::reserve()];
    let urls = ports.map(|port| format!("\"http://127.0.0.1:{}\"", port.number()));
    let text = format!("[attach]\ngateways = [{}]\n", urls.join(", "));
    std::fs::write(&config, text).unwrap();
    let arguments = ["attach", "--config", config.to_str().unwrap()];
    let mut terminal = Terminal::start(SIZE, &arguments);
    let listed = terminal.wait_for("0 of 2 gateways in reach");
    assert!(listed.contains("127.0.0.1"), "{listed}");
    terminal.type_keys("q");
    assert_eq!(terminal.wait_exit(), 0);
    terminal.assert_restored();
}
