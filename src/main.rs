//! The fieldgate command: reads the command line, calls one command, turns its error into an exit
//! code.

use std::process::ExitCode;

use clap::Parser;
use fieldgate::cli::{Cli, Command};
use fieldgate::commands::{self, RunError};

/// Something failed.
const FAILURE: u8 = 1;

/// The command line or the configuration is wrong; clap uses the same.
const WRONG_USAGE: u8 = 2;

fn main() -> ExitCode {
    let result = match Cli::parse().into_command() {
        Command::Run(arguments) => commands::run(&arguments),
    };
    let Err(error) = result else {
        return ExitCode::SUCCESS;
    };
    match error {
        RunError::Config(errors) => {
            eprintln!("{errors}");
            ExitCode::from(WRONG_USAGE)
        }
        error => {
            eprintln!("fieldgate: {error}");
            ExitCode::from(FAILURE)
        }
    }
}
