//! Writes the raw stream to a file while the operator wants it, on its way from source to ingest.

use std::io;
use std::path::{Path, PathBuf};

use tokio::fs::{File, OpenOptions};
use tokio::io::AsyncWriteExt;
use tokio::sync::{mpsc, watch};

use crate::monitor::{Recording, SourceMonitor};
use crate::repeated::Topic;
use crate::source::{Chunk, times_path};
use crate::telemetry::{TimeNote, Timestamp};

const RECORDINGS: Topic = Topic::of_attempts("recordings");

/// Recordings begun within one second; more are a mistake.
const MAX_SAME_NAMES: u32 = 100;

/// The chunks of a source, each written to the recording, if there is one, before it is handed on.
pub(super) struct RecordedChunks {
    chunks: mpsc::Receiver<Chunk>,
    wanted: watch::Receiver<bool>,
    folder: PathBuf,
    monitor: SourceMonitor,
    recording: Option<OpenRecording>,
}

struct OpenRecording {
    file: File,
    path: String,
    bytes: u64,
}

impl RecordedChunks {
    pub(super) fn new(
        chunks: mpsc::Receiver<Chunk>,
        wanted: watch::Receiver<bool>,
        folder: PathBuf,
        monitor: SourceMonitor,
    ) -> Self {
        Self {
            chunks,
            wanted,
            folder,
            monitor,
            recording: None,
        }
    }

    /// The next chunk; `None`: the source is gone.
    pub(super) async fn next(&mut self) -> Option<Chunk> {
        loop {
            // A wish is answered before the bytes that come after it.
            let chunk = tokio::select! {
                biased;
                Ok(()) = self.wanted.changed() => {
                    self.begin_or_end().await;
                    continue;
                }
                chunk = self.chunks.recv() => chunk,
            };
            match &chunk {
                Some(chunk) => self.write(chunk).await,
                None => self.end(),
            }
            return chunk;
        }
    }

    /// The recording that there is.
    pub(super) fn recording(&self) -> Option<&str> {
        let recording = self.recording.as_ref()?;
        Some(&recording.path)
    }

    async fn begin_or_end(&mut self) {
        let is_wanted = *self.wanted.borrow_and_update();
        if !is_wanted {
            self.end();
        } else if self.recording.is_none() {
            self.begin().await;
        }
    }

    async fn begin(&mut self) {
        let source = self.monitor.own_name();
        match create(&self.folder, source.as_deref(), Timestamp::now()).await {
            Ok((file, path)) => {
                let path = path.display().to_string();
                let begun = path.clone();
                RECORDINGS.say("begun", "", move |sum| {
                    tracing::info!(
                        path = begun,
                        repeated = sum.words(),
                        "Recording the raw stream."
                    );
                });
                self.recording = Some(OpenRecording {
                    file,
                    path,
                    bytes: 0,
                });
                self.report();
            }
            Err(error) => self.fail(self.folder.display().to_string(), &error),
        }
    }

    async fn write(&mut self, chunk: &Chunk) {
        let Some(recording) = &mut self.recording else {
            return;
        };
        let mut written = recording.file.write_all(&chunk.bytes).await;
        if written.is_ok() {
            // Until then an error of the disk is not known.
            written = recording.file.flush().await;
        }
        match written {
            Ok(()) => {
                recording.bytes += chunk.bytes.len() as u64;
                self.report();
            }
            Err(error) => {
                let path = recording.path.clone();
                self.recording = None;
                self.fail(path, &error);
            }
        }
    }

    fn end(&mut self) {
        if let Some(OpenRecording { path, bytes, .. }) = self.recording.take() {
            let ended = path.clone();
            RECORDINGS.say("ended", "", move |sum| {
                tracing::info!(
                    path = ended,
                    bytes,
                    repeated = sum.words(),
                    "The recording ended."
                );
            });
            self.monitor.set_recording(Recording::Ended { path, bytes });
        }
    }

    fn fail(&self, path: String, error: &io::Error) {
        let reason = error.to_string();
        let (of, error) = (path.clone(), reason.clone());
        RECORDINGS.say("failed", &reason, move |sum| {
            let repeated = sum.words();
            tracing::error!(path = of, error = %error, repeated, "The raw stream cannot be recorded.");
        });
        self.monitor
            .set_recording(Recording::Failed { path, reason });
    }

    fn report(&self) {
        if let Some(OpenRecording { path, bytes, .. }) = &self.recording {
            self.monitor.set_recording(Recording::On {
                path: path.clone(),
                bytes: *bytes,
            });
        }
    }
}

/// The file beside a recording that says when its packets were measured. The recording itself holds what
/// came from the source and nothing else.
#[derive(Default)]
pub(super) struct TimesFile {
    path: Option<PathBuf>,
    /// Made with the first note.
    file: Option<File>,
}

impl TimesFile {
    /// Says which recording there is now.
    pub(super) fn follow(&mut self, recording: Option<&str>) {
        let path = recording.map(|path| times_path(Path::new(path)));
        if self.path != path {
            *self = Self { path, file: None };
        }
    }

