//! What there is to answer with: ports, what they send, servers.

use std::net::{TcpStream, ToSocketAddrs};
use std::path::Path;
use std::time::Duration;

use super::question::{NONE, SIMULATOR};
use crate::commands::probe::{self, Heard};
use crate::source::{self, SourceError};

pub(super) const DEFAULT_BROKER: &str = "mqtt://localhost:1883";
pub(super) const DEFAULT_DATABASE: &str = "http://localhost:8086";
const DEFAULT_PORT: &str = "/dev/ttyACM0";

/// This machine answers at once, whichever way.
const PATIENCE: Duration = Duration::from_millis(500);

/// The port that a board is most likely at; `tells` says which there are.
pub(super) fn port(tells: bool) -> String {
    let ports = source::ports();
    if tells {
        tell(
            "Serial ports found",
            ports.iter().map(|port| port.path.display().to_string()),
        );
    }
    // The board is a USB device; the ports of the machine itself are seldom meant.
    let board = ports.iter().find(|port| port.usb.is_some());
    board.map_or(DEFAULT_PORT.to_owned(), |port| {
        port.path.display().to_string()
    })
}

/// A broker and a database at their usual ports of this machine, or what says that there is none.
pub(super) fn servers() -> (&'static str, &'static str) {
    let broker = if is_served(1883) {
        DEFAULT_BROKER
    } else {
        NONE
    };
    let database = if is_served(8086) {
        DEFAULT_DATABASE
    } else {
        NONE
    };
    let found = [broker, database].into_iter().filter(|it| *it != NONE);
    tell("Servers found", found.map(str::to_owned));
    (broker, database)
}

fn tell(words: &str, found: impl Iterator<Item = String>) {
    let found: Vec<String> = found.collect();
    if found.is_empty() {
        eprintln!("{words}: {NONE}.");
    } else {
        eprintln!("{words}: {}.", found.join(", "));
    }
}

fn is_served(port: u16) -> bool {
    let addresses = ("localhost", port).to_socket_addrs();
    addresses.is_ok_and(|mut addresses| {
        addresses.any(|address| TcpStream::connect_timeout(&address, PATIENCE).is_ok())
    })
}

/// Listens to a port: the lines of its section, beside the one that names it, that say what it sends. None for
/// what a gateway board does.
pub(super) fn listen(port: &str) -> Vec<String> {
    let path = Path::new(port);
    if port == SIMULATOR || !path.exists() {
        return Vec::new();
    }
    eprintln!("Listening to {port} for a moment.");
    match hear(path) {
        Ok(heard) => {
            eprintln!("Heard: {}.", heard.words());
            heard.lines()
        }
        Err(error) => {
            eprintln!("It cannot be opened: {error}");
            Vec::new()
        }
    }
}

/// What the port says at the usual speed or, where nobody could read that, at the one that reads best.
fn hear(path: &Path) -> Result<Heard, SourceError> {
    let heard = probe::look(path)?;
    if heard.bytes == 0 || heard.proposal.is_some() {
        return Ok(heard);
    }
    eprintln!(
        "Heard: {}. Listening at the usual speeds, 20 s.",
        heard.words()
    );
    Ok(probe::best(probe::probe(path)?).unwrap_or(heard))
}
