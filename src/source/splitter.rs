//! Cuts the recording of a board at its counts, without decoding it.

use bytes::{Bytes, BytesMut};

use super::stream::READ_SIZE;

/// Bytes that belong to one point in time: an object that begins with a `ts`, and all up to the
/// next such object.
#[derive(Debug, PartialEq)]
pub(super) struct Segment {
    pub(super) bytes: Bytes,
    /// `None`: the bytes before the first object, or more of the last segment.
    pub(super) ts: Option<u32>,
}

/// Cuts a stream of bytes where an object with a `ts` begins. It looks for `"ts":` and digits, and
/// decodes nothing: whatever the stream holds comes out again, whole and in order.
#[derive(Default)]
pub(super) struct Splitter {
    pending: BytesMut,
    /// The device clock of the pending segment; `None`: it belongs to the one before.
    ts: Option<u32>,
    /// `pending` holds no start of another object before this place.
    searched: usize,
    ended: bool,
}

/// A `ts` in the stream.
struct Mark {
    /// Where its object starts.
    start: usize,
    /// Behind its digits.
    end: usize,
    ts: u32,
}

impl Splitter {
    /// A segment is given out in parts from this size on, so that a recording without any `ts` is
    /// not kept in memory.
    const LONGEST: usize = READ_SIZE;

    /// The longest `"ts": 4294967295,` that is kept together, with some room for spaces, and the
    /// start of its object.
    const OVERLAP: usize = 256;

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
    }

    /// Nothing comes after what was pushed.
    pub(super) fn end(&mut self) {
        self.ended = true;
    }

    /// The next segment; `None`: more bytes are needed.
    pub(super) fn next_segment(&mut self) -> Option<Segment> {
        while let Some(mark) = find_mark(&self.pending, self.searched, self.ended) {
            self.searched = mark.end;
            if mark.start == 0 {
                self.ts = Some(mark.ts);
                continue;
            }
            let segment = self.cut(mark.start);
            self.ts = Some(mark.ts);
            return Some(segment);
        }
        let length = self.pending.len();
        if self.ended {
            return (length > 0).then(|| self.cut(length));
        }
        (length > Self::LONGEST).then(|| self.cut(length - Self::OVERLAP))
    }

    fn cut(&mut self, length: usize) -> Segment {
        self.searched = self.searched.saturating_sub(length);
        Segment {
            bytes: self.pending.split_to(length).freeze(),
            ts: self.ts.take(),
        }
    }
}

/// The first `"ts"` with a number behind it, at or after `from`. A number that reaches the end of
/// the bytes may go on in the next ones, unless they are the last.
fn find_mark(bytes: &[u8], from: usize, last: bool) -> Option<Mark> {
    const KEY: &[u8] = b"\"ts\"";
    let mut search = from;
    loop {
        let key = search + find(bytes.get(search..)?, KEY)?;
        search = key + KEY.len();
        let Some((ts, end)) = number_after_colon(bytes, search) else {
            continue;
        };
        if end == bytes.len() && !last {
            return None;
        }
        let start = bytes[from..key].iter().rposition(|byte| *byte == b'{');
        return Some(Mark {
            start: start.map_or(key, |start| from + start),
            end,
            ts,
        });
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
}

/// The number in `: 12000` and where it ends.
fn number_after_colon(bytes: &[u8], from: usize) -> Option<(u32, usize)> {
    let colon = skip(bytes, from, u8::is_ascii_whitespace);
    if bytes.get(colon) != Some(&b':') {
        return None;
    }
    let start = skip(bytes, colon + 1, u8::is_ascii_whitespace);
    let end = skip(bytes, start, u8::is_ascii_digit);
    let digits = std::str::from_utf8(&bytes[start..end]).ok()?;
    Some((digits.parse().ok()?, end))
}

/// The first place from `from` on whose byte is not of that kind.
fn skip(bytes: &[u8], from: usize, kind: fn(&u8) -> bool) -> usize {
    let rest = &bytes[from..];
    from + rest.iter().take_while(|byte| kind(byte)).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All segments of a recording that is read in parts of these lengths, again and again.
    fn split(input: &[u8], lengths: &[usize]) -> Vec<(Option<u32>, String)> {
        let mut splitter = Splitter::default();
        let mut segments = Vec::new();
        let mut rest = input;
        for length in lengths.iter().cycle() {
            let (part, later) = rest.split_at((*length).min(rest.len()));
            splitter.push(part);
            rest = later;
            if rest.is_empty() {
                splitter.end();
            }
            while let Some(Segment { bytes, ts }) = splitter.next_segment() {
                segments.push((ts, String::from_utf8_lossy(&bytes).into_owned()));
            }
            if rest.is_empty() {
                break;
            }
        }
        segments
    }

    #[test]
    fn segments_begin_where_an_object_with_a_time_begins() {
        type Segments<'a> = &'a [(Option<u32>, &'a str)];
        let cases: [(&str, Segments); 7] = [
            ("", &[]),
            ("no time at all {}", &[(None, "no time at all {}")]),
            (
                "{\"ts\":1,\"id\":\"N2\"}\n{\"ts\":23}\n",
                &[
                    (Some(1), "{\"ts\":1,\"id\":\"N2\"}\n"),
                    (Some(23), "{\"ts\":23}\n"),
                ],
            ),
            (
                "tail}\\n[INFO] {\"ts\" : 12,\"n2\":{}}\\n (x) {y} {\"ts\":4294967295",
                &[
                    (None, "tail}\\n[INFO] "),
                    (Some(12), "{\"ts\" : 12,\"n2\":{}}\\n (x) {y} "),
                    (Some(u32::MAX), "{\"ts\":4294967295"),
                ],
            ),
            (
                "{\"ts\":4294967296}{\"ts\":null}{\"ts\":}{\"ts\"",
                &[(None, "{\"ts\":4294967296}{\"ts\":null}{\"ts\":}{\"ts\"")],
            ),
            (
                "{\"id\":\"ts\",\"ts\":5}",
                &[(Some(5), "{\"id\":\"ts\",\"ts\":5}")],
            ),
            (
                "\"ts\":5}{\"ts\":7",
                &[(Some(5), "\"ts\":5}"), (Some(7), "{\"ts\":7")],
            ),
        ];
        for (input, expected) in cases {
            for length in [1, 2, 3, 7, 1000] {
                let expected: Vec<_> = expected
                    .iter()
                    .map(|(ts, text)| (*ts, (*text).to_owned()))
                    .collect();
                assert_eq!(
                    split(input.as_bytes(), &[length]),
                    expected,
                    "{input} by {length}"
                );
            }
        }
    }

    #[test]
    fn a_recording_without_times_is_not_kept_in_memory() {
        let noise = vec![b'{'; READ_SIZE];
        let mut splitter = Splitter::default();
        for _ in 0..10 {
            splitter.push(&noise);
            while splitter.next_segment().is_some() {}
            assert!(splitter.pending.len() <= Splitter::LONGEST);
        }
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_the_reads_do_not_matter(
            parts in prop::collection::vec("\\{\"ts\": ?[0-9]{1,10}|[ -~\n]{0,30}|\"ts\"|\\{", 0..40),
            lengths in prop::collection::vec(1_usize..200, 1..5),
        ) {
            let input = parts.concat();
            let segments = split(input.as_bytes(), &lengths);
            let whole: String = segments.iter().map(|(_, text)| text.as_str()).collect();
            prop_assert_eq!(&whole, &input);
            prop_assert_eq!(segments, split(input.as_bytes(), &[usize::MAX]));
        }
    }
}
