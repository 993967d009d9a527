//! What can be known of a recording before it is read: how long it is, and when it was made.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use super::splitter::Splitter;
use crate::config;
use crate::telemetry::{RecordedSpan, RecordedTimes, TimeNote, Timestamp};

/// What the gateway adds to the name of a recording of its own, for the file with the times.
const TIMES_SUFFIX: &str = ".times";

/// How much is read at once.
const READ_SIZE: usize = 64 * 1024;

/// Notes of times beyond this are left unread.
const MAX_NOTES: usize = 100_000;

/// Bytes of notes likewise.
const MAX_NOTE_BYTES: u64 = 16 << 20;

/// Where in a packet its board is looked for.
const LONGEST_HEAD: usize = 4096;

/// When the packets of a recording were measured; `None`: the source is none, as a port or a pipe, or
/// it holds nothing, or cannot be read, which opening it will say. Reads it once, without moving on in
/// it.
pub fn recorded_times(
    source: &config::Source,
    recorded: config::Recorded,
) -> io::Result<Option<RecordedTimes>> {
    if !matches!(source, config::Source::File { .. } | config::Source::Stdin) {
        return Ok(None);
    }
    let Some(open) = OpenRecording::of(source)? else {
        return Ok(None);
    };
    let (start, notes) = match recorded {
        config::Recorded::StartsAt(start) => (start, Vec::new()),
        config::Recorded::EndsAt(end) => (open.start(end)?, Vec::new()),
        config::Recorded::Unsaid => {
            let notes = notes(&open.path).unwrap_or_default();
            (open.start(open.written()?.min(Timestamp::now()))?, notes)
        }
    };
    Ok(Some(RecordedTimes { start, notes }))
}

/// A regular file, and from where on it will be read.
struct OpenRecording {
    file: File,
    path: PathBuf,
    from: u64,
    length: u64,
}

impl OpenRecording {
    fn of(source: &config::Source) -> io::Result<Option<Self>> {
        let (file, path) = match source {
            config::Source::File { path, .. } => {
                // A pipe's writer must not see it opened twice.
                if !path.metadata()?.is_file() {
                    return Ok(None);
                }
                (File::open(path)?, path.clone())
            }
            config::Source::Stdin => {
                let file = File::from(io::stdin().as_fd().try_clone_to_owned()?);
                let path = std::fs::read_link("/proc/self/fd/0").unwrap_or_default();
                (file, path)
            }
            _ => return Ok(None),
        };
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Ok(None);
        }
        Ok(Some(Self {
            // The position is the same one as that of standard input.
            from: (&file).stream_position()?,
            length: metadata.len(),
            file,
            path,
        }))
    }

    /// When it was written to last.
    fn written(&self) -> io::Result<Timestamp> {
        let modified = self.file.metadata()?.modified()?;
        let since_epoch = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(Timestamp(
            i64::try_from(since_epoch.as_nanos()).unwrap_or(i64::MAX),
        ))
    }

    /// When its first packet was measured if its last one was at `end`.
    fn start(&self, end: Timestamp) -> io::Result<Timestamp> {
        let span = self.span()?.end();
        let nanos = i64::try_from(span.as_nanos()).unwrap_or(i64::MAX);
        Ok(Timestamp(end.0.saturating_sub(nanos)))
    }

    fn span(&self) -> io::Result<RecordedSpan> {
        let mut span = RecordedSpan::default();
        let mut splitter = Splitter::default();
        let mut buffer = vec![0; READ_SIZE];
        let mut at = self.from;
        // What is written meanwhile comes after the end.
        while at < self.length {
            let count = self.file.read_at(&mut buffer, at)?;
            if count == 0 {
                break;
            }
            at += count as u64;
            splitter.push(&buffer[..count]);
            take_segments(&mut splitter, &mut span);
        }
        splitter.end();
        take_segments(&mut splitter, &mut span);
        Ok(span)
    }
}

/// What the gateway noted when it made a recording.
pub(super) fn notes(recording: &Path) -> io::Result<Vec<TimeNote>> {
    let file = File::open(times_path(recording))?;
    let lines = BufReader::new(file.take(MAX_NOTE_BYTES)).lines();
    let notes = lines.map_while(Result::ok).take(MAX_NOTES);
    Ok(notes
        .filter_map(|line| serde_json::from_str(&line).ok())
        .collect())
}

/// Where the times of a recording are noted.
pub fn times_path(recording: &Path) -> PathBuf {
    let mut path = recording.as_os_str().to_owned();
    path.push(TIMES_SUFFIX);
    path.into()
}

