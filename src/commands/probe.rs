//! What a serial port says: at which speed, in which format.

use std::path::Path;
use std::time::Duration;

use crate::source::{self, SourceError};
use crate::telemetry::{Proposal, learn};

/// The usual speeds, the most usual first, for a port that reads alike at several.
const SPEEDS: [u32; 8] = [
    115_200, 9_600, 19_200, 38_400, 57_600, 230_400, 460_800, 921_600,
];

/// For each speed.
const TIME: Duration = Duration::from_millis(2_500);

/// This much of what is heard is text when the speed is right.
const READABLE: f64 = 0.9;

/// What was heard at one speed.
pub(super) struct Heard {
    pub(super) baud: u32,
    pub(super) bytes: usize,
    /// The share of it that is text.
    pub(super) readable: f64,
    /// What it is, if it is telemetry.
    pub(super) proposal: Option<Proposal>,
}

impl Heard {
    fn new(baud: u32, bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let is_text = |c: &char| !c.is_control() && *c != '\u{fffd}' || c.is_ascii_whitespace();
        let all = text.chars().count();
        let readable = text.chars().filter(is_text).count() as f64 / all.max(1) as f64;
        Self {
            baud,
            bytes: bytes.len(),
            readable,
            proposal: learn(bytes).filter(|_| readable >= READABLE),
        }
    }

    /// Frames in a second.
    pub(super) fn rate(&self) -> f64 {
        let frames = self.proposal.as_ref().map_or(0, |it| it.frames);
        frames as f64 / TIME.as_secs_f64()
    }

    /// What was heard, in a word or two.
    pub(super) fn words(&self) -> String {
        match &self.proposal {
            _ if self.bytes == 0 => "silence".to_owned(),
            Some(proposal) => format!("{}, {:.1} frames/s", proposal.format, self.rate()),
            None if self.readable >= READABLE => "text, no telemetry".to_owned(),
            None => "not readable".to_owned(),
        }
    }

    /// The lines of the section beside those that name the port.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if self.baud != SPEEDS[0] {
            lines.push(format!("baud = {}", self.baud));
        }
        lines.extend(self.proposal.iter().flat_map(|it| it.lines.clone()));
        lines
    }
}

/// Listens at each of the usual speeds.
pub(super) fn probe(path: &Path) -> Result<Vec<Heard>, SourceError> {
    let heard = SPEEDS.into_iter().map(|baud| {
        let bytes = source::listen(path, baud, TIME)?;
        Ok(Heard::new(baud, &bytes))
    });
    heard.collect()
}

/// Listens at the usual speed alone.
pub(super) fn look(path: &Path) -> Result<Heard, SourceError> {
    let bytes = source::listen(path, SPEEDS[0], TIME)?;
    Ok(Heard::new(SPEEDS[0], &bytes))
}

/// The speed at which the most can be read.
pub(super) fn best(heard: Vec<Heard>) -> Option<Heard> {
    let frames = |heard: &Heard| heard.proposal.as_ref().map_or(0, |it| it.frames);
    let most = heard.iter().map(frames).max().filter(|most| *most > 0)?;
    // Of several that read alike, the most usual one.
    heard
        .into_iter()
        .find(|heard| frames(heard) * 10 >= most * 7)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_speed_that_reads_best_is_taken() {
        let heard = [
            Heard::new(115_200, b"\xff\x80\x91\x00\xfe\x03"),
            Heard::new(9_600, b"\n{\"temp\":1}\n{\"temp\":2}\n"),
            Heard::new(19_200, b""),
        ];
        assert_eq!(heard[0].words(), "not readable");
        assert_eq!(heard[1].words(), "json, 0.8 frames/s");
        assert_eq!(heard[2].words(), "silence");
        let best = best(heard.into()).unwrap();
        assert_eq!(best.lines(), ["baud = 9600", "format = \"json\""]);
        assert_eq!(Heard::new(1, b"boot ok\n").words(), "text, no telemetry");
    }
}
