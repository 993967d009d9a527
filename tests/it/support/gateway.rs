//! The gateway as a library: its pipeline in the test's own process, so that a test can look at its
//! snapshots and give it commands.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use fieldgate::config::{self, Environment, Overrides};
use fieldgate::monitor::{
    Activity, Asker, Command, LinkId, LinkState, Observer, SinkId, SinkSnapshot, Snapshot,
};
use fieldgate::pipeline::{Handle, Outcome, Pipeline};
use tempfile::TempDir;

use super::numbered::ANY_VALUE;
use super::{PATIENCE, poll};

/// A pipeline that runs.
pub(crate) struct Gateway {
    folder: TempDir,
    input: File,
    handle: Handle,
    thread: JoinHandle<Outcome>,
}

impl Gateway {
    /// Starts a pipeline with these sections; source and journal are in a folder of its own.
    pub(crate) fn start(sections: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("input");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        // Opened for both, it neither waits for a reader nor ever ends.
        let input = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&pipe)
            .unwrap();
        let file = folder.path().join("config.toml");
        let text = format!(
            "shutdown_timeout = \"10s\"\n\
             [source]\nkind = \"command\"\ncommand = [\"cat\", \"{}\"]\n\
             [journal]\npath = \"{}\"\n\
             [telemetry]\nclock_tolerance = \"1h\"\n{ANY_VALUE}{sections}\n",
            pipe.display(),
            journal(folder.path()).display(),
        );
        std::fs::write(&file, text).unwrap();
        let (sender, receiver) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let mut overrides = Overrides::default();
            overrides.file = Some(file);
            let config = config::load(&overrides, &Environment::of_process()).unwrap();
            let runtime = tokio::runtime::Runtime::new().unwrap();
            let outcome = runtime.block_on(async {
                let pipeline = Pipeline::start(&config, Activity::default()).await;
                let pipeline = pipeline.unwrap();
                sender.send(pipeline.handle()).unwrap();
                pipeline.run().await
            });
            runtime.shutdown_background();
            outcome
        });
        Self {
            input,
            handle: receiver.recv().expect("the pipeline did not start"),
            thread,
            folder,
        }
    }

    /// The journal's file.
    pub(crate) fn journal(&self) -> PathBuf {
        journal(self.folder.path())
    }

    /// Gives it bytes.
    pub(crate) fn send(&mut self, text: &str) {
        self.input.write_all(text.as_bytes()).unwrap();
    }

    /// Gives it a command.
    pub(crate) fn command(&self, command: Command) {
        drop(self.handle.command(command, Asker::Screen));
    }

    /// A sink now.
    pub(crate) fn sink(&self, sink: &SinkId) -> SinkSnapshot {
        self.handle.snapshot().sink(sink).unwrap().clone()
    }

    /// Waits until the snapshot is as it should be.
    pub(crate) fn wait_until<T>(
        &self,
        what: &str,
        mut holds: impl FnMut(&Snapshot) -> Option<T>,
    ) -> T {
        poll(PATIENCE, || holds(&self.handle.snapshot()))
            .unwrap_or_else(|| panic!("no {what}: {:#?}", self.handle.snapshot().sinks))
    }

    /// Waits until a link is in a state that the function takes, and returns what it makes of it.
    pub(crate) fn wait_for_link<T>(
        &self,
        link: &LinkId,
        what: &str,
        mut holds: impl FnMut(&LinkState) -> Option<T>,
    ) -> T {
        self.wait_until(what, |snapshot| holds(&snapshot.link(link)?.state))
    }

    /// Waits until a link works.
    pub(crate) fn wait_until_up(&self, link: &LinkId) {
        self.wait_for_link(link, "link that is up", |state| {
            (*state == LinkState::Up).then_some(())
        });
    }

    /// Waits until everything that was received has been dealt with.
    pub(crate) fn wait_until_delivered(&self, sink: &SinkId, messages: u64) {
        self.wait_until("complete delivery", |snapshot| {
            let sink = snapshot.sink(sink)?;
            (sink.delivered + sink.rejected >= messages && sink.queue_depth == 0).then_some(())
        });
    }

    /// Stops it as `q` does; its folder stays.
    pub(crate) fn quit(self) -> (Outcome, TempDir) {
        self.command(Command::Quit);
        let ended = poll(Duration::from_secs(30), || {
            self.thread.is_finished().then_some(())
        });
        ended.expect("the pipeline did not end");
        (self.thread.join().unwrap(), self.folder)
    }
}

fn journal(folder: &Path) -> PathBuf {
    folder.join("journal.db")
}