fn take_segments(splitter: &mut Splitter, span: &mut RecordedSpan) {
    while let Some(segment) = splitter.next_segment() {
        if let Some(ts) = segment.ts {
            span.take(board(&segment.bytes), ts);
        }
    }
}

/// The text behind `"id":` in a packet; empty: it names none.
fn board(packet: &[u8]) -> &[u8] {
    const KEY: &[u8] = b"\"id\"";
    let head = &packet[..packet.len().min(LONGEST_HEAD)];
    let Some(key) = head.windows(KEY.len()).position(|it| it == KEY) else {
        return b"";
    };
    let rest = head[key + KEY.len()..].trim_ascii_start();
    let text = rest.strip_prefix(b":").map(<[u8]>::trim_ascii_start);
    let Some(text) = text.and_then(|text| text.strip_prefix(b"\"")) else {
        return b"";
    };
    let end = text.iter().position(|byte| *byte == b'"');
    &text[..end.unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::config::{Recorded, Source, Speed};

    fn times(content: &str, recorded: Recorded, name: &str, notes: &str) -> RecordedTimes {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        if !notes.is_empty() {
            std::fs::write(times_path(&path), notes).unwrap();
        }
        let file = File::options().write(true).open(&path).unwrap();
        let modified = UNIX_EPOCH + Duration::from_secs(1_000_000);
        file.set_modified(modified).unwrap();
        let speed = Speed::Max;
        let times = recorded_times(&Source::File { path, speed }, recorded);
        times.unwrap().unwrap()
    }

    fn start(content: &str) -> i64 {
        let times = times(content, Recorded::Unsaid, "a.raw", "");
        times.start.0 / 1_000_000 - 1_000_000_000
    }

    #[test]
    fn a_recording_ends_when_it_was_written() {
        assert_eq!(start(""), 0);
        assert_eq!(start("{\"ts\":5000}\n"), 0);
        assert_eq!(
            start("{\"ts\":5000,\"id\":\"A\"}{\"ts\":15000,\"id\":\"A\"}"),
            -10_000
        );
        // A reboot, and two seconds until the first packet after it.
        assert_eq!(
            start("{\"ts\":5000}{\"ts\":15000}{\"ts\":2000}{\"ts\":3000}"),
            -13_000
        );
        // Two boards, each with a clock of its own.
        let two =
            "{\"ts\":5000,\"id\":\"A\"}{\"ts\":900000,\"id\":\"B\"}{\"ts\":15000,\"id\":\"A\"}";
        assert_eq!(start(two), -10_000);
        // Damaged counts, one of them the last.
        for damaged in ["90015000", "4294967000", "1"] {
            let one =
                format!("{{\"ts\":12000}}{{\"ts\":{damaged}}}{{\"ts\":16000}}{{\"ts\":17000}}");
            assert_eq!(start(&one), -5_000, "{damaged}");
        }
        assert_eq!(
            start("{\"ts\":12000}{\"ts\":16000}{\"ts\":90015000}"),
            -4_000
        );
    }

    #[test]
    fn what_is_said_counts_more_than_what_was_noted() {
        let packets = "{\"ts\":5000}\n{\"ts\":15000}\n";
        let notes = "{\"board\":\"\",\"ts\":5000,\"event_time\":7}\nno note\n";
        let noted = times(packets, Recorded::Unsaid, "a.raw", notes);
        assert_eq!(noted.notes.len(), 1);
        assert_eq!(noted.notes[0].event_time, Timestamp(7));
        let at = Timestamp(20_000_000_000);
        let starts = times(packets, Recorded::StartsAt(at), "a.raw", notes);
        assert_eq!((starts.start, starts.notes.len()), (at, 0));
        let ends = times(packets, Recorded::EndsAt(at), "a.raw", notes);
        assert_eq!(ends.start, Timestamp(10_000_000_000));
    }

    #[test]
    fn a_file_from_the_future_ends_now() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let ahead = SystemTime::now() + Duration::from_hours(1);
        file.as_file().set_modified(ahead).unwrap();
        let source = Source::File {
            path: file.path().into(),
            speed: Speed::Max,
        };
        let times = recorded_times(&source, Recorded::Unsaid).unwrap().unwrap();
        assert!(times.start <= Timestamp::now());
    }

    #[test]
    fn what_is_no_regular_file_is_no_recording() {
        let source = Source::File {
            path: "/dev/null".into(),
            speed: Speed::Max,
        };
        assert_eq!(recorded_times(&source, Recorded::Unsaid).unwrap(), None);
    }
}
