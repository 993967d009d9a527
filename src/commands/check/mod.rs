//! `fieldgate check`: every part of the configuration, tried for real.

mod broker;
mod database;
mod input;
mod machine;
mod report;

use std::io;

use crate::cli::CheckArguments;
use crate::config::{self, Config, ConfigErrors, Environment};

use super::print;
pub(super) use report::Report;

/// Tries everything and prints what came of it; whether all holds.
pub fn check(arguments: &CheckArguments) -> anyhow::Result<bool> {
    let report = match config::load(&arguments.config.overrides(), &Environment::of_process()) {
        Err(errors) if !arguments.json => return Err(errors.into()),
        Err(errors) => refused(&errors),
        Ok(config) => tried(&config)?,
    };
    let text = if arguments.json {
        format!("{}\n", serde_json::to_string_pretty(&report)?)
    } else {
        report.to_string()
    };
    print(text.as_bytes())?;
    Ok(report.holds())
}

/// What came of trying everything in a configuration.
pub(super) fn tried(config: &Config) -> io::Result<Report> {
    let mut report = Report::default();
    report.passed("configuration", "is valid", "");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(try_all(config, &mut report));
    // Nothing that was tried and hangs shall hold up the end.
    runtime.shutdown_background();
    Ok(report)
}

fn refused(errors: &ConfigErrors) -> Report {
    let mut report = Report::default();
    for error in errors {
        report.failed(
            "configuration",
            "is valid",
            &error.to_string(),
            "correct it as it says",
        );
    }
    report
}

async fn try_all(config: &Config, report: &mut Report) {
    for source in &config.sources {
        report.begin_link((config.sources.len() > 1).then_some(&source.name));
        input::check(&source.source, report).await;
    }
    report.begin_link(None);
    if config.mqtt.is_empty() {
        report.skipped("mqtt", "broker", "not configured");
    }
    for mqtt in &config.mqtt {
        report.begin_link(Some(&mqtt.sink.name));
        for broker in mqtt.each() {
            broker::check(&broker, report).await;
        }
    }
    report.begin_link(None);
    if config.influxdb.is_empty() {
        report.skipped("influxdb", "server", "not configured");
    }
    let mut server_time = None;
    for influxdb in &config.influxdb {
        report.begin_link(Some(&influxdb.sink.name));
        let is_one_of_several = !influxdb.fallbacks.is_empty();
        for server in influxdb.each() {
            let time = database::check(&server, is_one_of_several, report).await;
            server_time = server_time.or(time);
        }
    }
    report.begin_link(None);
    machine::check_journal(&config.journal, report);
    machine::check_clock(server_time, report);
    if let Some(api) = &config.api {
        machine::check_api(api, report).await;
    }
}
