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
use crate::journal::{Enrolled, Journal, JournalError};
use crate::monitor::{Directive, LinkKind, Monitor, SinkId};
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
pub(super) type Threads = HashMap<SinkId, Running>;

/// A sink that runs.
pub(super) struct Running {
    settings: SinkSettings,
    pub(super) thread: JoinHandle<()>,
}

/// The settings of one sink.
#[derive(Debug, Clone, PartialEq)]
pub enum SinkSettings {
    /// Of a broker.
    Mqtt(config::Mqtt),
    /// Of a database.
    Influxdb(config::Influxdb),
}

impl SinkSettings {
    /// Those of all sinks that are configured, brokers first.
    pub fn all(config: &Config) -> Vec<Self> {
        let brokers = config.mqtt.iter().cloned().map(Self::Mqtt);
        let databases = config.influxdb.iter().cloned().map(Self::Influxdb);
        brokers.chain(databases).collect()
    }

    /// Whose they are.
    pub fn sink(&self) -> SinkId {
        match self {
            Self::Mqtt(mqtt) => SinkId::broker(&mqtt.sink.name),
            Self::Influxdb(influxdb) => SinkId::database(&influxdb.sink.name),
        }
    }

    /// As the journal has to know it.
    pub(super) fn enrolled(&self) -> Enrolled {
        Enrolled {
            sink: self.sink(),
            begin: self.common().begin,
        }
    }

    /// What every kind of sink has.
    fn common(&self) -> &config::Sink {
        match self {
            Self::Mqtt(mqtt) => &mqtt.sink,
            Self::Influxdb(influxdb) => &influxdb.sink,
        }
    }
}

impl Sinks {
    /// Starts the sinks that are configured.
    pub(super) fn start_all(mut self, config: &Config) -> Result<Self, StartError> {
        let mut threads = Threads::new();
        for settings in SinkSettings::all(config) {
            self.run(&mut threads, &settings)?;
        }
        self.threads = Mutex::new(Some(threads));
        Ok(self)
    }

    /// Starts a sink.
    fn start(&self, settings: &SinkSettings) -> Result<JoinHandle<()>, StartError> {
        let unacknowledged = match settings {
            SinkSettings::Mqtt(mqtt) => mqtt.max_inflight.into(),
            SinkSettings::Influxdb(influxdb) => 2 * influxdb.max_batch_size as u64,
        };
        let lane = self.lane(settings, unacknowledged)?;
        match settings {
            SinkSettings::Mqtt(mqtt) => self.start_mqtt(mqtt, lane),
            SinkSettings::Influxdb(influxdb) => self.start_influxdb(influxdb, lane),
        }
    }

    /// Has these sinks run and no others. One that stays as it was notices nothing. Returns what came of
    /// each that was to change: one that cannot have its new settings goes on with the old ones.
    pub(super) async fn set(
        &self,
        wanted: &[SinkSettings],
    ) -> Vec<(SinkId, Result<(), StartError>)> {
        // Held all the time, so that a stop finds all threads that there are.
        let mut threads = self.threads.lock().await;
        let Some(threads) = threads.as_mut() else {
            return Vec::new();
        };
        let is_wanted = |sink: &SinkId| wanted.iter().any(|settings| settings.sink() == *sink);
        let leaving: Vec<SinkId> = threads
            .keys()
            .filter(|it| !is_wanted(it))
            .cloned()
            .collect();
        let mut outcomes = Vec::new();
        for sink in leaving {
            self.retire(threads, &sink).await;
            self.directives.end(sink.link());
            outcomes.push((sink, Ok(())));
        }
        let is_new = |settings: &SinkSettings| !threads.contains_key(&settings.sink());
        if !outcomes.is_empty() || wanted.iter().any(is_new) {
            let enrolled = wanted.iter().map(SinkSettings::enrolled);
            self.journal.enrol(enrolled.collect()).await;
        }
        for settings in wanted {
            let sink = settings.sink();
            let before = threads.get(&sink).map(|running| running.settings.clone());
            if before.as_ref() == Some(settings) {
                continue;
            }
            let outcome = match &before {
                Some(before) => self.change(threads, before, settings).await,
                None => self.add(threads, settings),
            };
            outcomes.push((sink, outcome));
        }
        let runs = |settings: &&SinkSettings| threads.contains_key(&settings.sink());
        let running: Vec<&SinkSettings> = wanted.iter().filter(runs).collect();
        if running.len() < wanted.len() {
            let enrolled = running.iter().map(|settings| settings.enrolled());
            self.journal.enrol(enrolled.collect()).await;
        }
        let links = running.iter().map(|it| it.sink().link().clone());
        self.monitor.set_sink_links(links.collect());
        outcomes
    }

