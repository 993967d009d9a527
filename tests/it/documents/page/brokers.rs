//! The brokers of a page, and what is done with them.

use std::fs;
use std::path::PathBuf;

use regex::Regex;

use super::{Checked, Line, Page};
use crate::support::{Authority, Mosquitto, Port};

/// Where the documentation says that the usual broker is.
pub(super) const USUAL_PORT: u16 = 1883;

/// A broker that a page tells of.
pub(in crate::documents) struct Broker {
    /// The port that the page names.
    named: u16,
    port: u16,
    _server: Mosquitto,
    /// Only the usual broker has the port of its fixture.
    _reserved: Option<Port>,
}

impl Page {
    pub(super) fn usual_broker(&mut self) -> u16 {
        self.broker_at(USUAL_PORT).unwrap_or_else(|| {
            let server = Mosquitto::start();
            let port = server.port();
            self.brokers.push(Broker {
                named: USUAL_PORT,
                port,
                _server: server,
                _reserved: None,
            });
            port
        })
    }

    pub(super) fn broker_at(&self, named: u16) -> Option<u16> {
        let found = self.brokers.iter().find(|broker| broker.named == named);
        found.map(|broker| broker.port)
    }

    /// Starts a broker with a configuration. Its files and its port are the test's own.
    pub(in crate::documents) fn start_broker(&mut self, config: &str) -> Broker {
        let config = self.with_addresses(config);
        let listener = Regex::new(r"(?m)^listener (\d+).*$").unwrap();
        let named = listener
            .captures(&config)
            .map(|found| found[1].parse().unwrap());
        let reserved = Port::reserve();
        let port = reserved.number();
        let server = Mosquitto::start_with_config(|first, folder| {
            let text = config.replace("/var/lib/mosquitto/", &format!("{folder}/"));
            // The fixture waits for an answer in the clear; the rest holds for the last listener.
            let own = format!("listener {port} 127.0.0.1");
            format!(
                "listener {first} 127.0.0.1\n{}",
                listener.replace_all(&text, own)
            )
        });
        Broker {
            named: named.unwrap_or(USUAL_PORT),
            port,
            _server: server,
            _reserved: Some(reserved),
        }
    }

    /// Has the commands that follow find a broker, instead of one that was at the same port.
    pub(in crate::documents) fn keep(&mut self, broker: Broker) {
        self.brokers.retain(|other| other.named != broker.named);
        self.brokers.push(broker);
    }
    /// Runs `mosquitto_sub` and `mosquitto_pub` at the broker of the page that they name; of one that
    /// the page does not have only their options are tried.
    pub(in crate::documents) fn mosquitto_client(&mut self, line: &Line) -> Checked {
        let mut words: Vec<String> = line
            .words
            .iter()
            .map(|word| self.with_addresses(word))
            .collect();
        let value = |names: [&str; 2]| {
            let at = words
                .iter()
                .position(|word| names.contains(&word.as_str()))?;
            words.get(at + 1).cloned()
        };
        let host = value(["-h", "--host"]);
        let port = value(["-p", "--port"]).and_then(|port| port.parse().ok());
        let is_address = value(["-L", "--url"]).is_some();
        // What waits for messages that a running gateway would bring gets a second for it. Who says
        // how many and how long must get them.
        let given = |flag: &str| words.iter().any(|word| word == flag);
        let (counts, waits) = (given("-C"), given("-W"));
        let may_time_out = !(counts && waits);
        let is_here = host.is_none_or(|host| host == "localhost");
        let port = match port.unwrap_or(USUAL_PORT) {
            USUAL_PORT if is_here => Some(self.usual_broker()),
            named => self.broker_at(named).filter(|_| is_here),
        };
        if words[0] == "mosquitto_sub" && !waits {
            words.extend(["-W", "1"].map(str::to_owned));
        }
        if !is_address {
            // Nobody listens at port 1.
            let port = port.unwrap_or(1).to_string();
            words.extend(["-h", "localhost", "-p", &port].map(str::to_owned));
        }
        let (status, said) = self.output(&words[0], &words[1..]);
        // mosquitto_sub ends with 27 when its time is up.
        let good = status.success() || (may_time_out && status.code() == Some(27));
        let options_alone = port.is_none() && !is_address;
        if good || (options_alone && !said.contains("to see usage")) {
            Ok(())
        } else {
            Err(said)
        }
    }

    /// Files that a broker's configuration names: certificates, passwords, access rules. Certificates
    /// that the page has made are taken.
    pub(in crate::documents) fn broker_files(&mut self) -> PathBuf {
        let folder = self.folder.path().join("mosquitto");
        let certificates = folder.join("certs");
        if !folder.exists() {
            fs::create_dir_all(&certificates).unwrap();
            Authority::new(&certificates, "ca").server("server", &["localhost"]);
            fs::write(folder.join("acl"), "topic readwrite #\n").unwrap();
            fs::write(folder.join("passwords"), "").unwrap();
        }
        for name in ["ca.pem", "server.pem", "server.key"] {
            let made = self.folder.path().join(name);
            if made.exists() {
                fs::copy(made, certificates.join(name)).unwrap();
            }
        }
        folder
    }
}
