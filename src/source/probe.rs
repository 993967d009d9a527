//! Listens to a serial port for a moment, to find out what it says.

use std::io::{self, Read};
use std::path::Path;
use std::time::{Duration, Instant};

use super::SourceError;
use super::serial::open_port;

/// More than a line says in a moment at any speed that is tried.
const LONGEST: usize = 256 * 1024;

/// What a port says within a while at one speed.
pub fn listen(path: &Path, baud: u32, time: Duration) -> Result<Vec<u8>, SourceError> {
    let mut port = open_port(path, baud)?;
    let end = Instant::now() + time;
    let mut heard = Vec::new();
    let mut piece = [0; 4096];
    while Instant::now() < end && heard.len() < LONGEST {
        match port.read(&mut piece) {
            Ok(count) => heard.extend_from_slice(&piece[..count]),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_gone) => break,
        }
    }
    Ok(heard)
}