    /// Ends a sink and starts it again as it is, for what it takes from elsewhere.
    pub(super) async fn restart(&self, sink: &SinkId) -> Result<(), StartError> {
        let mut threads = self.threads.lock().await;
        let Some(threads) = threads.as_mut() else {
            return Ok(());
        };
        let Some(settings) = threads.get(sink).map(|running| running.settings.clone()) else {
            return Ok(());
        };
        self.change(threads, &settings, &settings).await
    }

    fn add(&self, threads: &mut Threads, settings: &SinkSettings) -> Result<(), StartError> {
        let link = settings.sink().link().clone();
        self.directives.begin(link.clone(), Directive::default());
        self.monitor.add_link(&link);
        self.run(threads, settings)
            .inspect_err(|_| self.directives.end(&link))
    }

    /// Gives a sink other settings. Nothing is lost: it goes on behind what was acknowledged.
    async fn change(
        &self,
        threads: &mut Threads,
        before: &SinkSettings,
        settings: &SinkSettings,
    ) -> Result<(), StartError> {
        let sink = settings.sink();
        self.retire(threads, &sink).await;
        self.directives
            .tell(sink.link(), |directive| directive.retired = false);
        let Err(error) = self.run(threads, settings) else {
            return Ok(());
        };
        if let Err(error) = self.run(threads, before) {
            tracing::error!(error = %error, "A sink does not start again with its old settings.");
        }
        Err(error)
    }

    fn run(&self, threads: &mut Threads, settings: &SinkSettings) -> Result<(), StartError> {
        let running = Running {
            thread: self.start(settings)?,
            settings: settings.clone(),
        };
        threads.insert(settings.sink(), running);
        Ok(())
    }

    /// Ends a sink once what is under way is acknowledged.
    async fn retire(&self, threads: &mut Threads, sink: &SinkId) {
        self.directives
            .tell(sink.link(), |directive| directive.retired = true);
        if let Some(Running { thread, .. }) = threads.remove(sink) {
            let joined = task::spawn_blocking(move || thread.join()).await;
            if !matches!(joined, Ok(Ok(()))) {
                tracing::error!(sink = %sink, "A sink failed.");
            }
        }
    }

    /// The databases that run.
    pub(super) async fn databases(&self) -> Vec<SinkId> {
        let threads = self.threads.lock().await;
        let sinks = threads.iter().flat_map(|threads| threads.keys());
        sinks
            .filter(|sink| sink.link().kind() == LinkKind::Influxdb)
            .cloned()
            .collect()
    }

    /// Has points say which source they come from, or not; returns whether that is a change.
    pub(super) fn tag_sources(&self, is_wanted: bool) -> bool {
        self.tags_source.swap(is_wanted, Ordering::Relaxed) != is_wanted
    }

    fn lane(&self, settings: &SinkSettings, unacknowledged: u64) -> Result<Lane, StartError> {
        let sink = settings.sink();
        let cursor = self.journal.cursor(&sink)?;
        let directive = self.directives.subscribe(sink.link());
        let directive = directive.ok_or_else(|| JournalError::NotEnabled(sink.clone()))?;
        let window = unacknowledged + UNJOURNALED;
        let lane = Lane::new(sink, cursor, self.monitor.clone(), directive, window);
        Ok(lane.choosing(settings.common().choice.clone()))
    }

    fn start_mqtt(&self, config: &config::Mqtt, lane: Lane) -> Result<JoinHandle<()>, StartError> {
        let sink = lane.sink().clone();
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

    fn start_influxdb(
        &self,
        config: &config::Influxdb,
        lane: Lane,
    ) -> Result<JoinHandle<()>, StartError> {
        let sink = lane.sink().clone();
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
