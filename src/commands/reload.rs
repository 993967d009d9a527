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
    let mut changed = Vec::new();
    let mut need_restart = Vec::new();
    let mut sections = running.changes(&new);
    if new.sources.len() > running.sources.len() {
        // What they send needs topics of its own.
        sections.sort_by_key(|section| *section == "source");
    }
    for section in sections {
        let result = match section {
            "source" => set_sources(&running, &new, handle).await,
            "log" if only_level_differs(&running, &new) => {
                level.set(&new.log).map_err(|error| error.to_string())
            }
            sink => {
                let both = (settings(&running, sink), settings(&new, sink));
                let (Some(old), Some(new)) = both else {
                    need_restart.push(section);
                    continue;
                };
                replace(handle, &old, &new).await
            }
        };
        match result {
            Ok(()) => {
                take_over(&mut running, &new, section);
                changed.push(section);
            }
            Err(error) => {
                tracing::error!(section, error, "A changed section cannot be applied.");
                need_restart.push(section);
            }
        }
    }
    tracing::info!(
        changed = list(&changed),
        need_restart = list(&need_restart),
        "The configuration was read again."
    );
    running
}

/// Notes that a section holds as it is now.
fn take_over(running: &mut Config, new: &Config, section: &str) {
    match section {
        "source" => running.sources.clone_from(&new.sources),
        "mqtt" => running.mqtt.clone_from(&new.mqtt),
        "influxdb" => running.influxdb.clone_from(&new.influxdb),
        "log" => running.log = new.log.clone(),
        _ => {}
    }
}

/// Has the new sources run, unless nodes of two would have the same topics.
async fn set_sources(running: &Config, new: &Config, handle: &Handle) -> Result<(), String> {
    let tells_apart = |mqtt: &Mqtt| mqtt.topic_prefix.contains(SOURCE_PLACEHOLDER);
    if new.sources.len() > 1 && !running.mqtt.as_ref().is_none_or(tells_apart) {
        return Err(format!(
            "mqtt.topic_prefix as it is in use has no {SOURCE_PLACEHOLDER}"
        ));
    }
    let influxdb = settings(running, "influxdb");
    handle.set_sources(&new.sources, influxdb.as_ref()).await;
    Ok(())
}

/// The settings of a sink by the name of its section; `None`: there is no such sink.
fn settings(config: &Config, section: &str) -> Option<SinkSettings> {
    match section {
        "mqtt" => config.mqtt.clone().map(SinkSettings::Mqtt),
        "influxdb" => config.influxdb.clone().map(SinkSettings::Influxdb),
        _ => None,
    }
}

/// Gives a sink other settings or, when those cannot be, its old ones again.
async fn replace(handle: &Handle, old: &SinkSettings, new: &SinkSettings) -> Result<(), String> {
    let Err(error) = handle.restart_sink(new).await else {
        return Ok(());
    };
    if let Err(error) = handle.restart_sink(old).await {
        tracing::error!(error = %error, "A sink does not start again with its old settings.");
    }
    Err(error.to_string())
}

fn only_level_differs(running: &Config, new: &Config) -> bool {
    let mut log = running.log.clone();
    log.level.clone_from(&new.log.level);
    format!("{log:?}") == format!("{:?}", new.log)
}

fn list(sections: &[&str]) -> String {
    if sections.is_empty() {
        "nothing".to_owned()
    } else {
        sections.join(", ")
    }
}
