//! Where telemetry comes from.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use super::report::Report;
use crate::config::{Port, Source};
use crate::ownership;
use crate::source::{SourceError, try_serial_port};

/// How long a program may take to say something of itself.
const PATIENCE: Duration = Duration::from_secs(10);

const PART: &str = "source";

pub(super) async fn check(source: &Source, report: &mut Report) {
    match source {
        Source::Serial(port) => serial(port, report),
        Source::ProbeRs {
            probe_id,
            firmware_path,
            ..
        } => {
            file(
                firmware_path,
                "firmware",
                "build it, or correct source.firmware_path",
                report,
            );
            probe(probe_id.as_deref(), report).await;
        }
        Source::Command { argv, .. } => command(argv, report),
        Source::File { path, .. } => file(path, "recording", "correct source.path", report),
        Source::Stdin => report.passed(PART, "standard input", "there is nothing to try"),
        Source::Simulator(_) => report.passed(PART, "simulator", "there is nothing to try"),
    }
}

fn serial(port: &Port, report: &mut Report) {
    const EXISTS: &str = "port exists";
    const OPENS: &str = "port may be opened";
    match try_serial_port(port) {
        Ok(path) => {
            report.passed(PART, EXISTS, &path.display().to_string());
            report.passed(PART, OPENS, &format!("at {}", port.framing()));
        }
        Err(error @ (SourceError::NoSuchPort { .. } | SourceError::PortMissing { .. })) => {
            let fix = "plug the board in, or choose one that `fieldgate ports` lists";
            report.failed(PART, EXISTS, &error.to_string(), fix);
            report.skipped(PART, OPENS, "there is none");
        }
        Err(error) => {
            let (path, fix) = match &error {
                SourceError::PortPermission { path } => {
                    report.passed(PART, EXISTS, &path.display().to_string());
                    let fix = ownership::advice_for_device(path);
                    return report.failed(PART, OPENS, "permission denied", &fix);
                }
                SourceError::PortBusy { path } => (
                    Some(path),
                    "end the other program, perhaps a running fieldgate",
                ),
                SourceError::PortOpen { path, .. } => (Some(path), "correct source.port"),
                _ => (None, "correct [source]"),
            };
            let path = path.map(|path| path.display().to_string());
            report.passed(PART, EXISTS, &path.unwrap_or_default());
            report.failed(PART, OPENS, &error.to_string(), fix);
        }
    }
}

async fn probe(wanted: Option<&str>, report: &mut Report) {
    const FOUND: &str = "probe-rs found";
    const ATTACHED: &str = "debug probe attached";
    let version = match output("probe-rs", &["--version"]).await {
        Ok(version) => version,
        Err(reason) => {
            report.failed(PART, FOUND, &reason, "install it from https://probe.rs");
            return report.skipped(PART, ATTACHED, "needs probe-rs");
        }
    };
    report.passed(PART, FOUND, version.lines().next().unwrap_or_default());
    let plug_in = "plug it in; `probe-rs list` says which there are, and https://probe.rs which \
                   rules udev needs";
    match output("probe-rs", &["list"]).await {
        Err(reason) => report.failed(PART, ATTACHED, &reason, plug_in),
        Ok(list) => {
            let mut probes = list.lines().filter(|line| line.starts_with('['));
            let meant = |line: &&str| wanted.is_none_or(|wanted| line.contains(wanted));
            if let Some(probe) = probes.find(meant) {
                return report.passed(PART, ATTACHED, probe);
            }
            let none = format!("no probe found, wanted: {}", wanted.unwrap_or("any"));
            report.failed(PART, ATTACHED, &none, plug_in);
        }
    }
}

/// What a program prints, if it succeeds in time.
async fn output(program: &str, arguments: &[&str]) -> Result<String, String> {
    let run = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    match timeout(PATIENCE, run).await {
        Err(_elapsed) => Err(format!("{program} did not end in time")),
        Ok(Err(error)) => Err(format!("cannot start {program}: {error}")),
        Ok(Ok(output)) if !output.status.success() => {
            Err(format!("{program} ended with {}", output.status))
        }
        Ok(Ok(output)) => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
    }
}

fn command(argv: &[String], report: &mut Report) {
    const FOUND: &str = "program found";
    let program = argv.first().map_or("", String::as_str);
    match find(program) {
        Some(path) => report.passed(PART, FOUND, &path.display().to_string()),
        None => report.failed(
            PART,
            FOUND,
            &format!("{program} is no program that may be run"),
            "install it, or correct source.command",
        ),
    }
}

/// A program by its path or, without a slash in its name, on the search path.
fn find(program: &str) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let is_program = |path: &PathBuf| {
        let metadata = path.metadata();
        metadata.is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
    };
    if program.contains('/') {
        return Some(PathBuf::from(program)).filter(is_program);
    }
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders)
        .map(|folder| folder.join(program))
        .find(is_program)
}

fn file(path: &Path, what: &'static str, fix: &str, report: &mut Report) {
    match File::open(path) {
        Ok(_) => report.passed(PART, what, &path.display().to_string()),
        Err(error) => {
            report.failed(
                PART,
                what,
                &format!("cannot read {}: {error}", path.display()),
                fix,
            );
        }
    }
}
