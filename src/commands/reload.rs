//! The configuration, read again while the gateway runs.

use tokio::signal::unix::{SignalKind, signal};

use crate::config::{Config, ConfigErrors, Mqtt, SOURCE_PLACEHOLDER};
use crate::logging::LevelSwitch;
use crate::pipeline::{Handle, SinkSettings};

/// Reads the configuration again.
pub(super) type Read = Box<dyn Fn() -> Result<Config, ConfigErrors> + Send + Sync>;

/// Does so at every SIGHUP.
pub(super) async fn at_hangup(mut running: Config, read: Read, level: LevelSwitch, handle: Handle) {
    let mut hangups = match signal(SignalKind::hangup()) {
        Ok(hangups) => hangups,
        Err(error) => {
            tracing::warn!(error = %error, "SIGHUP cannot be watched.");
            return;
        }
    };
    while hangups.recv().await.is_some() {
        match read() {
            Ok(config) => running = apply(running, config, &level, &handle).await,
            Err(errors) => {
                for error in &errors {
                    let error = error.to_string().replace("\n ", ";");
                    tracing::error!(error, "The configuration is wrong.");
                }
                tracing::error!("The configuration stays as it was.");
            }
        }
    }
}

/// Changes what can be changed, names the rest, and returns what holds now.
async fn apply(mut running: Config, new: Config, level: &LevelSwitch, handle: &Handle) -> Config {
    let mut report = Report::default();
    let others = running.changes(&new).into_iter();
    let (sources, others): (Vec<_>, Vec<_>) = others.partition(|section| *section == "source");
    // What more sources send needs topics of its own.
    let is_more = new.sources.len() > running.sources.len();
    let (first, last) = if is_more {
        (vec![], sources)
    } else {
        (sources, vec![])
    };
    for section in first {
        change(section, &mut running, &new, level, handle, &mut report).await;
    }
    // Also without a change: what could not be applied before may be by now.
    set_sinks(&mut running, &new, handle, &mut report).await;
    for section in others.into_iter().chain(last) {
        change(section, &mut running, &new, level, handle, &mut report).await;
    }
    tracing::info!(
        changed = list(&report.changed),
        need_restart = list(&report.need_restart),
        "The configuration was read again."
    );
    running
}

/// What came of a configuration that was read again.
#[derive(Default)]
struct Report {
    changed: Vec<String>,
    need_restart: Vec<String>,
}

impl Report {
    fn note(&mut self, section: &str, result: Result<(), String>) {
        match result {
            Ok(()) => self.changed.push(section.to_owned()),
            Err(error) => {
                tracing::error!(section, error, "A changed section cannot be applied.");
                self.need_restart.push(section.to_owned());
            }
        }
    }
}

/// Changes a section that is not of sinks, if it can be changed.
async fn change(
    section: &str,
    running: &mut Config,
    new: &Config,
    level: &LevelSwitch,
    handle: &Handle,
    report: &mut Report,
) {
    let result = match section {
        "source" => set_sources(running, new, handle).await,
        "log" if only_level_differs(running, new) => {
            level.set(&new.log).map_err(|error| error.to_string())
        }
        _ => return report.need_restart.push(section.to_owned()),
    };
    if result.is_ok() {
        take_over(running, new, section);
    }
    report.note(section, result);
}

/// Notes that a section holds as it is now.
fn take_over(running: &mut Config, new: &Config, section: &str) {
    match section {
        "source" => running.sources.clone_from(&new.sources),
        "log" => running.log = new.log.clone(),
        _ => {}
    }
}

/// Has the new sources run, unless nodes of two would have the same topics.
async fn set_sources(running: &Config, new: &Config, handle: &Handle) -> Result<(), String> {
    let tells_apart = |mqtt: &Mqtt| mqtt.topic_prefix.contains(SOURCE_PLACEHOLDER);
    if new.sources.len() > 1 && !running.mqtt.iter().all(tells_apart) {
        return Err(format!(
            "mqtt.topic_prefix as it is in use has no {SOURCE_PLACEHOLDER}"
        ));
    }
    handle.set_sources(&new.sources).await;
    Ok(())
}

/// Has the new brokers and databases run. What cannot be applied stays as it was.
async fn set_sinks(running: &mut Config, new: &Config, handle: &Handle, report: &mut Report) {
    let outcomes = handle.set_sinks(&SinkSettings::all(new)).await;
    let has_failed = outcomes.iter().any(|(_, outcome)| outcome.is_err());
    for (sink, outcome) in outcomes {
        report.note(sink.as_str(), outcome.map_err(|error| error.to_string()));
    }
    if !has_failed {
        running.mqtt.clone_from(&new.mqtt);
        running.influxdb.clone_from(&new.influxdb);
    }
}

fn only_level_differs(running: &Config, new: &Config) -> bool {
    let mut log = running.log.clone();
    log.level.clone_from(&new.log.level);
    format!("{log:?}") == format!("{:?}", new.log)
}

fn list(sections: &[String]) -> String {
    if sections.is_empty() {
        "nothing".to_owned()
    } else {
        sections.join(", ")
    }
}
