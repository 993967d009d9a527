//! The threads of the sinks: started, restarted with other settings, waited for.

use std::collections::HashMap;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::{Mutex, watch};
use tokio::task;

use super::{StartError, UNJOURNALED};
use crate::config::{self, Config};
use crate::journal::Journal;
use crate::monitor::{Directive, LinkId, Monitor, SinkId};
use crate::sink::{self, Lane};
use crate::telemetry::{Catalogue, Format, KnownName, MetricTable, Name, OWN_FIGURES};

/// What every sink is made of, and the threads that run. In the order of [`SinkId::ALL`].
pub(super) struct Sinks {
    pub(super) monitor: Arc<Monitor>,
    pub(super) journal: Journal,
    pub(super) metrics: Arc<MetricTable>,
    pub(super) names: HashMap<String, Name>,
    pub(super) format: Format,
    /// In the order of [`LinkId::ALL`].
    pub(super) directives: [watch::Sender<Directive>; LinkId::ALL.len()],
    /// `None`: the gateway is stopping, and no sink is started any more.
    pub(super) threads: Mutex<Option<[Option<JoinHandle<()>>; 2]>>,
}

/// The settings of one sink.
#[derive(Debug, Clone)]
pub enum SinkSettings {
    /// Of the MQTT sink.
    Mqtt(config::Mqtt),
    /// Of the InfluxDB sink.
    Influxdb(config::Influxdb),
}

impl SinkSettings {
    fn sink(&self) -> SinkId {
        match self {
            Self::Mqtt(_) => SinkId::Mqtt,
            Self::Influxdb(_) => SinkId::Influxdb,
        }
    }
}

impl Sinks {
    /// Starts the sinks that are configured.
    pub(super) fn start_all(mut self, config: &Config) -> Result<Self, StartError> {
        let mqtt = config.mqtt.clone().map(SinkSettings::Mqtt);
        let influxdb = config.influxdb.clone().map(SinkSettings::Influxdb);
        let start = |settings: Option<SinkSettings>| {
            settings.map(|settings| self.start(&settings)).transpose()
        };
        let threads = [start(mqtt)?, start(influxdb)?];
        self.threads = Mutex::new(Some(threads));
        Ok(self)
    }

    /// Starts a sink.
    fn start(&self, settings: &SinkSettings) -> Result<JoinHandle<()>, StartError> {
        match settings {
            SinkSettings::Mqtt(mqtt) => self.start_mqtt(mqtt),
            SinkSettings::Influxdb(influxdb) => self.start_influxdb(influxdb),
        }
    }

    /// Ends a sink once what is under way is acknowledged, and starts it with other settings. Nothing
    /// is lost: it goes on behind what was acknowledged.
    pub(super) async fn restart(&self, settings: &SinkSettings) -> Result<(), StartError> {
        let sink = settings.sink();
        // Held all the time, so that a stop finds the new thread.
        let mut threads = self.threads.lock().await;
        let Some(thread) = threads.as_mut().map(|threads| &mut threads[sink as usize]) else {
            return Ok(());
        };
        let directive = &self.directives[sink.link() as usize];
        directive.send_modify(|directive| directive.retired = true);
        if let Some(thread) = thread.take() {
            let joined = task::spawn_blocking(move || thread.join()).await;
            if !matches!(joined, Ok(Ok(()))) {
                tracing::error!(sink = %sink, "A sink failed.");
            }
        }
        directive.send_modify(|directive| directive.retired = false);
        *thread = Some(self.start(settings)?);
        Ok(())
    }

    /// What tells each sink what to do.
    pub(super) fn sink_directives(&self) -> [watch::Sender<Directive>; SinkId::ALL.len()] {
        SinkId::ALL.map(|sink| self.directives[sink.link() as usize].clone())
    }

    fn lane(&self, sink: SinkId, unacknowledged: u64) -> Result<Lane, StartError> {
        let directive = self.directives[sink.link() as usize].subscribe();
        let cursor = self.journal.cursor(sink)?;
        let window = unacknowledged + UNJOURNALED;
        Ok(Lane::new(
            sink,
            cursor,
            self.monitor.clone(),
            directive,
            window,
        ))
    }

    fn start_mqtt(&self, config: &config::Mqtt) -> Result<JoinHandle<()>, StartError> {
        let sink = SinkId::Mqtt;
        let lane = self.lane(sink, config.max_inflight.into())?;
        self.monitor.set_peer(LinkId::Mqtt, config.url());
        let own_figures = OWN_FIGURES.map(|(key, default)| {
            let name = self.names.get(key).or_else(|| self.names.get(default));
            name.cloned().unwrap_or_else(|| Name::new(default))
        });
        let topics = sink::mqtt::TopicMap::new(config.topic_prefix.clone(), own_figures);
        let removes = config.home_assistant.as_ref().is_some_and(|it| !it.enabled);
        let names = if removes { self.names() } else { Vec::new() };
        let metrics = self.metrics.clone();
        let delivery = sink::mqtt::MqttDelivery::new(config.clone(), topics, metrics, names);
        sink::spawn(delivery, lane).map_err(|error| StartError::Sink { sink, error })
    }

    /// Nodes and their metrics, as the journal has them.
    fn names(&self) -> Vec<(Name, Name)> {
        let table = MetricTable::clone(&self.metrics);
        let own = OWN_FIGURES.map(|(key, _)| key);
        let own = MetricTable::built_in_keys().filter_map(|key| {
            let (group, metric) = key.split_once('.')?;
            own.contains(&group).then(|| KnownName {
                node: group.to_owned(),
                metric: Some(metric.to_owned()),
            })
        });
        let own: Vec<KnownName> = own.collect();
        let mut of_format = table.clone();
        self.format.complete(&mut of_format, |_| false);
        let known = self.journal.known_names();
        let mut names = Catalogue::names_of(&known, of_format, self.names.clone(), &self.format);
        let board = Catalogue::names_of(&own, table, self.names.clone(), &Format::Board);
        names.extend(board);
        names
    }

    fn start_influxdb(&self, config: &config::Influxdb) -> Result<JoinHandle<()>, StartError> {
        let sink = SinkId::Influxdb;
        let lane = self.lane(sink, 2 * config.max_batch_size as u64)?;
        self.monitor
            .set_peer(LinkId::Influxdb, config.url.to_string());
        let delivery = sink::influx::InfluxDelivery::new(config, self.metrics.clone());
        let delivery = delivery.map_err(|error| StartError::SinkSetup {
            sink,
            reason: error.to_string(),
        })?;
        sink::spawn(delivery, lane).map_err(|error| StartError::Sink { sink, error })
    }
}
