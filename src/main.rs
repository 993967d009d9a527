//! The fieldgate command: reads the command line, calls one command, turns its error into an exit
//! code.

use std::io;
use std::process::ExitCode;

use clap::Parser;
use fieldgate::cli::{Cli, Command};
use fieldgate::commands::{self, RunError};
use fieldgate::config::ConfigErrors;
use fieldgate::monitor::Order;

/// Something failed.
const FAILURE: u8 = 1;

/// The command line or the configuration is wrong; clap uses the same.
const WRONG_USAGE: u8 = 2;

/// An audit found out nothing.
const CANNOT_TELL: u8 = 2;

fn main() -> ExitCode {
    let result = match Cli::parse().into_command() {
        Command::Run(arguments) => commands::run(&arguments).map_err(Into::into),
        #[cfg(feature = "demo")]
        Command::Demo(arguments) => commands::demo(&arguments),
        Command::Attach(arguments) => commands::attach(&arguments),
        Command::View(arguments) => commands::view(&arguments),
        Command::Send(arguments) => commands::send(&arguments),
        Command::Lend(arguments) => match commands::lend(&arguments) {
            Ok(code) => return ExitCode::from(code),
            Err(error) => Err(error),
        },
        Command::Status(arguments) => match commands::status(&arguments) {
            Ok(code) => return ExitCode::from(code),
            Err(error) => Err(error),
        },
        Command::Tail(arguments) => commands::tail(&arguments),
        Command::Hold(arguments) => commands::operate(Order::Hold, &arguments),
        Command::Release(arguments) => commands::operate(Order::Release, &arguments),
        Command::Flush(arguments) => commands::operate(Order::Flush, &arguments),
        Command::Reconnect(arguments) => commands::operate(Order::Reconnect, &arguments),
        Command::Check(arguments) => match commands::check(&arguments) {
            Ok(true) => Ok(()),
            Ok(false) => return ExitCode::from(FAILURE),
            Err(error) => Err(error),
        },
        Command::Decode(arguments) => match commands::decode(&arguments) {
            Ok(true) => Ok(()),
            Ok(false) => return ExitCode::from(FAILURE),
            Err(error) => Err(error),
        },
        Command::Keys(arguments) => commands::keys(&arguments),
        Command::Ports(arguments) => commands::ports(&arguments),
        Command::Init(arguments) => commands::init(&arguments),
        Command::Export(arguments) => commands::export(&arguments),
        Command::Rejected(arguments) => match commands::rejected(&arguments) {
            Ok(true) => Ok(()),
            Ok(false) => return ExitCode::from(FAILURE),
            Err(error) => Err(error),
        },
        Command::Audit(arguments) => match commands::audit(&arguments) {
            Ok(code) => return ExitCode::from(code),
            Err(error) => {
                report(&error);
                return ExitCode::from(CANNOT_TELL);
            }
        },
        Command::Forget(arguments) => commands::forget(&arguments),
        Command::Rewind(arguments) => commands::rewind(&arguments),
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
        commands::say_last(io::stderr(), errors.to_string());
        return ExitCode::from(WRONG_USAGE);
    }
    commands::say_last(io::stderr(), format!("fieldgate: {error:#}"));
    ExitCode::from(FAILURE)
}
