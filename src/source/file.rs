//! A recorded stream, replayed as fast as it can be read or at the pace at which it was measured.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use super::SourceError;
use super::recording::notes;
use super::splitter::Splitter;
use super::stream::{Feed, Pace, READ_SIZE, Stream, produce, read_in_thread};
use crate::config::Speed;
use crate::telemetry::{
    Beginning, Decoder, Format, FrameTime, Framer, MetricTable, Segment, TimeNote, checksum,
};

/// The longest wait between two packets in recorded time. More is a recording that was paused, or a
/// damaged time.
const LONGEST_GAP: Duration = Duration::from_mins(5);

/// Notes that are looked through for the one of a frame.
const LOOK_AHEAD: usize = 16;

/// Opens a recording of a board of this format.
pub(super) fn open(
    path: &Path,
    speed: Speed,
    format: &Format,
    started: Instant,
) -> Result<Stream, SourceError> {
    let name = format!("file {}", path.display());
    let cutter = Cutter::new(path, format);
    let path = path.to_owned();
    let recording = read_in_thread(name, || File::open(path), started)?;
    match speed {
        Speed::Max => Ok(recording),
        Speed::Factor(factor) => Ok(produce(started, move |feed| {
            replay(recording, cutter, factor, feed)
        })),
    }
}

async fn replay(
    mut recording: Stream,
    mut cutter: Cutter,
    factor: f64,
    feed: Feed,
) -> Result<(), SourceError> {
    let mut pace = Pace::new();
    let mut last = None;
    loop {
        let chunk = recording.next().await.transpose()?;
        let ended = chunk.is_none();
        match chunk {
            Some(chunk) => cutter.push(&chunk.bytes),
            None => cutter.end(),
        }
        while let Some(part) = cutter.next_part() {
            if let Some(at) = part.at {
                if !pace.advance(gap(last, at, factor)) {
                    pace.wait().await;
                }
                last = Some(at);
            }
            if feed.put(part.bytes).await.is_err() {
                return Ok(());
            }
        }
        if ended {
            return Ok(());
        }
    }
}

/// How long to wait between two packets. A step back of a board's clock is a reboot: no wait.
fn gap(last: Option<i64>, at: i64, factor: f64) -> Duration {
    let nanos = last.map_or(0, |last| at.saturating_sub(last).max(0));
    let recorded = Duration::from_nanos(nanos.unsigned_abs()).min(LONGEST_GAP);
    Duration::try_from_secs_f64(recorded.as_secs_f64() / factor).unwrap_or(LONGEST_GAP)
}

/// Bytes of a recording that are sent at once.
struct Part {
    bytes: Bytes,
    /// When they were measured, in nanoseconds since whenever; `None`: with those before.
    at: Option<i64>,
}

/// Cuts a recording at its packets.
enum Cutter {
    /// By the board's count, which stands in front of the values.
    AtCounts(Splitter),
    /// Behind each frame.
    BehindFrames(Box<Frames>),
}

impl Cutter {
    fn new(path: &Path, format: &Format) -> Self {
        match format {
            Format::Board => Self::AtCounts(Splitter::default()),
            // A recording that nobody noted times of may tell them itself.
            format => Self::BehindFrames(Box::new(Frames::new(
                format,
                notes(path).unwrap_or_default(),
            ))),
        }
    }

    fn push(&mut self, bytes: &[u8]) {
        match self {
            Self::AtCounts(splitter) => splitter.push(bytes),
            Self::BehindFrames(frames) => frames.pending.extend_from_slice(bytes),
        }
    }

    /// Nothing comes after what was pushed.
    fn end(&mut self) {
        match self {
            Self::AtCounts(splitter) => splitter.end(),
            Self::BehindFrames(frames) => frames.ended = true,
        }
    }

    /// The next part; `None`: more bytes are needed.
    fn next_part(&mut self) -> Option<Part> {
        match self {
            Self::AtCounts(splitter) => splitter.next_segment().map(|segment| Part {
                bytes: segment.bytes,
                at: segment.ts.map(nanoseconds),
            }),
            Self::BehindFrames(frames) => frames.next_part(),
        }
    }
}

fn nanoseconds(millis: u32) -> i64 {
    i64::from(millis) * 1_000_000
}

/// Cuts a recording behind each frame that has a time: its own, or one that was noted when it arrived.
/// Whatever the stream holds comes out again, whole and in order.
struct Frames {
    framer: Framer,
    decoder: Decoder,
    arrivals: VecDeque<TimeNote>,
    pending: BytesMut,
    /// How much of it the framer has.
    framed: usize,
    ended: bool,
}

impl Frames {
    /// A part is given out from this size on, so that a recording without times is not kept in memory.
    const LONGEST: usize = READ_SIZE;

    fn new(format: &Format, notes: Vec<TimeNote>) -> Self {
        Self {
            framer: Framer::new(format, Beginning::Whole),
            decoder: Decoder::new(MetricTable::default(), HashMap::new(), format),
            arrivals: notes.into_iter().filter(|note| note.arrival).collect(),
            pending: BytesMut::new(),
            framed: 0,
            ended: false,
        }
    }

    fn next_part(&mut self) -> Option<Part> {
        while self.framed < self.pending.len() {
            let rest = &self.pending[self.framed..];
            let feed = rest.iter().position(|byte| *byte == b'\n');
            let length = match feed {
                Some(feed) => feed + 1,
                None if self.ended || rest.len() >= Self::LONGEST => rest.len(),
                None => return None,
            };
            let at = self.time_of_next(length);
            if at.is_some() || self.framed >= Self::LONGEST {
                return Some(self.cut(at));
            }
        }
        (self.ended && self.framed > 0).then(|| self.cut(None))
    }

