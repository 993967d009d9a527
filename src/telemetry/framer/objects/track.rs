//! One reading of the stream as JSON: a pushdown automaton that begins at some `{`.

use super::{Candidates, Style};
use crate::telemetry::RejectReason;

/// A container that is open at the current byte.
#[derive(Debug, Clone, Copy)]
enum Container {
    /// An object, by its number.
    Object(u64),
    Array,
}

impl Container {
    /// Where it is too long: an array in no object at once.
    fn too_long_at(self, objects: &Candidates) -> u64 {
        match self {
            Self::Object(object) => objects.too_long_at(object),
            Self::Array => 0,
        }
    }
}

/// What may come next.
#[derive(Debug, Clone, Copy, Default)]
enum Expect {
    /// A key or `}`, behind `{`.
    #[default]
    FirstKey,
    Key,
    Colon,
    Value,
    /// A value or `]`, behind `[`.
    FirstElement,
    /// A comma or the end of the container.
    Comma,
    /// More of a string.
    Text(Text),
    /// The character behind a backslash.
    Escape(Text),
    /// So many more hexadecimal digits.
    Unicode(Text, u8),
    /// More of a number or word that began at this place.
    Scalar {
        start: u64,
    },
}

/// A string that is being read.
#[derive(Debug, Clone, Copy)]
struct Text {
    is_key: bool,
    start: u64,
}

/// The stream cannot be JSON from this place on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Failure {
    pub(super) at: u64,
    pub(super) reason: RejectReason,
}

/// The part of the stream that is still there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) base: u64,
}

impl<'a> Window<'a> {
    /// The bytes between two places of the stream.
    pub(super) fn slice(self, start: u64, end: u64) -> &'a [u8] {
        let index =
            |place: u64| usize::try_from(place.saturating_sub(self.base)).unwrap_or(usize::MAX);
        self.bytes.get(index(start)..index(end)).unwrap_or_default()
    }
}

/// A reading of the stream. Idle while nothing is open.
#[derive(Debug)]
pub(super) struct Track {
    style: Style,
    open: Vec<Container>,
    expect: Expect,
    /// Whether the outermost object may hold line feeds.
    spans_lines: bool,
    /// The first line feed behind the last byte that is no white space.
    line_feed: Option<u64>,
}

/// What a byte did to a track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing that anybody else must know.
    Quiet,
    /// An object began.
    Opened,
    /// The fate of an object became known.
    Resolved,
}

