//! The threads of the sinks: started, restarted with other settings, waited for.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use tokio::sync::Mutex;
use tokio::task;

use super::directives::Directives;
use super::{StartError, UNJOURNALED};
use crate::config::{self, Config};
use crate::journal::{Journal, JournalError};
use crate::monitor::{Monitor, SinkId};
use crate::sink::{self, Lane};
use crate::telemetry::{Catalogue, Format, KnownName, MetricTable, Name, OWN_FIGURES};

/// What every sink is made of, and the threads that run.
pub(super) struct Sinks {
    pub(super) monitor: Arc<Monitor>,
    pub(super) journal: Journal,
    pub(super) metrics: Arc<MetricTable>,
    pub(super) names: HashMap<String, Name>,
    /// The names and formats of all sources.
    pub(super) sources: Vec<(Name, Format)>,
    pub(super) directives: Arc<Directives>,
    /// Whether points say which source they come from.
    pub(super) tags_source: AtomicBool,
    /// `None`: the gateway is stopping, and no sink is started any more.
    pub(super) threads: Mutex<Option<Threads>>,
}

/// A thread for each sink that runs.
pub(super) type Threads = HashMap<SinkId, JoinHandle<()>>;

/// The settings of one sink.
#[derive(Debug, Clone)]
pub enum SinkSettings {
    /// Of the MQTT sink.
    Mqtt(config::Mqtt),
    /// Of the InfluxDB sink.
    Influxdb(config::Influxdb),
}

impl SinkSettings {
    /// Those of all sinks that are configured, brokers first.
    pub(super) fn all(config: &Config) -> Vec<Self> {
        let mqtt = config.mqtt.clone().map(Self::Mqtt);
        let influxdb = config.influxdb.clone().map(Self::Influxdb);
        mqtt.into_iter().chain(influxdb).collect()
    }

    pub(super) fn sink(&self) -> SinkId {
        match self {
            Self::Mqtt(_) => SinkId::mqtt(),
            Self::Influxdb(_) => SinkId::influxdb(),
        }
    }
}

impl Sinks {
    /// Starts the sinks that are configured.
    pub(super) fn start_all(mut self, config: &Config) -> Result<Self, StartError> {
        let settings = SinkSettings::all(config);
        let start = |settings: &SinkSettings| Ok((settings.sink(), self.start(settings)?));
        let threads: Result<Threads, StartError> = settings.iter().map(start).collect();
        self.threads = Mutex::new(Some(threads?));
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
        let Some(threads) = threads.as_mut() else {
            return Ok(());
        };
        let link = sink.link();
        self.directives
            .tell(link, |directive| directive.retired = true);
        if let Some(thread) = threads.remove(&sink) {
            let joined = task::spawn_blocking(move || thread.join()).await;
            if !matches!(joined, Ok(Ok(()))) {
                tracing::error!(sink = %sink, "A sink failed.");
            }
        }
        self.directives
            .tell(link, |directive| directive.retired = false);
        let thread = self.start(settings)?;
        threads.insert(sink, thread);
        Ok(())
    }

    /// Has points say which source they come from, or not; returns whether that is a change.
    pub(super) fn tag_sources(&self, is_wanted: bool) -> bool {
        self.tags_source.swap(is_wanted, Ordering::Relaxed) != is_wanted
    }

    fn lane(&self, sink: &SinkId, unacknowledged: u64) -> Result<Lane, StartError> {
        let cursor = self.journal.cursor(sink)?;
        let directive = self.directives.subscribe(sink.link());
        let directive = directive.ok_or_else(|| JournalError::NotEnabled(sink.clone()))?;
        let window = unacknowledged + UNJOURNALED;
        let monitor = self.monitor.clone();
        Ok(Lane::new(sink.clone(), cursor, monitor, directive, window))
    }

    fn start_mqtt(&self, config: &config::Mqtt) -> Result<JoinHandle<()>, StartError> {
        let sink = SinkId::mqtt();
        let lane = self.lane(&sink, config.max_inflight.into())?;
        self.monitor.set_peer(sink.link(), config.url());
        let own_figures = OWN_FIGURES.map(|(key, default)| {
            let name = self.names.get(key).or_else(|| self.names.get(default));
            name.cloned().unwrap_or_else(|| Name::new(default))
        });
        let topics = sink::mqtt::TopicMap::new(config.topic_prefix.clone(), own_figures);
        let speaks = config.home_assistant.is_some();
        let names = if speaks { self.names() } else { Vec::new() };
        let identities = sink::mqtt::Identities::new(&self.names, &self.metrics);
        let metrics = self.metrics.clone();
        let delivery = sink::mqtt::MqttDelivery::new(
            config,
            topics,
            metrics,
            identities,
            &names,
            self.monitor.standing(),
        );
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
        let mut names = BTreeSet::new();
        for (source, format) in &self.sources {
            let known = self.journal.known_names(source);
            let mut of_format = table.clone();
            format.complete(&mut of_format, |_| false);
            names.extend(Catalogue::names_of(
                &known,
                of_format,
                self.names.clone(),
                format,
            ));
        }
        let board = Catalogue::names_of(&own, table, self.names.clone(), &Format::Board);
        names.extend(board);
        names.into_iter().collect()
    }

    fn start_influxdb(&self, config: &config::Influxdb) -> Result<JoinHandle<()>, StartError> {
        let sink = SinkId::influxdb();
        let lane = self.lane(&sink, 2 * config.max_batch_size as u64)?;
        self.monitor.set_peer(sink.link(), config.url.to_string());
        let delivery = sink::influx::InfluxDelivery::new(
            config,
            self.metrics.clone(),
            self.tags_source.load(Ordering::Relaxed),
        );
        let delivery = delivery.map_err(|error| StartError::SinkSetup {
            sink: sink.clone(),
            reason: error.to_string(),
        })?;
        sink::spawn(delivery, lane).map_err(|error| StartError::Sink { sink, error })
    }
}