    fn cut(&mut self, at: Option<i64>) -> Part {
        let bytes = self.pending.split_to(self.framed).freeze();
        self.framed = 0;
        Part { bytes, at }
    }

    /// The time of the first frame that so many more bytes complete.
    fn time_of_next(&mut self, length: usize) -> Option<i64> {
        let Self {
            framer,
            decoder,
            arrivals,
            ..
        } = self;
        let mut first = None;
        let bytes = &self.pending[self.framed..self.framed + length];
        framer.push(bytes, &mut |segment| {
            if let Segment::Frame(frame) = segment
                && let Ok(decoded) = decoder.decode(frame)
            {
                let at = match decoded.time {
                    FrameTime::Uptime(millis) => Some(nanoseconds(millis)),
                    FrameTime::Own(time) => Some(time.0),
                    FrameTime::Arrival => noted(arrivals, frame),
                };
                first = first.or(at);
            }
        });
        self.framed += length;
        first
    }
}

/// When a frame arrived, as far as that was noted.
fn noted(arrivals: &mut VecDeque<TimeNote>, frame: &str) -> Option<i64> {
    let sum = checksum(frame.as_bytes());
    let mut ahead = arrivals.iter().take(LOOK_AHEAD);
    let place = ahead.position(|note| note.ts == sum)?;
    let note = arrivals.drain(..=place).next_back()?;
    Some(note.event_time.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::telemetry::{Rules, TimeKind, TimeRule, Timestamp};

    #[test]
    fn gaps_follow_the_time_of_measurement_within_reason() {
        for (last, at, factor, expected_millis) in [
            (None, 5_000, 1.0, 0),
            (Some(12_000), 22_000, 1.0, 10_000),
            (Some(12_000), 22_000, 10.0, 1_000),
            (Some(12_000), 22_000, 0.5, 20_000),
            (Some(22_000), 12_000, 1.0, 0),
            (Some(0), u32::MAX, 1.0, 300_000),
            (Some(0), u32::MAX, 1e-300, 300_000),
            (Some(0), u32::MAX, 1e300, 0),
        ] {
            let expected = Duration::from_millis(expected_millis);
            let gap = gap(last.map(nanoseconds), nanoseconds(at), factor);
            assert_eq!(gap, expected, "{last:?} {at} {factor}");
        }
    }

    /// The parts of a recording that is read in pieces of this length.
    fn parts(frames: Frames, input: &str, length: usize) -> Vec<(Option<i64>, String)> {
        let mut cutter = Cutter::BehindFrames(Box::new(frames));
        let mut parts = Vec::new();
        let mut pieces = input.as_bytes().chunks(length).peekable();
        while let Some(piece) = pieces.next() {
            cutter.push(piece);
            if pieces.peek().is_none() {
                cutter.end();
            }
            while let Some(Part { bytes, at }) = cutter.next_part() {
                parts.push((at, String::from_utf8_lossy(&bytes).into_owned()));
            }
        }
        parts
    }

    const SECOND: i64 = 1_000_000_000;

    fn json(kind: TimeKind) -> Format {
        Format::Json(Rules {
            time: Some(TimeRule {
                key: "at".to_owned(),
                kind,
            }),
            ..Rules::default()
        })
    }

    #[test]
    fn a_frame_tells_its_time_itself() {
        let input = "boot\n{\"at\":1700000000,\n\"t\":1}\n\n{\"at\":1700000002,\"t\":2}\nrest";
        let at = |seconds: i64| Some((1_700_000_000 + seconds) * SECOND);
        let expected = [
            (at(0), "boot\n{\"at\":1700000000,\n\"t\":1}\n"),
            (at(2), "\n{\"at\":1700000002,\"t\":2}\n"),
            (None, "rest"),
        ];
        let expected = expected.map(|(at, text)| (at, text.to_owned()));
        for length in [1, 5, 1000] {
            let frames = Frames::new(&json(TimeKind::Seconds), Vec::new());
            assert_eq!(parts(frames, input, length), expected, "by {length}");
        }
        let frames = Frames::new(&json(TimeKind::Uptime), Vec::new());
        let parts = parts(frames, "{\"at\":1500,\"t\":1}\n", 100);
        assert_eq!(parts[0].0, Some(1_500_000_000));
    }

    #[test]
    fn a_frame_without_a_time_has_that_of_its_arrival() {
        let note = |frame: &str, seconds| TimeNote {
            board: String::new(),
            ts: checksum(frame.as_bytes()),
            event_time: Timestamp(seconds * SECOND),
            arrival: true,
        };
        let notes = vec![note("temp:1", 5), note("temp:9", 6), note("temp:2", 7)];
        let format = Format::Plotter(Rules::default());
        let frames = Frames::new(&format, notes);
        let parts = parts(frames, "temp:1\nnoise\ntemp:2\ntemp:3\n", 7);
        let expected = [
            (Some(5 * SECOND), "temp:1\n"),
            (Some(7 * SECOND), "noise\ntemp:2\n"),
            (None, "temp:3\n"),
        ];
        assert_eq!(parts, expected.map(|(at, text)| (at, text.to_owned())));
    }

    proptest! {
        #[test]
        fn nothing_is_lost(
            lines in prop::collection::vec("temp:[0-9]{1,3}|[ -~]{0,30}|\\{\"a\": ?1\\}", 0..20),
            length in 1_usize..50,
        ) {
            let input = lines.join("\n");
            for format in [json(TimeKind::Uptime), Format::Plotter(Rules::default())] {
                let parts = parts(Frames::new(&format, Vec::new()), &input, length);
                let whole: String = parts.into_iter().map(|(_, text)| text).collect();
                prop_assert_eq!(&whole, &input);
            }
        }
    }
}
