//! The MQTT broker: reached, logged in to, published to.

use std::time::Duration;

use rumqttc::{
    AsyncClient, ConnectionError, Event, EventLoop, MqttOptions, Packet, Publish, QoS,
    SubscribeReasonCode,
};
use tokio::time::{Instant, timeout, timeout_at};

use super::report::Report;
use crate::config::Mqtt;
use crate::sink::Failure;
use crate::sink::mqtt::{self, explain};

/// For each step.
const PATIENCE: Duration = Duration::from_secs(5);

const PART: &str = "mqtt";
const REACHED: &str = "broker reached";
const LOGIN: &str = "login accepted";
const PUBLISH: &str = "publish allowed";

pub(super) async fn check(config: &Mqtt, report: &mut Report) {
    let broker = config.url();
    let options = match options(config) {
        Ok(options) => options,
        Err(Failure::Refused(reason) | Failure::Unavailable(reason)) => {
            let fix = "correct the file, or the key that names it";
            report.failed(PART, REACHED, &format!("{broker}: {reason}"), fix);
            report.skipped(PART, LOGIN, "needs the broker");
            return report.skipped(PART, PUBLISH, "needs the broker");
        }
    };
    let (client, mut events) = AsyncClient::new(options, 10);
    match timeout(PATIENCE, connected(&mut events)).await {
        Ok(Ok(())) => {}
        Ok(Err(error @ ConnectionError::ConnectionRefused(_))) => {
            report.passed(PART, REACHED, &broker);
            let (Failure::Refused(reason) | Failure::Unavailable(reason)) = explain(&error);
            report.failed(
                PART,
                LOGIN,
                &reason,
                "correct the login here or at the broker",
            );
            return report.skipped(PART, PUBLISH, "needs a login");
        }
        failure => {
            let reason = match failure {
                Ok(Err(error)) => {
                    let (Failure::Refused(reason) | Failure::Unavailable(reason)) = explain(&error);
                    reason
                }
                _ => format!("no answer within {} s", PATIENCE.as_secs()),
            };
            let fix = "start the broker, or correct mqtt.broker_url";
            report.failed(PART, REACHED, &format!("{broker}: {reason}"), fix);
            report.skipped(PART, LOGIN, "needs the broker");
            return report.skipped(PART, PUBLISH, "needs the broker");
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
fn options(config: &Mqtt) -> Result<MqttOptions, Failure> {
    let id = format!("{}-check-{}", config.client_id, std::process::id());
    let mut options = mqtt::options(config)?;
    options.set_client_id(id);
    Ok(options)
}

async fn connected(events: &mut EventLoop) -> Result<(), ConnectionError> {
    loop {
        if let Event::Incoming(Packet::ConnAck(_)) = events.poll().await? {
            return Ok(());
        }
    }
}

/// Publishes a message and waits for it: a broker may acknowledge what it then drops.
async fn round_trip(
    client: &AsyncClient,
    events: &mut EventLoop,
    topic: &str,
) -> Result<(), String> {
    let payload = format!("fieldgate check {:016x}", fastrand::u64(..));
    let refused = |error: rumqttc::ClientError| error.to_string();
    client
        .try_subscribe(topic, QoS::AtLeastOnce)
        .map_err(refused)?;
    let deadline = Instant::now() + PATIENCE;
    let mut acknowledged = false;
    loop {
        let event = match timeout_at(deadline, events.poll()).await {
            Ok(Ok(Event::Incoming(packet))) => packet,
            Ok(Ok(Event::Outgoing(_))) => continue,
            Ok(Err(error)) => {
                let (Failure::Refused(reason) | Failure::Unavailable(reason)) = explain(&error);
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
            Packet::SubAck(answer) => {
                if answer.return_codes.contains(&SubscribeReasonCode::Failure) {
                    return Err(format!("the broker refused the subscription to {topic}"));
                }
                let bytes = payload.clone().into_bytes();
                let published = client.try_publish(topic, QoS::AtLeastOnce, false, bytes);
                published.map_err(refused)?;
            }
            Packet::PubAck(_) => acknowledged = true,
            Packet::Publish(Publish { payload: came, .. }) if came == payload.as_bytes() => {
                return Ok(());
            }
            _ => {}
        }
    }
}

async fn farewell(client: &AsyncClient, events: &mut EventLoop) {
    if client.try_disconnect().is_ok() {
        let ending = async { while events.poll().await.is_ok() {} };
        // The broker notices the end of the connection in any case.
        let _late = timeout(Duration::from_secs(1), ending).await;
    }
}
