//! The MQTT broker: reached, logged in to, published to.

use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};

use super::report::Report;
use crate::config::{Mqtt, Qos, Retain};
use crate::monitor::SinkId;
use crate::sink::Failure;
use crate::sink::mqtt::connection::{Connection, Event, Message, OpenError, Published};
use crate::sink::mqtt::{Negotiation, not_accepted, own_prefix, remedy, remedy_of_refusal};

/// For each step.
const PATIENCE: Duration = Duration::from_secs(5);

const PART: &str = "mqtt";
const REACHED: &str = "broker reached";
const LOGIN: &str = "login accepted";
const PUBLISH: &str = "publish allowed";

pub(super) async fn check(config: &Mqtt, report: &mut Report) {
    let broker = config.url();
    let not_reached = |report: &mut Report, reason: &str, fix: &str| {
        report.failed(PART, REACHED, &format!("{broker}: {reason}"), fix);
        report.skipped(PART, LOGIN, "needs the broker");
        report.skipped(PART, PUBLISH, "needs the broker");
    };
    // Not the gateway's own name: a running one must not lose its connection.
    let client_id = format!("{}-check-{}", config.client_id, std::process::id());
    let topic = format!("{}/gateway/check", own_prefix(&config.topic_prefix));
    let will = message(&topic, String::new(), config.retain != Retain::Never);
    let mut negotiation = Negotiation::default();
    let sink = SinkId::broker(&config.sink.name);
    let opened = negotiation.open(config, &client_id, will, &sink).await;
    let mut connection = match opened {
        Ok(opened) => opened.connection,
        Err(OpenError::NotSpoken(failure) | OpenError::NotAccepted(failure)) => {
            report.passed(PART, REACHED, &broker);
            let fix = remedy_of_refusal(&failure);
            report.failed(PART, LOGIN, &reason(failure), fix);
            return report.skipped(PART, PUBLISH, "needs a login");
        }
        Err(OpenError::NotReached(ending) | OpenError::NotAnswered(ending)) => {
            let fix = remedy(&ending, config);
            return not_reached(report, &reason(not_accepted(ending, config)), &fix);
        }
    };
    report.passed(PART, REACHED, &broker);
    let user = match &config.username {
        Some(name) => format!("as {name}"),
        None => "without a user name".to_owned(),
    };
    let protocol = connection.version().name();
    report.passed(PART, LOGIN, &format!("{user}, {protocol}"));
    match round_trip(&mut connection, &topic).await {
        Ok(()) => report.passed(PART, PUBLISH, &format!("{topic} came back")),
        Err(reason) => {
            let user = config.username.as_deref().unwrap_or("everybody");
            let prefix = own_prefix(&config.topic_prefix);
            let fix =
                format!("at the broker, allow {user} to write {prefix}/# and to read {topic}");
            report.failed(PART, PUBLISH, &reason, &fix);
        }
    }
    farewell(connection).await;
}

fn reason(failure: Failure) -> String {
    let (Failure::Refused(reason) | Failure::Unavailable(reason)) = failure;
    reason
}

/// Publishes a message and waits for it: a broker may acknowledge what it then drops.
async fn round_trip(connection: &mut Connection, topic: &str) -> Result<(), String> {
    let payload = format!("fieldgate check {:016x}", fastrand::u64(..));
    connection.subscribe(topic);
    let deadline = Instant::now() + PATIENCE;
    let mut acknowledged = false;
    loop {
        let event = match timeout_at(deadline, connection.next()).await {
            Ok(Ok(event)) => event,
            Ok(Err(ending)) => {
                let reason = reason(ending.failure);
                return Err(format!("the broker ended the connection: {reason}"));
            }
            Err(_elapsed) if acknowledged => {
                return Err(format!(
                    "the broker acknowledged a message to {topic} and did not deliver it"
                ));
            }
            Err(_elapsed) => return Err(format!("no acknowledgement of a message to {topic}")),
        };
        let refused =
            |reason: String| Err(format!("the broker refused a message to {topic}: {reason}"));
        match event {
            Event::Subscribed(Err(reason)) => return Err(format!("{topic}: {reason}")),
            Event::Subscribed(Ok(())) => {
                let message = message(topic, payload.clone(), false);
                if let Published::NotSent(refusal) = connection.publish(message) {
                    return refused(refusal.reason);
                }
            }
            Event::Refused { refusal, .. } => return refused(refusal.reason),
            Event::Acknowledged(_) => acknowledged = true,
            Event::Message(came) if came.payload == payload.as_bytes() => return Ok(()),
            _ => {}
        }
    }
}

fn message(topic: &str, payload: String, retained: bool) -> Message {
    Message {
        topic: topic.to_owned(),
        payload,
        qos: Qos::AtLeastOnce,
        retained,
        event_time: None,
    }
}

async fn farewell(mut connection: Connection) {
    connection.disconnect();
    let ending = async { while connection.next().await.is_ok() {} };
    // The broker notices the end of the connection in any case.
    let _late = timeout(Duration::from_secs(1), ending).await;
}
