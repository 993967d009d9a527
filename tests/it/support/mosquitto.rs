//! A Mosquitto broker.

use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use super::PATIENCE;
use super::port::Port;
use super::process::{Process, program};

/// How a broker is set up.
#[derive(Default)]
pub(crate) struct MosquittoOptions {
    /// Whether retained messages and sessions outlive a restart; after [`Mosquitto::kill`], what
    /// is older than a second.
    pub(crate) persistence: bool,
    /// Names and passwords; none: everybody may connect.
    pub(crate) users: Vec<(&'static str, &'static str)>,
    /// Text of the access control list; `None`: everybody may do everything.
    pub(crate) acl: Option<&'static str>,
}

/// Messages that a broker holds for a subscriber. Not 0, which means without bounds: with it, Mosquitto
/// 2.0 ends the connection of whoever it refuses a message.
const MANY: u32 = 10_000_000;

/// A broker of the test's own.
pub(crate) struct Mosquitto {
    folder: TempDir,
    port: Port,
    process: Option<Process>,
}

impl Mosquitto {
    /// Starts a broker without persistence that everybody may use.
    pub(crate) fn start() -> Self {
        Self::start_with(&MosquittoOptions::default())
    }

    /// Starts a broker and waits until it answers.
    pub(crate) fn start_with(options: &MosquittoOptions) -> Self {
        Self::start_in(|folder, port| write_config(folder, port, options))
    }

    /// Starts a broker with the configuration that is made for its port and its folder. On that
    /// port it must take plain connections.
    pub(crate) fn start_with_config(config: impl FnOnce(u16, &str) -> String) -> Self {
        Self::start_in(|folder, port| {
            let path = folder.path();
            let config = config(port.number(), path.to_str().unwrap());
            let config = format!("{config}\n{}", user_setting(folder));
            std::fs::write(path.join("mosquitto.conf"), config).unwrap();
        })
    }

    fn start_in(write_config: impl FnOnce(&TempDir, &Port)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = Port::reserve();
        write_config(&folder, &port);
        let mut broker = Self {
            folder,
            port,
            process: None,
        };
        broker.start_again();
        broker
    }

    /// Its port, the same after every restart.
    pub(crate) fn port(&self) -> u16 {
        self.port.number()
    }

    /// Its address as the configuration wants it.
    pub(crate) fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port())
    }

    /// Ends it in good order.
    pub(crate) fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.signal(Signal::SIGTERM);
            process.wait_exit(PATIENCE);
        }
    }

    /// Ends it as a power cut would.
    pub(crate) fn kill(&mut self) {
        self.process = None;
    }

    /// Starts it after [`Mosquitto::stop`] or [`Mosquitto::kill`].
    pub(crate) fn start_again(&mut self) {
        assert!(self.process.is_none(), "the broker runs");
        let config = self.folder.path().join("mosquitto.conf");
        let mut process = Process::spawn("mosquitto", program("mosquitto").arg("-c").arg(config));
        let port = self.port.number();
        process.wait_for("answer to a CONNECT", PATIENCE, |_| answers(port).ok());
        self.process = Some(process);
    }

    /// Stops it and starts it again.
    pub(crate) fn restart(&mut self) {
        self.stop();
        self.start_again();
    }

    /// Lets it read another access control list, if it was started with one.
    pub(crate) fn set_acl(&mut self, acl: &str) {
        std::fs::write(self.folder.path().join("acl"), acl).unwrap();
        self.signal(Signal::SIGHUP);
    }

    /// Freezes it: connections stay open and nothing answers.
    pub(crate) fn suspend(&mut self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Ends [`Mosquitto::suspend`].
    pub(crate) fn resume(&mut self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&mut self, signal: Signal) {
        self.process
            .as_mut()
            .expect("the broker is down")
            .signal(signal);
    }
}

fn write_config(folder: &TempDir, port: &Port, options: &MosquittoOptions) {
    let path = folder.path();
    let shown = path.display();
    let mut config = format!(
        "listener {} 127.0.0.1\n\
         allow_anonymous {}\n\
         persistence {}\n\
         persistence_location {shown}/\n\
         autosave_interval 1\n\
         max_queued_messages {MANY}\n\
         set_tcp_nodelay true\n",
        port.number(),
        options.users.is_empty(),
        options.persistence,
    );
    config += user_setting(folder);
    if !options.users.is_empty() {
        writeln!(config, "password_file {shown}/passwords").unwrap();
        std::fs::write(path.join("passwords"), "").unwrap();
        for (name, password) in &options.users {
            let mut command = program("mosquitto_passwd");
            command.arg("-b").arg(path.join("passwords"));
            assert!(command.args([name, password]).status().unwrap().success());
        }
    }
    if let Some(acl) = options.acl {
        writeln!(config, "acl_file {shown}/acl").unwrap();
        std::fs::write(path.join("acl"), acl).unwrap();
    }
    std::fs::write(path.join("mosquitto.conf"), config).unwrap();
}

/// Started by root, Mosquitto becomes a user who cannot enter this folder.
fn user_setting(folder: &TempDir) -> &'static str {
    let is_of_root = folder.path().metadata().unwrap().uid() == 0;
    if is_of_root { "user root\n" } else { "" }
}

/// Whether a broker answers a CONNECT, be it with a refusal.
fn answers(port: u16) -> std::io::Result<()> {
    const CONNECT: &[u8] = b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00";
    const DISCONNECT: &[u8] = b"\xe0\x00";
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    stream.write_all(CONNECT)?;
    let mut connack = [0; 4];
    stream.read_exact(&mut connack)?;
    if connack[0] != 0x20 {
        return Err(std::io::Error::other("no CONNACK"));
    }
    // The broker may have hung up already, if it refused.
    drop(stream.write_all(DISCONNECT));
    Ok(())
}
