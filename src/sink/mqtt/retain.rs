//! Whether a broker takes what is to be retained.
//!
//! With MQTT 5 it says so. With MQTT 3.1.1 it has no way to: Mosquitto hangs up over a last will that is
//! to be retained, before it accepts the connection, and over a message. So it is tried without a will.

use std::time::Duration;

use tokio::time::timeout;

use super::connection::{self, Cause, Connection, Event, Message, OpenError, Published, Version};
use super::failure::NOTHING_RETAINED;
use crate::config::{Mqtt, Retain};
use crate::sink::Failure;

/// For the answer to a ping and a message.
const PATIENCE: Duration = Duration::from_secs(5);

/// So often a broker has to hang up over the same message.
const TRIES: usize = 2;

/// A connection that the broker has accepted.
pub struct Opened {
    /// The connection.
    pub connection: Connection,
    /// False: the broker takes nothing that is to be retained, the last will included.
    pub retains: bool,
}

/// [Connects](connection::open), with a last will that is not retained if the broker takes no other.
pub(super) async fn open(
    config: &Mqtt,
    version: Version,
    client_id: &str,
    mut will: Message,
) -> Result<Opened, OpenError> {
    let retains = will.retained;
    let result = connection::open(config, version, client_id, Some(will.clone())).await;
    let hung_up = matches!(
        &result,
        Err(OpenError::NotAnswered(ending)) if ending.cause == Cause::HangUp
    );
    let may_be_the_will = hung_up && retains && version == Version::Mqtt311;
    if !may_be_the_will || !refuses_retained(config, client_id, &will).await {
        return result.map(|connection| Opened {
            connection,
            retains,
        });
    }
    if config.retain == Retain::Always {
        let failure = Failure::Refused(NOTHING_RETAINED.to_owned());
        return Err(OpenError::NotAccepted(failure));
    }
    will.retained = false;
    let connection = connection::open(config, version, client_id, Some(will)).await?;
    Ok(Opened {
        connection,
        retains: false,
    })
}

/// Whether the broker accepts a connection without a will, and each time hangs up over the same message.
async fn refuses_retained(config: &Mqtt, client_id: &str, message: &Message) -> bool {
    for _ in 0..TRIES {
        let hangs_up = timeout(PATIENCE, hangs_up_over(config, client_id, message.clone()));
        if hangs_up.await != Ok(true) {
            return false;
        }
    }
    true
}

async fn hangs_up_over(config: &Mqtt, client_id: &str, message: Message) -> bool {
    let opened = connection::open(config, Version::Mqtt311, client_id, None).await;
    let Ok(mut connection) = opened else {
        return false;
    };
    connection.ping();
    loop {
        match connection.next().await {
            Ok(Event::PingAnswered) => break,
            Ok(_) => {}
            Err(_) => return false,
        }
    }
    if !matches!(connection.publish(message), Published::Sent(_)) {
        return false;
    }
    loop {
        match connection.next().await {
            Ok(Event::Acknowledged(_)) => {
                connection.disconnect();
                let _written = connection.exchange().await;
                return false;
            }
            Ok(_) => {}
            Err(ending) => return ending.cause == Cause::HangUp,
        }
    }
}