    /// Whether there is a recording.
    pub(super) fn are_wanted(&self) -> bool {
        self.path.is_some()
    }

    /// Notes when packets were measured.
    pub(super) async fn note(&mut self, notes: &[TimeNote]) {
        let (Some(path), false) = (self.path.clone(), notes.is_empty()) else {
            return;
        };
        if let Err(error) = self.write(&path, notes).await {
            tracing::warn!(
                path = %path.display(),
                error = %error,
                "The times of the recording cannot be noted; its replay will end when it was written."
            );
            // Those that are there would be taken for all.
            *self = Self::default();
            drop(tokio::fs::remove_file(path).await);
        }
    }

    async fn write(&mut self, path: &Path, notes: &[TimeNote]) -> io::Result<()> {
        let mut lines = Vec::new();
        for note in notes {
            serde_json::to_writer(&mut lines, note)?;
            lines.push(b'\n');
        }
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(File::create(path).await?),
        };
        file.write_all(&lines).await?;
        file.flush().await
    }
}

/// A new file named after the source, if that has a name, and the time; one that exists is never written to.
/// How the names of recordings of a source begin.
pub fn recording_prefix(source: Option<&str>) -> String {
    source.map_or_else(
        || "fieldgate-".to_owned(),
        |name| format!("fieldgate-{name}-"),
    )
}

async fn create(
    folder: &Path,
    source: Option<&str>,
    now: Timestamp,
) -> io::Result<(File, PathBuf)> {
    let time: String = now
        .to_string()
        .chars()
        .take("2026-03-01T12:00:00".len())
        .filter(|c| *c != '-' && *c != ':')
        .collect();
    let prefix = recording_prefix(source);
    let mut number = 1;
    loop {
        let suffix = match number {
            1 => String::new(),
            number => format!("-{number}"),
        };
        let path = folder.join(format!("{prefix}{time}Z{suffix}.raw"));
        let opened = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)
            .await;
        match opened {
            Err(error)
                if error.kind() == io::ErrorKind::AlreadyExists && number < MAX_SAME_NAMES =>
            {
                number += 1;
            }
            opened => return opened.map(|file| (file, path)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;
    use crate::monitor::{LinkId, Monitor};

    fn chunk(bytes: &'static [u8]) -> Chunk {
        Chunk {
            bytes: Bytes::from_static(bytes),
            received: Timestamp(0),
            monotonic: Duration::ZERO,
            discontinuity: false,
        }
    }

    fn recorded(folder: &Path) -> (mpsc::Sender<Chunk>, watch::Sender<bool>, RecordedChunks) {
        let (sender, chunks) = mpsc::channel(8);
        let wanted = watch::Sender::new(false);
        let monitor = Arc::new(Monitor::default()).source(&LinkId::source());
        let chunks = RecordedChunks::new(chunks, wanted.subscribe(), folder.into(), monitor);
        (sender, wanted, chunks)
    }

    #[tokio::test]
    async fn what_arrives_between_begin_and_end_is_in_the_file_byte_for_byte() {
        let folder = tempfile::tempdir().unwrap();
        let (sender, wanted, mut chunks) = recorded(folder.path());
        let mut pass = async |bytes: &'static [u8]| {
            sender.send(chunk(bytes)).await.unwrap();
            assert_eq!(chunks.next().await.unwrap().bytes, bytes);
            chunks.monitor.recording()
        };
        assert_eq!(pass(b"before").await, Recording::Off);
        wanted.send_replace(true);
        pass(b"\x00\xff{\r\n").await;
        let recording = pass(b"}").await;
        let Recording::On { path, bytes: 6 } = recording else {
            panic!("{recording:?}");
        };
        wanted.send_replace(false);
        let ended = Recording::Ended {
            path: path.clone(),
            bytes: 6,
        };
        assert_eq!(pass(b"after").await, ended);
        assert_eq!(std::fs::read(path).unwrap(), b"\x00\xff{\r\n}");
    }

    #[tokio::test]
    async fn two_recordings_within_a_second_are_two_files() {
        let folder = tempfile::tempdir().unwrap();
        let now = Timestamp(1_700_000_000_000_000_000);
        let (_, first) = create(folder.path(), None, now).await.unwrap();
        let (_, second) = create(folder.path(), None, now).await.unwrap();
        assert_eq!(first.file_name().unwrap(), "fieldgate-20231114T221320Z.raw");
        assert_eq!(
            second.file_name().unwrap(),
            "fieldgate-20231114T221320Z-2.raw"
        );
    }

    #[tokio::test]
    async fn a_folder_that_is_not_there_stops_nothing() {
        let (sender, wanted, mut chunks) = recorded(Path::new("/nonexistent"));
        wanted.send_replace(true);
        sender.send(chunk(b"goes on")).await.unwrap();
        assert_eq!(chunks.next().await.unwrap().bytes, &b"goes on"[..]);
        assert!(matches!(
            chunks.monitor.recording(),
            Recording::Failed { .. }
        ));
    }
}
