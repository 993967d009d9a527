//! A recorded stream, replayed as fast as it can be read or at the spacing of its device clock.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use super::SourceError;
use super::stream::{Feed, Pace, READ_SIZE, Stream, produce, read_in_thread};
use crate::config::Speed;

/// The longest wait between two packets in recorded time. More is a recording that was paused, or a
/// damaged `ts`.
const LONGEST_GAP: Duration = Duration::from_mins(5);

/// Opens a recording.
pub(super) fn open(path: &Path, speed: Speed, started: Instant) -> Result<Stream, SourceError> {
    let name = format!("file {}", path.display());
    let path = path.to_owned();
    let recording = read_in_thread(name, || File::open(path), started)?;
    match speed {
        Speed::Max => Ok(recording),
        Speed::Factor(factor) => Ok(produce(started, move |feed| {
            replay(recording, factor, feed)
        })),
    }
}

async fn replay(mut recording: Stream, factor: f64, feed: Feed) -> Result<(), SourceError> {
    let mut splitter = Splitter::default();
    let mut pace = Pace::new();
    let mut last_ts = None;
    loop {
        let chunk = recording.recv().await.transpose()?;
        let ended = chunk.is_none();
        match chunk {
            Some(chunk) => splitter.push(&chunk.bytes),
            None => splitter.end(),
        }
        while let Some(segment) = splitter.next_segment() {
            if let Some(ts) = segment.ts {
                if !pace.advance(gap(last_ts, ts, factor)) {
                    pace.wait().await;
                }
                last_ts = Some(ts);
            }
            if feed.put(segment.bytes).await.is_err() {
                return Ok(());
            }
        }
        if ended {
            return Ok(());
        }
    }
}

/// How long to wait between two packets. A step back of the device clock is a reboot: no wait.
fn gap(last_ts: Option<u32>, ts: u32, factor: f64) -> Duration {
    let millis = last_ts.map_or(0, |last_ts| ts.saturating_sub(last_ts));
    let recorded = Duration::from_millis(millis.into()).min(LONGEST_GAP);
    Duration::try_from_secs_f64(recorded.as_secs_f64() / factor).unwrap_or(LONGEST_GAP)
}

/// Bytes that belong to one point in time: an object that begins with a `ts`, and all up to the
/// next such object.
#[derive(Debug, PartialEq)]
struct Segment {
    bytes: Bytes,
    /// `None`: the bytes before the first object, or more of the last segment.
    ts: Option<u32>,
}

/// Cuts a stream of bytes where an object with a `ts` begins. It looks for `"ts":` and digits, and
/// decodes nothing: whatever the stream holds comes out again, whole and in order.
#[derive(Default)]
struct Splitter {
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

    fn push(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
    }

    /// Nothing comes after what was pushed.
    fn end(&mut self) {
        self.ended = true;
    }

    /// The next segment; `None`: more bytes are needed.
    fn next_segment(&mut self) -> Option<Segment> {
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
