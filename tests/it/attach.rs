//! Two terminals attached to one gateway, through its restart.

use std::fs::File;
use std::io::Read;
use std::process::Command;

use nix::pty::{Winsize, openpty};

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
        terminal.wait_for(&url);
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
fn it_ends_with_its_terminal() {
    let size = Winsize {
        ws_row: 30,
        ws_col: 110,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    let pair = openpty(Some(&size), None).unwrap();
    let mut attached = {
        let url = format!("http://127.0.0.1:{}", Port::reserve().number());
        let terminal = || File::from(pair.slave.try_clone().unwrap());
        let mut command = Command::new("setsid");
        command
            .args(["--ctty", env!("CARGO_BIN_EXE_fieldgate"), "attach", &url])
            .env("TERM", "xterm-256color")
            .stdin(terminal())
            .stdout(terminal())
            .stderr(terminal());
        command.spawn().unwrap()
    };
    drop(pair.slave);
    let (mut window, mut drawn) = (File::from(pair.master), Vec::new());
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
    assert!(ended.is_some(), "it goes on without a terminal");
}
