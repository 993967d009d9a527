//! The MQTT broker: reached, logged in to, published to.

use std::time::Duration;

use futures_util::StreamExt;
use tokio::time::{Instant, timeout, timeout_at};

use super::report::Report;
use crate::config::{Mqtt, Qos};
use crate::sink::Failure;
use crate::sink::mqtt::client::{self, Client, Event, Events, Message, Opening};

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
    let (client, mut events) = match client::open(config, opening(config)) {
        Ok(opened) => opened,
        Err(failure) => {
            let fix = "correct the file, or the key that names it";
            return not_reached(report, &reason(failure), fix);
        }
    };
    match timeout(PATIENCE, answer(&mut events)).await {
        Ok(Ok(Answer::Accepted)) => {}
        Ok(Ok(Answer::NotAccepted(failure))) => {
            report.passed(PART, REACHED, &broker);
            let fix = "correct the login here or at the broker";
            report.failed(PART, LOGIN, &reason(failure), fix);
            return report.skipped(PART, PUBLISH, "needs a login");
        }
        failure => {
            let reason = match failure {
                Ok(Err(failure)) => reason(failure),
                _ => format!("no answer within {} s", PATIENCE.as_secs()),
            };
            return not_reached(
                report,
                &reason,
                "start the broker, or correct mqtt.broker_url",
            );
        }
    }
    report.passed(PART, REACHED, &broker);
    report.passed(
        PART,
        LOGIN,
        &match &config.username {
            Some(name) => format!("as {name}"),
            None => "without a user name".to_owned(),
        },
    );
    let topic = format!("{}/gateway/check", config.topic_prefix);
    match round_trip(&client, &mut events, &topic).await {
        Ok(()) => report.passed(PART, PUBLISH, &format!("{topic} came back")),
        Err(reason) => {
            let user = config.username.as_deref().unwrap_or("everybody");
            let prefix = &config.topic_prefix;
            let fix =
                format!("at the broker, allow {user} to write {prefix}/# and to read {topic}");
            report.failed(PART, PUBLISH, &reason, &fix);
        }
    }
    farewell(&client, &mut events).await;
}

/// Not the gateway's own name: a running one must not lose its connection.
fn opening(config: &Mqtt) -> Opening {
    Opening {
        client_id: format!("{}-check-{}", config.client_id, std::process::id()),
        will: None,
        capacity: 10,
    }
}

/// What the broker says to a connection.
enum Answer {
    Accepted,
    NotAccepted(Failure),
}

async fn answer(events: &mut Events) -> Result<Answer, Failure> {
    loop {
        match next(events).await? {
            Event::Accepted { .. } => return Ok(Answer::Accepted),
            Event::NotAccepted(failure) => return Ok(Answer::NotAccepted(failure)),
            _ => {}
        }
    }
}

async fn next(events: &mut Events) -> Result<Event, Failure> {
    let ended = || Err(Failure::Unavailable("the connection ended".to_owned()));
    events.next().await.unwrap_or_else(ended)
}

fn reason(failure: Failure) -> String {
    let (Failure::Refused(reason) | Failure::Unavailable(reason)) = failure;
    reason
}

/// Publishes a message and waits for it: a broker may acknowledge what it then drops.
async fn round_trip(client: &Client, events: &mut Events, topic: &str) -> Result<(), String> {
    let payload = format!("fieldgate check {:016x}", fastrand::u64(..));
    let taken = |taken: bool| taken.then_some(()).ok_or("the client takes no request");
    taken(client.subscribe(topic))?;
    let deadline = Instant::now() + PATIENCE;
    let mut acknowledged = false;
    loop {
        let event = match timeout_at(deadline, next(events)).await {
            Ok(Ok(event)) => event,
            Ok(Err(failure)) => {
                let reason = reason(failure);
                return Err(format!("the broker ended the connection: {reason}"));
            }
            Err(_elapsed) if acknowledged => {
                return Err(format!(
                    "the broker acknowledged a message to {topic} and did not deliver it"
                ));
            }
            Err(_elapsed) => return Err(format!("no acknowledgement of a message to {topic}")),
        };
        match event {
            Event::Subscribed(Err(reason)) => return Err(format!("{topic}: {reason}")),
            Event::Subscribed(Ok(())) => taken(client.publish(Message {
                topic: topic.to_owned(),
                payload: payload.clone(),
                qos: Qos::AtLeastOnce,
                retained: false,
                event_time: None,
            }))?,
            Event::Refused { refusal, .. } | Event::NotSent(refusal) => {
                let reason = refusal.reason;
                return Err(format!("the broker refused a message to {topic}: {reason}"));
            }
            Event::Acknowledged(_) => acknowledged = true,
            Event::Message(came) if came.payload == payload.as_bytes() => return Ok(()),
            _ => {}
        }
    }
}

async fn farewell(client: &Client, events: &mut Events) {
    if client.disconnect() {
        let ending = async { while next(events).await.is_ok() {} };
        // The broker notices the end of the connection in any case.
        let _late = timeout(Duration::from_secs(1), ending).await;
    }
}
