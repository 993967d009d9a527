//! Cuts what a format needs out of a byte stream: JSON objects, or lines.

mod lines;
mod objects;

use super::{Format, RejectReason};
use lines::Lines;
use objects::{Objects, Style};

pub(super) use objects::is_not_finite;

/// No frame longer than this is kept, in bytes.
pub const MAX_FRAME: usize = 4096;

/// A piece of the stream. The pieces given out, one after the other, are the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Segment<'a> {
    /// What stands between frames.
    Text(&'a [u8]),
    /// A whole JSON object, in which numbers may also be `NaN` or `inf`; or a line without its end.
    Frame(&'a str),
    /// The beginning of something that began as a frame and was none.
    Damaged {
        /// Up to where it broke, or up to a whole object inside.
        bytes: &'a [u8],
        /// Why it is none.
        reason: RejectReason,
    },
}

/// Where a stream may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Beginning {
    /// At its first byte.
    #[default]
    Whole,
    /// Anywhere in a frame, as that of a port that was opened.
    Midway,
}

/// Cuts one stream.
#[derive(Debug)]
pub struct Framer(Cutter);

#[derive(Debug)]
enum Cutter {
    Objects(Box<Objects>),
    Lines(Lines),
}

impl Default for Framer {
    fn default() -> Self {
        Self::new(&Format::Board, Beginning::Whole)
    }
}

impl Framer {
    /// A framer for streams of a format.
    pub fn new(format: &Format, beginning: Beginning) -> Self {
        let objects = |style| Cutter::Objects(Box::new(Objects::new(style)));
        Self(match format {
            Format::Board => objects(Style::Board),
            Format::Json(_) => objects(Style::Any),
            Format::Plotter(_) | Format::LineProtocol(_) => {
                Cutter::Lines(Lines::new(format, beginning))
            }
        })
    }

    /// Takes the next bytes of the stream, and gives out what is certain after them.
    pub fn push(&mut self, bytes: &[u8], give: &mut impl FnMut(Segment<'_>)) {
        match &mut self.0 {
            Cutter::Objects(objects) => objects.push(bytes, give),
            Cutter::Lines(lines) => lines.push(bytes, give),
        }
    }

    /// The stream ended or was interrupted: what is unfinished will stay so. The framer is as new.
    pub fn finish(&mut self, give: &mut impl FnMut(Segment<'_>)) {
        match &mut self.0 {
            Cutter::Objects(objects) => objects.finish(give),
            Cutter::Lines(lines) => lines.finish(give),
        }
    }

    /// The input ended by itself: its last line is whole without a line feed behind it.
    pub fn end(&mut self, give: &mut impl FnMut(Segment<'_>)) {
        match &mut self.0 {
            Cutter::Objects(objects) => objects.finish(give),
            Cutter::Lines(lines) => lines.end(give),
        }
    }
}