impl Track {
    pub(super) fn new(style: Style) -> Self {
        Self {
            style,
            open: Vec::new(),
            expect: Expect::default(),
            spans_lines: false,
            line_feed: None,
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.open.is_empty()
    }

    /// Where what is open longest is too long.
    pub(super) fn too_long_at(&self, objects: &Candidates) -> u64 {
        self.open
            .first()
            .map_or(u64::MAX, |container| container.too_long_at(objects))
    }

    /// How many of some bytes only go on with a string or a number.
    pub(super) fn quiet(&self, bytes: &[u8]) -> usize {
        let ends = match self.expect {
            Expect::Text(_) => |byte: &u8| matches!(byte, b'"' | b'\\' | b'{' | 0..0x20),
            Expect::Scalar { .. } => |byte: &u8| !is_scalar_byte(*byte),
            _ => return 0,
        };
        bytes.iter().position(ends).unwrap_or(bytes.len())
    }

    /// Begins an object at `position`.
    pub(super) fn open_object(&mut self, position: u64, is_inner: bool, objects: &mut Candidates) {
        if self.open.is_empty() {
            self.spans_lines = self.style == Style::Any;
            self.line_feed = None;
        }
        self.open
            .push(Container::Object(objects.add(position, is_inner)));
        self.expect = Expect::FirstKey;
    }

    /// Takes the byte at `position`.
    pub(super) fn step(
        &mut self,
        position: u64,
        byte: u8,
        window: Window<'_>,
        objects: &mut Candidates,
    ) -> Step {
        if self.is_idle() {
            return Step::Quiet;
        }
        match self.consume(position, byte, window, objects) {
            Ok(step) => step,
            Err(failure) => {
                self.kill(failure, objects);
                Step::Resolved
            }
        }
    }

    fn consume(
        &mut self,
        position: u64,
        byte: u8,
        window: Window<'_>,
        objects: &mut Candidates,
    ) -> Result<Step, Failure> {
        if byte == b'\n' {
            return self.feed_line(position, window);
        }
        let unexpected = Failure {
            at: position,
            reason: RejectReason::Syntax,
        };
        match self.expect {
            Expect::Text(text) => {
                self.expect = in_text(text, position, byte, window)?;
                return Ok(Step::Quiet);
            }
            Expect::Escape(text) => {
                self.expect = match byte {
                    b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Expect::Text(text),
                    b'u' => Expect::Unicode(text, 4),
                    _ => return Err(unexpected),
                };
                return Ok(Step::Quiet);
            }
            Expect::Unicode(text, left) => {
                self.expect = match (byte.is_ascii_hexdigit(), left) {
                    (false, _) => return Err(unexpected),
                    (true, 1) => Expect::Text(text),
                    (true, left) => Expect::Unicode(text, left - 1),
                };
                return Ok(Step::Quiet);
            }
            Expect::Scalar { .. } if is_scalar_byte(byte) => return Ok(Step::Quiet),
            Expect::Scalar { start } => {
                if !is_scalar(window.slice(start, position)) {
                    return Err(Failure {
                        at: start,
                        reason: RejectReason::Syntax,
                    });
                }
                self.expect = Expect::Comma;
            }
            _ => {}
        }
        if matches!(byte, b' ' | b'\t' | b'\r') {
            return Ok(Step::Quiet);
        }
        let line_feed = self.line_feed.take();
        let step = self.structure(position, byte, objects);
        step.ok_or_else(|| line_feed.map_or(unexpected, unfinished))
    }

    /// A line feed: damage, unless it stands between two tokens where it may.
    fn feed_line(&mut self, position: u64, window: Window<'_>) -> Result<Step, Failure> {
        self.spans_lines |= self.open.len() == 1 && matches!(self.expect, Expect::FirstKey);
        let is_allowed = match self.expect {
            Expect::Scalar { start } => {
                let is_whole = is_scalar(window.slice(start, position));
                if is_whole && self.spans_lines {
                    self.expect = Expect::Comma;
                }
                is_whole
            }
            Expect::FirstKey | Expect::Key | Expect::FirstElement | Expect::Comma => true,
            // Behind a colon the next frame would be taken for the value.
            Expect::Value => matches!(self.open.last(), Some(Container::Array)),
            Expect::Colon | Expect::Text(_) | Expect::Escape(_) | Expect::Unicode(..) => false,
        };
        if !is_allowed || !self.spans_lines {
            return Err(unfinished(position));
        }
        self.line_feed.get_or_insert(position);
        Ok(Step::Quiet)
    }

    /// A byte outside of strings, numbers and white space; `None`: it cannot stand here.
    fn structure(&mut self, position: u64, byte: u8, objects: &mut Candidates) -> Option<Step> {
        let text = |is_key| {
            Expect::Text(Text {
                is_key,
                start: position + 1,
            })
        };
        let mut step = Step::Quiet;
        match (self.expect, byte) {
            (Expect::FirstKey | Expect::Key, b'"') => self.expect = text(true),
            (Expect::Colon, b':') => self.expect = Expect::Value,
            (Expect::Value | Expect::FirstElement, b'"') => self.expect = text(false),
            (Expect::Value | Expect::FirstElement, b'{') => {
                self.open_object(position, self.style == Style::Any, objects);
                step = Step::Opened;
            }
            (Expect::Value | Expect::FirstElement, b'[') => {
                self.open.push(Container::Array);
                self.expect = Expect::FirstElement;
            }
            (Expect::Value | Expect::FirstElement, _) if is_scalar_byte(byte) => {
                self.expect = Expect::Scalar { start: position };
            }
            (Expect::Comma, b',') => {
                self.expect = match self.open.last()? {
                    Container::Object(_) => Expect::Key,
                    Container::Array => Expect::Value,
                };
            }
            (Expect::Comma | Expect::FirstKey, b'}') => {
                let Some(&Container::Object(object)) = self.open.last() else {
                    return None;
                };
                self.open.pop();
                objects.close(object, position + 1);
                self.expect = Expect::Comma;
                step = Step::Resolved;
            }
            (Expect::Comma | Expect::FirstElement, b']') => {
                let Some(Container::Array) = self.open.last() else {
                    return None;
                };
                self.open.pop();
                self.expect = Expect::Comma;
            }
            _ => return None,
        }
        Some(step)
    }

    /// Nothing that is open can become whole. Idle after this.
    pub(super) fn kill(&mut self, failure: Failure, objects: &mut Candidates) {
        if let (Expect::FirstKey, Some(&Container::Object(object))) =
            (self.expect, self.open.last())
        {
            objects.mark_as_brace(object);
            self.open.pop();
        }
        for container in self.open.drain(..) {
            if let Container::Object(object) = container {
                objects.kill(object, failure);
            }
        }
    }

    /// Gives up the outermost objects as far as they are too long where it fails; the objects inside of
    /// them go on. Returns whether there were any.
    pub(super) fn give_up_outermost(&mut self, failure: Failure, objects: &mut Candidates) -> bool {
        let stays = |container: &Container| container.too_long_at(objects) > failure.at;
        if self.open.first().is_none_or(stays) {
            return false;
        }
        let over = self.open.iter().position(stays).unwrap_or(self.open.len());
        for container in self.open.drain(..over) {
            if let Container::Object(object) = container {
                objects.kill(object, failure);
            }
        }
        true
    }
}

fn unfinished(at: u64) -> Failure {
    Failure {
        at,
        reason: RejectReason::Unfinished,
    }
}

fn in_text(text: Text, position: u64, byte: u8, window: Window<'_>) -> Result<Expect, Failure> {
    match byte {
        b'"' => match std::str::from_utf8(window.slice(text.start, position)) {
            Ok(_) if text.is_key => Ok(Expect::Colon),
            Ok(_) => Ok(Expect::Comma),
            Err(error) => Err(Failure {
                at: text.start + error.valid_up_to() as u64,
                reason: RejectReason::InvalidUtf8,
            }),
        },
        b'\\' => Ok(Expect::Escape(text)),
        0..0x20 => Err(Failure {
            at: position,
            reason: RejectReason::Syntax,
        }),
        _ => Ok(Expect::Text(text)),
    }
}

fn is_scalar_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.')
}

