//! Cuts JSON objects out of a byte stream that also holds log text, boot messages and damage.
//!
//! Every `{` could begin an object. An object *closes* when its JSON is complete, and *dies* at the
//! first byte that no JSON object can have there, at a line feed that its [`Style`] does not allow, or
//! when it grows too long. What is given out is decided from left to right: the first object that closed is a frame, and the search
//! goes on behind it; an object that died is skipped, and the search goes on at its next `{`.
//!
//! This takes linear time, because no byte is looked at by more than two [`Track`]s. A `{` in the
//! structure of an object belongs to that object's own track. A `{` inside a string of it needs a
//! second one, in case the string is none; every quote moves both, so one of the two is always inside
//! a string and the other is not, and there can be no third.

mod track;

use std::collections::VecDeque;

pub(in crate::telemetry) use track::is_not_finite;
use track::{Failure, Step, Track, Window};

use super::{MAX_FRAME, Segment};
use crate::telemetry::RejectReason;

/// Where objects may hold line feeds, and what tells the rest of a broken one from a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// An object holds line feeds only if one stands right behind its brace, as pretty printers put it;
    /// else a line feed is damage. Frames have a time.
    Board,
    /// Line feeds stand wherever JSON allows white space. A frame is no other object's value.
    Any,
}

/// A `{` that may begin an object.
#[derive(Debug)]
struct Object {
    start: u64,
    /// Whether it stands within another one, or did before that broke: it is no frame by itself.
    is_inner: bool,
    fate: Fate,
}

#[derive(Debug, Clone, Copy)]
enum Fate {
    /// Not known yet.
    Open,
    /// Complete; `end` is behind its `}`.
    Closed { end: u64 },
    /// Broken.
    Dead(Failure),
    /// A brace in a text, as in `{state: idle}`: no key follows it.
    Brace,
}

/// The candidates that are not given out yet, in the order of the stream.
#[derive(Debug, Default)]
struct Candidates {
    waiting: VecDeque<Object>,
    /// The number of the first of them, counted from the beginning of the stream.
    first: u64,
}

impl Candidates {
    fn add(&mut self, start: u64, is_inner: bool) -> u64 {
        self.waiting.push_back(Object {
            start,
            is_inner,
            fate: Fate::Open,
        });
        self.first + self.waiting.len() as u64 - 1
    }

    /// An object by its number; `None` when it is given out already.
    fn get_mut(&mut self, number: u64) -> Option<&mut Object> {
        let index = self.index(number)?;
        self.waiting.get_mut(index)
    }

    fn index(&self, number: u64) -> Option<usize> {
        usize::try_from(number.checked_sub(self.first)?).ok()
    }

    /// The last byte that an object may have and be no frame that is too long; one that is given out
    /// already is too long at once.
    fn too_long_at(&self, number: u64) -> u64 {
        let object = self.index(number).and_then(|index| self.waiting.get(index));
        object.map_or(0, |object| object.start + MAX_FRAME as u64 - 1)
    }

    fn set_fate(&mut self, number: u64, fate: Fate) {
        if let Some(object) = self.get_mut(number) {
            object.fate = fate;
        }
    }

    fn close(&mut self, number: u64, end: u64) {
        self.set_fate(number, Fate::Closed { end });
    }

    fn kill(&mut self, number: u64, failure: Failure) {
        self.set_fate(number, Fate::Dead(failure));
    }

    fn mark_as_brace(&mut self, number: u64) {
        self.set_fate(number, Fate::Brace);
    }

    fn pop(&mut self) {
        self.waiting.pop_front();
        self.first += 1;
    }
}

/// The framer of formats in JSON. All places are offsets in the stream.
#[derive(Debug)]
pub(super) struct Objects {
    style: Style,
    /// The bytes from `base` on: those that are not given out yet.
    buffer: Vec<u8>,
    base: u64,
    candidates: Candidates,
    tracks: [Track; 2],
    /// Up to where the stream is given out.
    given: u64,
    /// Up to where the last damage reached.
    damaged_until: u64,
    /// Behind damage, and where a stream begins, objects without a time are taken for the rest of a
    /// broken one until the line ends, so that it counts once.
    resynchronising: bool,
    /// The last byte of text given out: a line end can be the two characters `\` and `n`.
    previous: u8,
    /// The last two bytes given out that are no blanks.
    tail: [u8; 2],
    /// The byte up to which nothing grows too long.
    too_long_at: u64,
}

