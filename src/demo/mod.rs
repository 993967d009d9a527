//! The servers that `fieldgate demo` brings along: an MQTT broker and the write endpoint of an
//! InfluxDB, both on loopback addresses of this process, for as long as it lives.

mod broker;
mod database;
pub mod write_endpoint;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use tempfile::TempDir;

use crate::config::{self, Config, ConfigErrors, Overrides};

/// The organisation that the database has.
const ORG: &str = "demo";

/// The bucket that the database has.
const BUCKET: &str = "telemetry";

/// What there is to show.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Made-up nodes.
    pub nodes: u32,
    /// Packets per second of all of them.
    pub rate: f64,
}

/// Why there is no demonstration.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The system gave no folder, port or thread.
    #[error("cannot start the demonstration: {0}")]
    System(#[from] io::Error),
    /// The broker did not come up.
    #[error("the embedded MQTT broker did not start on {0}")]
    Broker(SocketAddr),
    /// The database did not come up.
    #[error("the embedded database cannot keep points: {0}")]
    Database(#[from] rusqlite::Error),
    /// What was asked for cannot be.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
}

/// Both servers, and what they leave on the disk until this is dropped.
pub struct Demo {
    broker: SocketAddr,
    database: database::Database,
    token: String,
    folder: TempDir,
    settings: Settings,
}

impl Demo {
    /// Starts both servers on their usual ports or, where those are taken, on free ones.
    pub fn start(settings: Settings) -> Result<Self, DemoError> {
        let folder = tempfile::Builder::new()
            .prefix("fieldgate-demo-")
            .tempdir()?;
        let broker = broker::start(free_address(1883)?)?;
        let token = format!("demo-{:016x}", fastrand::u64(..));
        let listener = listen(8086)?;
        let points = folder.path().join("points.db");
        let database = database::Database::start(listener, &token, &points)?;
        Ok(Self {
            broker,
            database,
            token,
            folder,
            settings,
        })
    }

    /// The configuration of a gateway between made-up nodes and these servers. What else is configured
    /// on this machine is left alone.
    pub fn config(&self) -> Result<Config, ConfigErrors> {
        let text = format!(
            "[source]\nkind = \"simulator\"\nnodes = {nodes}\nrate = {rate:?}\n\
             [mqtt]\nbroker_url = \"mqtt://{broker}\"\nclient_id = \"fieldgate-demo\"\n\
             protocol = 4\n\
             [influxdb]\nurl = \"http://{database}\"\norg = \"{ORG}\"\nbucket = \"{BUCKET}\"\n\
             flush_interval = \"1s\"\n\
             [journal]\npath = {journal}\ndurability = \"normal\"\n\
             [log]\nlevel = \"warn,fieldgate=info,rumqttd=off\"\n",
            nodes = self.settings.nodes,
            rate = self.settings.rate,
            broker = self.broker,
            database = self.database.address(),
            journal = toml::Value::from(self.path("journal.db")),
        );
        let file = self.folder.path().join("config.toml");
        let mut overrides = Overrides::default();
        // A folder of our own that cannot be written to says so when the file is read.
        drop(std::fs::write(&file, text));
        overrides.file = Some(file);
        let home = self.path("");
        let variables = [("HOME", home.as_str()), ("INFLUXDB_TOKEN", &self.token)];
        config::load(&overrides, &variables.into_iter().collect())
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// What runs here, and how to join in.
    pub fn introduction(&self) -> String {
        let (broker, database) = (self.broker, self.database.address());
        format!(
            "Demonstration: the nodes are made up. The MQTT broker on {broker} and the InfluxDB write \
             endpoint on {database} are embedded in this program.\n\
             Join in:  mosquitto_sub -h {} -p {} -t 'iiot/#' -v\n          \
             curl http://{database}/points\n\
             Ctrl+C ends it and leaves nothing behind.",
            broker.ip(),
            broker.port(),
        )
    }
}

/// The usual port, or else any free one.
fn listen(usual: u16) -> io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, usual))
        .or_else(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
}

fn free_address(usual: u16) -> io::Result<SocketAddr> {
    listen(usual)?.local_addr()
}
