//! The fieldgate command: reads the command line, calls one command, turns its error into an exit
//! code.

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::Duration;

use clap::Parser;
use fieldgate::cli::{Cli, Command};
use fieldgate::commands::{self, RunError};
use fieldgate::config::ConfigErrors;

/// Something failed.
const FAILURE: u8 = 1;

/// The command line or the configuration is wrong; clap uses the same.
const WRONG_USAGE: u8 = 2;

/// How long the standard error is waited for.
const PATIENCE: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let result = match Cli::parse().into_command() {
        Command::Run(arguments) => commands::run(&arguments).map_err(Into::into),
        #[cfg(feature = "demo")]
        Command::Demo(arguments) => commands::demo(&arguments),
        Command::Attach(arguments) => commands::attach(&arguments),
        Command::Check(arguments) => match commands::check(&arguments) {
            Ok(true) => Ok(()),
            Ok(false) => return ExitCode::from(FAILURE),
            Err(error) => Err(error),
        },
        Command::Ports(arguments) => commands::ports(&arguments),
        Command::Init(arguments) => commands::init(&arguments),
        Command::Export(arguments) => commands::export(&arguments),
        Command::Completions(arguments) => commands::completions(&arguments),
        Command::Man => commands::man(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => report(&error),
    }
}

fn report(error: &anyhow::Error) -> ExitCode {
    let of_run = error.downcast_ref().and_then(|error| match error {
        RunError::Config(errors) => Some(errors),
        _ => None,
    });
    let of_config = error.downcast_ref::<ConfigErrors>().or(of_run);
    if let Some(errors) = of_config {
        print(errors.to_string());
        return ExitCode::from(WRONG_USAGE);
    }
    print(format!("fieldgate: {error:#}"));
    ExitCode::from(FAILURE)
}

/// To the standard error; a terminal that takes nothing must not keep the process from ending.
fn print(text: String) {
    let (done, is_done) = mpsc::channel();
    std::thread::spawn(move || {
        // Whoever started it may be gone; there is nobody else to tell.
        let _gone = writeln!(io::stderr(), "{text}");
        // Nobody waits any more when that took too long.
        let _late = done.send(());
    });
    // The time is up when the terminal takes nothing; there is nowhere to say so.
    let _late = is_done.recv_timeout(PATIENCE);
}
