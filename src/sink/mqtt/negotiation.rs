//! Which MQTT is spoken with a broker.
//!
//! A broker that does not speak MQTT 5 says so, hangs up, or is silent. One that is going down or coming
//! up does the same, and would be taken for an old one if it happened to be up a moment later. So where
//! it did not say so, it has to accept MQTT 3.1.1 and then to fail over MQTT 5 once more. What it has
//! once accepted stays, until it says that it does not speak it.

use std::time::Duration;

use tokio::time::timeout;

use super::connection::{self, Message, OpenError, Version};
use super::retain::{self, Opened};
use crate::config::{Mqtt, Protocol};
use crate::monitor::SinkId;
use crate::repeated::Topic;
use crate::sink::Failure;

const OLDER: Topic = Topic::of_attempts("older-protocol");

/// How long the end of a connection may take that was only tried.
const FAREWELL: Duration = Duration::from_secs(1);

/// What is known of the protocols of one broker.
#[derive(Debug, Default)]
pub struct Negotiation {
    spoken: Option<Version>,
}

impl Negotiation {
    /// Connects in the protocol that is configured, or else in the newest one that the broker speaks.
    pub async fn open(
        &mut self,
        config: &Mqtt,
        client_id: &str,
        will: Message,
        sink: &SinkId,
    ) -> Result<Opened, OpenError> {
        let client = Identity {
            config,
            name: client_id,
            will,
        };
        match config.protocol {
            Protocol::Mqtt311 => return client.open(Version::Mqtt311).await,
            Protocol::Mqtt5 { .. } => return client.open(Version::Mqtt5).await,
            Protocol::Auto { .. } => {}
        }
        if let Some(version) = self.spoken {
            match client.open(version).await {
                Err(OpenError::NotSpoken(_)) => self.spoken = None,
                result => return result,
            }
        }
        let opened = client.negotiate().await?;
        let version = opened.connection.version();
        if version == Version::Mqtt311 {
            let link = sink.clone();
            OLDER.say(sink.as_str(), "", move |sum| {
                tracing::info!(
                    %link, repeated = sum.words(),
                    "The broker does not speak MQTT 5: MQTT 3.1.1 is spoken with it."
                );
            });
        }
        self.spoken = Some(version);
        Ok(opened)
    }
}

/// Who connects.
struct Identity<'a> {
    config: &'a Mqtt,
    name: &'a str,
    will: Message,
}

impl Identity<'_> {
    async fn open(&self, version: Version) -> Result<Opened, OpenError> {
        retain::open(self.config, version, self.name, self.will.clone()).await
    }

    async fn negotiate(&self) -> Result<Opened, OpenError> {
        let newest = match self.open(Version::Mqtt5).await {
            Err(error @ (OpenError::NotSpoken(_) | OpenError::NotAnswered(_))) => error,
            result => return result,
        };
        let says_so = matches!(newest, OpenError::NotSpoken(_));
        if !says_so {
            match self.try_older().await {
                Ok(()) => {}
                // A reason is worth more than none.
                Err(error @ OpenError::NotAccepted(_)) => return Err(error),
                Err(_) => return Err(newest),
            }
            match self.open(Version::Mqtt5).await {
                Err(OpenError::NotSpoken(_) | OpenError::NotAnswered(_)) => {}
                result => return result,
            }
        }
        match self.open(Version::Mqtt311).await {
            Err(OpenError::NotSpoken(_)) if says_so => {
                let reason = "the broker speaks neither MQTT 5 nor MQTT 3.1.1";
                Err(OpenError::NotSpoken(Failure::Refused(reason.to_owned())))
            }
            result => result,
        }
    }

    /// Whether the broker accepts MQTT 3.1.1.
    async fn try_older(&self) -> Result<(), OpenError> {
        let opened = connection::open(self.config, Version::Mqtt311, self.name, None);
        let mut connection = opened.await?;
        connection.disconnect();
        let ending = async { while connection.next().await.is_ok() {} };
        let _late = timeout(FAREWELL, ending).await;
        Ok(())
    }
}