/// A JSON number or word, or one of the words that C prints for floats that are no numbers.
fn is_scalar(token: &[u8]) -> bool {
    matches!(token, b"true" | b"false" | b"null") || is_number(token) || is_not_finite(token)
}

/// `NaN`, `-inf`, `Infinity` and their like: no JSON, but sent by firmware that prints floats.
pub(in crate::telemetry) fn is_not_finite(token: &[u8]) -> bool {
    let word = token
        .strip_prefix(b"-")
        .or(token.strip_prefix(b"+"))
        .unwrap_or(token);
    [&b"nan"[..], b"inf", b"infinity"]
        .iter()
        .any(|known| word.eq_ignore_ascii_case(known))
}

/// A number as RFC 8259, section 6, has it.
fn is_number(token: &[u8]) -> bool {
    let digits = |bytes: &[u8]| {
        bytes
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count()
    };
    let mut rest = token.strip_prefix(b"-").unwrap_or(token);
    let whole = digits(rest);
    if whole == 0 || (whole > 1 && rest[0] == b'0') {
        return false;
    }
    rest = &rest[whole..];
    if let Some(fraction) = rest.strip_prefix(b".") {
        let count = digits(fraction);
        if count == 0 {
            return false;
        }
        rest = &fraction[count..];
    }
    if let [b'e' | b'E', exponent @ ..] = rest {
        let exponent = exponent
            .strip_prefix(b"+")
            .or(exponent.strip_prefix(b"-"))
            .unwrap_or(exponent);
        return !exponent.is_empty() && digits(exponent) == exponent.len();
    }
    rest.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars() {
        for good in [
            "0", "-0", "12", "-1.5", "1e9", "1.25E-3", "0.0", "NaN", "-inf", "null", "Infinity",
        ] {
            assert!(is_scalar(good.as_bytes()), "{good}");
        }
        for bad in [
            "", "-", "01", "1.", ".5", "1e", "1e+", "+1", "0x1", "nanx", "nul", "1.2.3", "1-2",
        ] {
            assert!(!is_scalar(bad.as_bytes()), "{bad}");
        }
    }
}
