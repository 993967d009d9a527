//! Cuts lines. A line that is no telemetry is for the decoder to say.

use super::{Beginning, MAX_FRAME, Segment};
use crate::telemetry::format::needs_its_beginning;
use crate::telemetry::{Format, RejectReason};

/// The framer of formats in lines.
#[derive(Debug)]
pub(super) struct Lines {
    /// The line that is not given out yet, as far as it came.
    pending: Vec<u8>,
    beginning: Beginning,
    /// Whether values may be missing in front of the present line, and nothing in it would say so.
    is_doubtful: bool,
    /// Whether the rest of the line belongs to one that was too long.
    is_rest: bool,
    needs_its_beginning: fn(&[u8]) -> bool,
}

impl Lines {
    pub(super) fn new(format: &Format, beginning: Beginning) -> Self {
        Self {
            pending: Vec::new(),
            beginning,
            is_doubtful: beginning == Beginning::Midway,
            is_rest: false,
            needs_its_beginning: match format {
                Format::Plotter(_) => needs_its_beginning,
                _ => |_| false,
            },
        }
    }

    pub(super) fn push(&mut self, bytes: &[u8], give: &mut impl FnMut(Segment<'_>)) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            if piece.ends_with(b"\n") {
                if self.pending.is_empty() {
                    self.give_line(piece, give);
                } else {
                    let mut line = std::mem::take(&mut self.pending);
                    line.extend_from_slice(piece);
                    self.give_line(&line, give);
                    // Its room is used again.
                    line.clear();
                    self.pending = line;
                }
            } else {
                self.keep(piece, give);
            }
        }
    }

    /// Keeps the beginning of a line, unless it is too long.
    fn keep(&mut self, piece: &[u8], give: &mut impl FnMut(Segment<'_>)) {
        if self.is_rest {
            return give(Segment::Text(piece));
        }
        let room = MAX_FRAME - self.pending.len();
        let (kept, rest) = piece.split_at(room.min(piece.len()));
        self.pending.extend_from_slice(kept);
        if !rest.is_empty() {
            self.give_up(RejectReason::TooLong, give);
            self.is_rest = true;
            give(Segment::Text(rest));
        }
    }

    fn give_up(&mut self, reason: RejectReason, give: &mut impl FnMut(Segment<'_>)) {
        give(Segment::Damaged {
            bytes: &self.pending,
            reason,
        });
        self.pending.clear();
    }

    /// Gives out a line with its end.
    fn give_line(&mut self, line: &[u8], give: &mut impl FnMut(Segment<'_>)) {
        let is_doubtful = std::mem::take(&mut self.is_doubtful);
        if std::mem::take(&mut self.is_rest) {
            return give(Segment::Text(line));
        }
        let content = line.trim_ascii_end();
        let (content, end) = line.split_at(content.len());
        if content.len() > MAX_FRAME {
            let (bytes, rest) = content.split_at(MAX_FRAME);
            let reason = RejectReason::TooLong;
            give(Segment::Damaged { bytes, reason });
            give(Segment::Text(rest));
        } else if is_doubtful && (self.needs_its_beginning)(content) && !content.is_empty() {
            let reason = RejectReason::Unfinished;
            give(Segment::Damaged {
                bytes: content,
                reason,
            });
        } else {
            match std::str::from_utf8(content) {
                Ok("") => {}
                Ok(line) => give(Segment::Frame(line)),
                Err(error) => {
                    let (bytes, rest) = content.split_at(error.valid_up_to());
                    let reason = RejectReason::InvalidUtf8;
                    give(Segment::Damaged { bytes, reason });
                    give(Segment::Text(rest));
                }
            }
        }
        if !end.is_empty() {
            give(Segment::Text(end));
        }
    }

    /// The stream was interrupted.
    pub(super) fn finish(&mut self, give: &mut impl FnMut(Segment<'_>)) {
        if !self.pending.is_empty() {
            self.give_up(RejectReason::Unfinished, give);
        }
        self.is_rest = false;
        self.is_doubtful = self.beginning == Beginning::Midway;
    }

    /// The input ended.
    pub(super) fn end(&mut self, give: &mut impl FnMut(Segment<'_>)) {
        let line = std::mem::take(&mut self.pending);
        if !line.is_empty() {
            self.give_line(&line, give);
        }
        self.finish(give);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Rules;

    /// Frames, damage with its reason, and all bytes.
    fn cut(beginning: Beginning, chunks: &[&[u8]]) -> (Vec<String>, Vec<RejectReason>, Vec<u8>) {
        let mut lines = Lines::new(&Format::Plotter(Rules::default()), beginning);
        let (mut frames, mut damages, mut all) = (Vec::new(), Vec::new(), Vec::new());
        let mut give = |segment: Segment<'_>| match segment {
            Segment::Text(bytes) => all.extend_from_slice(bytes),
            Segment::Frame(frame) => {
                all.extend_from_slice(frame.as_bytes());
                frames.push(frame.to_owned());
            }
            Segment::Damaged { bytes, reason } => {
                all.extend_from_slice(bytes);
                damages.push(reason);
            }
        };
        for chunk in chunks {
            lines.push(chunk, &mut give);
            assert!(lines.pending.len() <= MAX_FRAME);
        }
        lines.finish(&mut give);
        (frames, damages, all)
    }

    #[test]
    fn lines_are_cut_however_they_are_read() {
        let stream = b"temp:1\r\n\nboot \xff text\ntemp:2\ntem";
        for size in [1, 2, 5, 100] {
            let chunks: Vec<&[u8]> = stream.chunks(size).collect();
            let (frames, damages, all) = cut(Beginning::Whole, &chunks);
            assert_eq!(frames, ["temp:1", "temp:2"]);
            assert_eq!(
                damages,
                [RejectReason::InvalidUtf8, RejectReason::Unfinished]
            );
            assert_eq!(all, stream);
        }
    }

    #[test]
    fn a_line_that_is_too_long_costs_itself_alone() {
        for size in [700, 5000, 9001] {
            let stream = [&b"1".repeat(9000)[..], b"\n22.5\n"].concat();
            let chunks: Vec<&[u8]> = stream.chunks(size).collect();
            let (frames, damages, all) = cut(Beginning::Whole, &chunks);
            assert_eq!(
                (frames, damages),
                (vec!["22.5".to_owned()], vec![RejectReason::TooLong])
            );
            assert_eq!(all, stream);
        }
    }

    #[test]
    fn the_first_line_of_a_port_may_lack_its_beginning() {
        let (frames, damages, _) = cut(Beginning::Midway, &[b"2.5 40\n22.5 40\n"]);
        assert_eq!(frames, ["22.5 40"]);
        assert_eq!(damages, [RejectReason::Unfinished]);
        // A label says whether something is missing.
        let (frames, damages, _) = cut(Beginning::Midway, &[b"temp:2.5\n22.5 40\n"]);
        assert_eq!(frames.len(), 2);
        assert!(damages.is_empty());
    }

    #[test]
    fn the_last_line_of_an_input_is_whole() {
        let mut lines = Lines::new(&Format::Plotter(Rules::default()), Beginning::Whole);
        let mut frames = Vec::new();
        lines.push(b"a:1\nb:2", &mut |_| {});
        lines.end(&mut |segment| frames.push(format!("{segment:?}")));
        assert_eq!(frames, [r#"Frame("b:2")"#]);
    }
}
