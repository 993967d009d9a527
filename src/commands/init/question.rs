//! What is asked, or said by a flag.

use std::io::{self, Write};
use std::os::fd::AsFd;

use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};

use crate::config::{self, ConfigErrors, Overrides};

/// Says that something is not wanted.
pub(super) const NONE: &str = "none";

/// Says that there is no hardware.
pub(super) const SIMULATOR: &str = "simulator";

/// A question about one key.
pub(super) struct Question {
    pub(super) words: &'static str,
    flag: &'static str,
    key: &'static str,
    /// An answer that is no value of the key.
    other: &'static str,
    is_secret: bool,
}

pub(super) const PORT: Question = Question {
    words: "Serial port, or simulator",
    flag: "--port",
    key: "source.port",
    other: SIMULATOR,
    is_secret: false,
};

pub(super) const BROKER: Question = Question {
    words: "MQTT broker, or none",
    flag: "--broker-url",
    key: "mqtt.broker_url",
    other: NONE,
    is_secret: false,
};

pub(super) const DATABASE: Question = Question {
    words: "InfluxDB server, or none",
    flag: "--influxdb-url",
    key: "influxdb.url",
    other: NONE,
    is_secret: false,
};

pub(super) const ORG: Question = Question {
    words: "Organisation in InfluxDB",
    flag: "--influxdb-org",
    key: "influxdb.org",
    other: "",
    is_secret: false,
};

pub(super) const BUCKET: Question = Question {
    words: "Bucket in InfluxDB",
    flag: "--influxdb-bucket",
    key: "influxdb.bucket",
    other: "",
    is_secret: false,
};

pub(super) const TOKEN: Question = Question {
    words: "Token of InfluxDB, not shown as it is typed, or none",
    flag: "",
    key: "influxdb.token",
    other: NONE,
    is_secret: true,
};

impl Question {
    /// Whether this is an answer: what it says of its key is a configuration.
    pub(super) fn check(&self, answer: &str) -> Result<(), ConfigErrors> {
        if answer == self.other && !answer.is_empty() {
            return Ok(());
        }
        let mut overrides = Overrides::default();
        // Nothing else, whatever there is in this folder.
        overrides.file = Some("/dev/null".into());
        if self.key != PORT.key {
            overrides.assign("source.kind=stdin");
        }
        overrides.flag(self.flag, self.key, answer);
        let environment = [("HOME", "/")].into_iter().collect();
        config::load(&overrides, &environment).map(drop)
    }

    /// Asks until the answer is one.
    pub(super) fn ask(&self, default: &str) -> anyhow::Result<String> {
        loop {
            let ask = || {
                eprint!("{} [{default}]: ", self.words);
                io::stderr().flush()?;
                read_line()
            };
            // Nothing may be typed between the question and what hides the answer.
            let line = if self.is_secret { unseen(ask)? } else { ask()? };
            let answer = match line.trim() {
                "" => default,
                answer => answer,
            };
            match self.check(answer) {
                Ok(()) => return Ok(answer.to_owned()),
                // Its first line names the flag that was not given.
                Err(errors) => {
                    for line in errors.to_string().lines().skip(1) {
                        eprintln!("{line}");
                    }
                }
            }
        }
    }
}

/// Asks for a yes, which an empty line is, too.
pub(super) fn confirm(words: &str) -> anyhow::Result<bool> {
    eprint!("{words}, yes or no [yes]: ");
    io::stderr().flush()?;
    let answer = read_line()?.trim().to_lowercase();
    Ok(answer.is_empty() || "yes".starts_with(&answer))
}

fn read_line() -> io::Result<String> {
    let mut line = String::new();
    match io::stdin().read_line(&mut line)? {
        // Or a question would be asked again for ever.
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(line),
    }
}

/// Asks while the terminal shows nothing of what is typed but the end of the line.
fn unseen(ask: impl Fn() -> io::Result<String>) -> io::Result<String> {
    let stdin = io::stdin();
    let shown = tcgetattr(stdin.as_fd())?;
    let mut unseen = shown.clone();
    unseen.local_flags.remove(LocalFlags::ECHO);
    unseen.local_flags.insert(LocalFlags::ECHONL);
    tcsetattr(stdin.as_fd(), SetArg::TCSANOW, &unseen)?;
    let line = ask();
    tcsetattr(stdin.as_fd(), SetArg::TCSANOW, &shown)?;
    line
}
