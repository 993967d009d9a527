//! Connects to the configured broker, publishes one message with the configured quality of service,
//! waits until the broker has acknowledged it, and says so.
//!
//! ```text
//! cargo run --example publish_test
//! cargo run --example publish_test -- --broker-url mqtt://localhost:1883 --set mqtt.qos=2
//! ```
//!
//! It reads `config.toml`, the environment and the same flags as `fieldgate`, and uses the same
//! connection. It ends with 0 when the message has arrived, with 1 when it has not, and with 2 when
//! the configuration is wrong.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use fieldgate::cli::ConfigArguments;
use fieldgate::config::{self, Config, Environment, Mqtt, Qos};
use fieldgate::monitor::SinkId;
use fieldgate::sink::Failure;
use fieldgate::sink::mqtt::connection::{
    Connection, Event, Message, OpenError, Published, Refusal,
};
use fieldgate::sink::mqtt::{Negotiation, not_accepted};

/// The whole of it: connecting, publishing, waiting for the acknowledgement.
const PATIENCE: Duration = Duration::from_secs(15);

/// Publishes one test message to the configured broker.
#[derive(Parser)]
#[command(name = "publish_test")]
struct Arguments {
    #[command(flatten)]
    config: ConfigArguments,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    // It needs no source, but a configuration does; one that is configured wins by its layer.
    let mut overrides = Arguments::parse().config.overrides();
    overrides.assign("source.kind=stdin");
    let mqtt = match config::load(&overrides, &Environment::of_process()) {
        Ok(Config { mqtt, .. }) => mqtt.into_iter().next(),
        Err(errors) => {
            eprintln!("{errors}");
            return ExitCode::from(2);
        }
    };
    let Some(mqtt) = mqtt else {
        eprintln!("No broker is configured: set mqtt.broker_url or use --broker-url.");
        return ExitCode::from(2);
    };
    let result = tokio::time::timeout(PATIENCE, publish(&mqtt)).await;
    match result.unwrap_or_else(|_| Err(format!("no acknowledgement within {PATIENCE:?}"))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("{}: {reason}.", mqtt.url());
            ExitCode::FAILURE
        }
    }
}

async fn publish(config: &Mqtt) -> Result<(), String> {
    println!("Connecting to {} …", config.url());
    // The running gateway must not be taken off the broker by its own test.
    let client_id = format!("{}-publish-test", config.client_id);
    let message = |payload: &str| Message {
        topic: format!("{}/gateway/publish_test", config.topic_prefix),
        payload: payload.to_owned(),
        qos: config.qos,
        retained: false,
        event_time: None,
    };
    let (mut negotiation, sink) = (Negotiation::default(), SinkId::mqtt());
    let opened = negotiation.open(config, &client_id, message("0"), &sink);
    let opened = opened.await.map_err(|error| match error {
        OpenError::NotReached(ending) | OpenError::NotAnswered(ending) => {
            reason(not_accepted(ending, config))
        }
        OpenError::NotSpoken(failure) | OpenError::NotAccepted(failure) => reason(failure),
    })?;
    let mut connection = opened.connection;
    println!("Connected.");

    let message = message("1");
    let topic = message.topic.clone();
    match connection.publish(message) {
        Published::Sent(_) => {}
        Published::NotSent(refusal) => return Err(refused(&refusal)),
        Published::NoRoom => return Err("there is no room for a message".to_owned()),
    }
    let start = Instant::now();
    let (number, acknowledgement) = match config.qos {
        // Nobody acknowledges it: the answer to what is sent behind it shows that it was read.
        Qos::AtMostOnce => (0, "nothing, as QoS 0 has it, but read what came behind it"),
        Qos::AtLeastOnce => (1, "with PUBACK"),
        Qos::ExactlyOnce => (2, "with PUBREC and PUBCOMP"),
    };
    println!("Publishing 1 to {topic} with QoS {number} …");
    if config.qos == Qos::AtMostOnce {
        connection.subscribe(&topic);
        let is_answer = |event: &Event| matches!(event, Event::Subscribed(_));
        wait_for(&mut connection, is_answer).await?;
    } else {
        let is_answer = |event: &Event| matches!(event, Event::Acknowledged(_));
        wait_for(&mut connection, is_answer).await?;
    }
    let milliseconds = start.elapsed().as_secs_f64() * 1_000.0;
    println!("The broker acknowledged {acknowledgement} after {milliseconds:.1} ms.");
    connection.disconnect();
    while connection.next().await.is_ok() {}
    Ok(())
}

/// Waits for one answer of the broker.
async fn wait_for(
    connection: &mut Connection,
    is_wanted: impl Fn(&Event) -> bool,
) -> Result<(), String> {
    loop {
        match connection.next().await {
            Err(ending) => return Err(reason(ending.failure)),
            Ok(Event::Refused { refusal, .. }) => return Err(refused(&refusal)),
            Ok(event) if is_wanted(&event) => return Ok(()),
            Ok(_) => {}
        }
    }
}

fn refused(refusal: &Refusal) -> String {
    format!("the broker refused the message: {}", refusal.reason)
}

fn reason(failure: Failure) -> String {
    match failure {
        Failure::Unavailable(reason) | Failure::Refused(reason) => reason,
    }
}
