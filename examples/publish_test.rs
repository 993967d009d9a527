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
use fieldgate::sink::Failure;
use fieldgate::sink::mqtt::{explain, options};
use rumqttc::{AsyncClient, Event, EventLoop, Packet, QoS};

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
        Ok(Config {
            mqtt: Some(mqtt), ..
        }) => mqtt,
        Ok(_) => {
            eprintln!("No broker is configured: set mqtt.broker_url or use --broker-url.");
            return ExitCode::from(2);
        }
        Err(errors) => {
            eprintln!("{errors}");
            return ExitCode::from(2);
        }
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
    let mut options = options(config).map_err(reason)?;
    // The running gateway must not be taken off the broker by its own test.
    options.set_client_id(format!("{}-publish-test", config.client_id));
    let (client, mut event_loop) = AsyncClient::new(options, 8);
    println!("Connecting to {} …", config.url());
    wait_for(&mut event_loop, |packet| {
        matches!(packet, Packet::ConnAck(_))
    })
    .await?;
    println!("Connected.");

    let topic = format!("{}/gateway/publish_test", config.topic_prefix);
    let (qos, number) = match config.qos {
        Qos::AtMostOnce => (QoS::AtMostOnce, 0),
        Qos::AtLeastOnce => (QoS::AtLeastOnce, 1),
        Qos::ExactlyOnce => (QoS::ExactlyOnce, 2),
    };
    let published = client.try_publish(&topic, qos, false, "1");
    published.map_err(|error| error.to_string())?;
    let start = Instant::now();
    println!("Publishing 1 to {topic} with QoS {number} …");
    let acknowledgement = match config.qos {
        // Nobody acknowledges it: the answer to what is sent behind it shows that it was read.
        Qos::AtMostOnce => {
            let subscribed = client.try_subscribe(&topic, QoS::AtMostOnce);
            subscribed.map_err(|error| error.to_string())?;
            let answer = |packet: &Packet| matches!(packet, Packet::SubAck(_));
            wait_for(&mut event_loop, answer).await?;
            "nothing, as QoS 0 has it, but read what came behind it"
        }
        Qos::AtLeastOnce => {
            let answer = |packet: &Packet| matches!(packet, Packet::PubAck(_));
            wait_for(&mut event_loop, answer).await?;
            "with PUBACK"
        }
        Qos::ExactlyOnce => {
            let answer = |packet: &Packet| matches!(packet, Packet::PubComp(_));
            wait_for(&mut event_loop, answer).await?;
            "with PUBREC and PUBCOMP"
        }
    };
    let milliseconds = start.elapsed().as_secs_f64() * 1_000.0;
    println!("The broker acknowledged {acknowledgement} after {milliseconds:.1} ms.");
    let disconnecting = client.try_disconnect();
    disconnecting.map_err(|error| error.to_string())?;
    while event_loop.poll().await.is_ok() {}
    Ok(())
}

/// Waits for one packet of the broker.
async fn wait_for(
    event_loop: &mut EventLoop,
    is_wanted: impl Fn(&Packet) -> bool,
) -> Result<(), String> {
    loop {
        match event_loop.poll().await {
            Ok(Event::Incoming(packet)) if is_wanted(&packet) => return Ok(()),
            Ok(_) => {}
            Err(error) => return Err(reason(explain(&error))),
        }
    }
}

fn reason(failure: Failure) -> String {
    match failure {
        Failure::Unavailable(reason) | Failure::Refused(reason) => reason,
    }
}