impl Objects {
    pub(super) fn new(style: Style) -> Self {
        Self {
            style,
            buffer: Vec::new(),
            base: 0,
            candidates: Candidates::default(),
            tracks: [Track::new(style), Track::new(style)],
            given: 0,
            damaged_until: 0,
            resynchronising: true,
            previous: 0,
            tail: [0; 2],
            too_long_at: u64::MAX,
        }
    }

    /// Takes the next bytes of the stream, and gives out what is certain after them.
    pub(super) fn push(&mut self, bytes: &[u8], give: &mut impl FnMut(Segment<'_>)) {
        // Pieces of a bounded size keep the buffer bounded, whatever a caller passes.
        for piece in bytes.chunks(16 * MAX_FRAME) {
            let start = self.base + self.buffer.len() as u64;
            self.buffer.extend_from_slice(piece);
            let mut scanned = 0;
            while let Some(rest) = piece.get(scanned..) {
                let position = start + scanned as u64;
                let quiet = self.quiet(position, rest);
                let Some(byte) = rest.get(quiet) else { break };
                let position = position + quiet as u64;
                if self.scan(position, *byte) {
                    self.resolve(position + 1, give);
                    self.too_long_at = self.next_too_long();
                }
                scanned += quiet + 1;
            }
            self.resolve(start + piece.len() as u64, give);
            self.too_long_at = self.next_too_long();
            self.forget_given();
        }
    }

    /// The stream ended or was interrupted: what is unfinished will stay so. The framer is as new.
    pub(super) fn finish(&mut self, give: &mut impl FnMut(Segment<'_>)) {
        let end = self.base + self.buffer.len() as u64;
        let failure = Failure {
            at: end,
            reason: RejectReason::Unfinished,
        };
        for track in &mut self.tracks {
            track.kill(failure, &mut self.candidates);
        }
        self.resolve(end, give);
        *self = Self::new(self.style);
    }

    /// How many of the bytes from `position` on change nothing: the inside of a string or a number, and
    /// what stands between objects.
    fn quiet(&self, position: u64, bytes: &[u8]) -> usize {
        let time = usize::try_from(self.too_long_at.saturating_sub(position)).unwrap_or(usize::MAX);
        let bytes = &bytes[..bytes.len().min(time)];
        let [one, other] = &self.tracks;
        match (one.is_idle(), other.is_idle()) {
            (true, true) => bytes
                .iter()
                .position(|byte| *byte == b'{')
                .unwrap_or(bytes.len()),
            (true, false) => other.quiet(bytes),
            (false, true) => one.quiet(bytes),
            // Rare, and two runs of different lengths would be looked at again and again.
            (false, false) => 0,
        }
    }

    /// Looks at one byte. Returns whether the fate of an object became known.
    fn scan(&mut self, position: u64, byte: u8) -> bool {
        let window = Window {
            bytes: &self.buffer,
            base: self.base,
        };
        let (mut opened, mut resolved) = (false, false);
        for track in &mut self.tracks {
            match track.step(position, byte, window, &mut self.candidates) {
                Step::Quiet => {}
                Step::Opened => opened = true,
                Step::Resolved => resolved = true,
            }
        }
        if byte == b'{' && !opened {
            // There is an idle one: of two busy tracks, one is outside of a string and either took
            // this brace or fell idle over it.
            if let Some(track) = self.tracks.iter_mut().find(|track| track.is_idle()) {
                let is_inner = self.style == Style::Any
                    && tail(window.slice(self.given, position), self.tail) == *b"\":";
                track.open_object(position, is_inner, &mut self.candidates);
                opened = true;
            }
        }
        if position >= self.too_long_at {
            resolved |= self.give_up_too_long(position);
        }
        if opened {
            self.too_long_at = self.next_too_long();
        }
        resolved
    }

    /// The byte up to which nothing grows too long, as it is now.
    fn next_too_long(&self) -> u64 {
        let ends = self
            .tracks
            .iter()
            .map(|it| it.too_long_at(&self.candidates));
        ends.min().unwrap_or(u64::MAX)
    }

    fn give_up_too_long(&mut self, position: u64) -> bool {
        let failure = Failure {
            at: position,
            reason: RejectReason::TooLong,
        };
        let mut resolved = false;
        for track in &mut self.tracks {
            resolved |= track.give_up_outermost(failure, &mut self.candidates);
        }
        resolved
    }

    /// Gives out all that is certain of the stream up to `end`.
    fn resolve(&mut self, end: u64, give: &mut impl FnMut(Segment<'_>)) {
        while let Some(object) = self.candidates.waiting.front() {
            let start = object.start;
            match object.fate {
                _ if object.is_inner => self.candidates.pop(),
                Fate::Open => return self.give_text(start, give),
                Fate::Brace => self.candidates.pop(),
                Fate::Dead(failure) => {
                    self.candidates.pop();
                    self.give_damage(start, failure, give);
                }
                Fate::Closed { end } => {
                    self.give_object(start, end, give);
                    while self
                        .candidates
                        .waiting
                        .front()
                        .is_some_and(|inner| inner.start < end)
                    {
                        self.candidates.pop();
                    }
                }
            }
        }
        self.give_text(end, give);
    }

    fn give_object(&mut self, start: u64, end: u64, give: &mut impl FnMut(Segment<'_>)) {
        self.give_text(start, give);
        let window = Window {
            bytes: &self.buffer,
            base: self.base,
        };
        let bytes = window.slice(start, end);
        if self.is_rest(bytes) {
            return;
        }
        // Its strings were checked one by one, and all else in it is ASCII.
        if let Ok(frame) = std::str::from_utf8(bytes) {
            give(Segment::Frame(frame));
        }
        self.given = end;
        self.resynchronising = false;
        self.tail = [b'}'; 2];
    }

    fn give_damage(&mut self, start: u64, failure: Failure, give: &mut impl FnMut(Segment<'_>)) {
        if start < self.damaged_until {
            return;
        }
        self.give_text(start, give);
        let window = Window {
            bytes: &self.buffer,
            base: self.base,
        };
        if self.is_rest(window.slice(start, failure.at)) {
            return;
        }
        let until = self.next_inside(failure.at, window);
        give(Segment::Damaged {
            bytes: window.slice(start, until),
            reason: failure.reason,
        });
        self.tail = tail(window.slice(start, until), self.tail);
        self.given = until;
        self.damaged_until = failure.at;
        self.resynchronising = true;
        self.previous = 0;
    }

    /// Where the first object begins that is, or may become, a frame of its own inside of damage that
    /// reaches up to `end`; else `end`.
    fn next_inside(&self, end: u64, window: Window<'_>) -> u64 {
        let mut behind = 0;
        for object in &self.candidates.waiting {
            match object.fate {
                _ if object.start >= end => break,
                _ if object.start < behind => {}
                _ if object.is_inner => {}
                Fate::Open => return object.start,
                Fate::Closed { end } if self.is_frame(window.slice(object.start, end)) => {
                    return object.start;
                }
                Fate::Closed { end } => behind = end,
                Fate::Dead(_) | Fate::Brace => {}
            }
        }
        end
    }

    /// Whether an object inside of damage is a frame of its own.
    fn is_frame(&self, bytes: &[u8]) -> bool {
        self.style == Style::Any || has_time(bytes)
    }

    /// Whether an object is the rest of a broken one.
    fn is_rest(&self, bytes: &[u8]) -> bool {
        self.style == Style::Board && self.resynchronising && !has_time(bytes)
    }

    /// Gives out what stands before `until` as text.
    fn give_text(&mut self, until: u64, give: &mut impl FnMut(Segment<'_>)) {
        if until <= self.given {
            return;
        }
        let window = Window {
            bytes: &self.buffer,
            base: self.base,
        };
        let text = window.slice(self.given, until);
        if self.resynchronising {
            for byte in text {
                if *byte == b'\n' || (self.previous == b'\\' && *byte == b'n') {
                    self.resynchronising = false;
                }
                self.previous = *byte;
            }
        }
        if self.style == Style::Any {
            self.tail = tail(text, self.tail);
        }
        give(Segment::Text(text));
        self.given = until;
    }

    fn forget_given(&mut self) {
        let count = usize::try_from(self.given - self.base).unwrap_or(usize::MAX);
        self.buffer.drain(..count.min(self.buffer.len()));
        self.base = self.given;
    }
}

/// Whether an object could be telemetry, or hold some: it has a key `ts`.
fn has_time(bytes: &[u8]) -> bool {
    bytes.windows(4).any(|window| window == b"\"ts\"")
}

/// The last two bytes that are no blanks, of some bytes and those before them.
fn tail(bytes: &[u8], before: [u8; 2]) -> [u8; 2] {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r');
    let mut visible = bytes.iter().rev().filter(|byte| !is_blank(byte));
    match (visible.next(), visible.next()) {
        (Some(last), Some(other)) => [*other, *last],
        (Some(last), None) => [before[1], *last],
        _ => before,
    }
}

#[cfg(test)]
mod tests;
