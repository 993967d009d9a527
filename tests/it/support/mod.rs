//! What the tests share: servers of their own on free ports with their own folders.
//!
//! A fixture ends what it started when it is dropped, also when its test fails, and then prints
//! what its program had to say.

mod authority;
mod contract_server;
mod fieldgate;
mod front;
mod gateway;
mod http;
mod http_server;
mod line_protocol;
mod mosquitto;
mod mqtt;
pub(crate) mod numbered;
mod port;
mod process;
mod pty;
mod queried_database;
mod sample;
mod screen;
mod subscriber;
mod tcp_proxy;
mod victoria_metrics;

use std::time::{Duration, Instant};

pub(crate) use authority::{Authority, Signed};
pub(crate) use contract_server::{ContractServer, Reply};
pub(crate) use fieldgate::Fieldgate;
pub(crate) use front::{Front, FrontOptions};
pub(crate) use gateway::Gateway;
pub(crate) use http::request;
pub(crate) use line_protocol::{Point, parse as parse_lines};
pub(crate) use mosquitto::{Mosquitto, MosquittoOptions};
pub(crate) use mqtt::{Conduct, ContractBroker, Publish, Session, Tap};
pub(crate) use nix::sys::signal::Signal;
pub(crate) use numbered::{Leg, Load, MESSAGES, TOPICS, Tally, legs, packets};
pub(crate) use port::Port;
pub(crate) use process::{Process, program};
pub(crate) use pty::Pty;
pub(crate) use queried_database::{QueriedDatabase, Speaks};
pub(crate) use sample::{Reading, Sample, by_topic};
pub(crate) use screen::Terminal;
pub(crate) use subscriber::{Message, Subscriber, SubscriberOptions, is_of_gateway};
pub(crate) use tcp_proxy::TcpProxy;
pub(crate) use victoria_metrics::VictoriaMetrics;

/// Long enough for anything that a loaded machine does in the end.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Asks again and again until there is an answer; `None` when the time is up.
pub(crate) fn poll<T>(patience: Duration, mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + patience;
    loop {
        // The deadline is taken before the attempt, so that a slow attempt is not the last one
        // without having seen the state after the deadline.
        let late = Instant::now() >= deadline;
        if let Some(answer) = attempt() {
            return Some(answer);
        }
        if late {
            return None;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
