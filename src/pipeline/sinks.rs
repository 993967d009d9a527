//! The threads of the sinks: started, restarted with other settings, waited for.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::Mutex;
use tokio::task;

use super::directives::Directives;
use super::{StartError, UNJOURNALED};
use crate::config::{self, Config, SOURCE_PLACEHOLDER};
use crate::journal::{Enrolled, Journal, JournalError};
use crate::monitor::{Monitor, SinkId};
use crate::sink::mqtt::KnownMetric;
use crate::sink::{self, Lane};
use crate::telemetry::{Catalogue, Format, KnownName, MetricTable, Name, OWN_FIGURES, Rules};

/// What every sink is made of, and the threads that run.
pub(super) struct Sinks {
    pub(super) monitor: Arc<Monitor>,
    pub(super) journal: Journal,
    pub(super) metrics: Arc<MetricTable>,
    pub(super) names: HashMap<String, Name>,
    /// The names and formats of all sources. Points say which they come from where there are several.
    pub(super) sources: std::sync::Mutex<Vec<(Name, Format)>>,
    pub(super) directives: Arc<Directives>,
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
        self.directives.begin(link.clone());
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

    /// These are the sources from now on; returns the sinks that have to start again for it: databases whose
    /// points say from now on, or no more, which source they come from, and brokers where Home Assistant is
    /// told of each.
    pub(super) async fn set_sources(&self, sources: Vec<(Name, Format)>) -> Vec<SinkId> {
        let names = |sources: &[(Name, Format)]| -> BTreeSet<Name> {
            sources.iter().map(|(name, _)| name.clone()).collect()
        };
        let after = names(&sources);
        let before = names(&std::mem::replace(&mut *self.sources(), sources));
        let concerns = |settings: &SinkSettings| match settings {
            SinkSettings::Influxdb(_) => (before.len() > 1) != (after.len() > 1),
            SinkSettings::Mqtt(mqtt) => {
                let tells_sources = mqtt.topic_prefix.contains(SOURCE_PLACEHOLDER);
                before != after && tells_sources && mqtt.home_assistant.is_some()
            }
        };
        let threads = self.threads.lock().await;
        let running = threads.iter().flatten();
        running
            .filter(|(_, running)| concerns(&running.settings))
            .map(|(sink, _)| sink.clone())
            .collect()
    }

    fn sources(&self) -> MutexGuard<'_, Vec<(Name, Format)>> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// The metrics of nodes of all sources, as the journal has them, also of sources that have gone.
    fn names(&self) -> Vec<KnownMetric> {
        let own = OWN_FIGURES.map(|(key, _)| key);
        let own = MetricTable::built_in_keys().filter_map(|key| {
            let (group, metric) = key.split_once('.')?;
            own.contains(&group).then(|| KnownName {
                node: group.to_owned(),
                metric: Some(metric.to_owned()),
            })
        });
        let own: Vec<KnownName> = own.collect();
        let sources = self.sources().clone();
        let is_there = |name: &Name| sources.iter().any(|(source, _)| source == name);
        let mut gone = self.journal.known_sources();
        gone.retain(|source| !is_there(source));
        let mut names = BTreeSet::new();
        let mut add = |source: &Name, format: &Format, known: &[KnownName], is_there| {
            let mut table = MetricTable::clone(&self.metrics);
            format.complete(&mut table, |_| false);
            let of_source = Catalogue::names_of(known, table, self.names.clone(), format);
            names.extend(of_source.into_iter().map(|(node, metric)| KnownMetric {
                source: source.clone(),
                node,
                metric,
                is_there,
            }));
        };
        for (source, format) in &sources {
            add(source, format, &self.journal.known_names(source), true);
            add(source, &Format::Board, &own, true);
        }
        for source in &gone {
            // Nothing says in which format it was.
            let known = self.journal.known_names(source);
            for format in [Format::Board, Format::Plotter(Rules::default())] {
                add(source, &format, &known, false);
            }
            add(source, &Format::Board, &own, false);
        }
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
            self.sources().len() > 1,
        );
        let delivery = delivery.map_err(|error| StartError::SinkSetup {
            sink: sink.clone(),
            reason: error.to_string(),
        })?;
        sink::spawn(delivery, lane).map_err(|error| StartError::Sink { sink, error })
    }
}
