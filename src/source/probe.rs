//! Listens to a serial port for a moment, to find out what it says.

use std::io::{self, Read};
use std::path::Path;
use std::time::{Duration, Instant};

use serialport::{DataBits, FlowControl, Parity, StopBits};

use super::SourceError;
use super::serial::open_to_listen;
use crate::config::{ControlLine, LineEnding, Port, PortSelector, Reset};

/// More than a line says in a moment at any speed that is tried.
const LONGEST: usize = 256 * 1024;

/// What a port says within a while at one speed.
pub fn listen(path: &Path, baud: u32, time: Duration) -> Result<Vec<u8>, SourceError> {
    let config = Port {
        selector: PortSelector::Path(path.to_owned()),
        baud,
        data_bits: DataBits::Eight,
        parity: Parity::None,
        stop_bits: StopBits::One,
        flow_control: FlowControl::None,
        // Who listens for a moment does not reset the board.
        dtr: ControlLine::Leave,
        rts: ControlLine::Leave,
        reset: Reset::None,
        line_ending: LineEnding::Lf,
    };
    let mut port = open_to_listen(path, &config)?;
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
