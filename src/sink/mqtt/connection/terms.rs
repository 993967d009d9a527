//! What a broker allows. Pure.

use std::time::Duration;

use rumqttc::v5::mqttbytes::v5::ConnAckProperties;

use crate::config::{Mqtt, Qos, Retain};
use crate::monitor::SinkId;
use crate::repeated::Topic;
use crate::sink::Failure;
use crate::sink::mqtt::failure::NOTHING_RETAINED;

const LIMITS: Topic = Topic::of_attempts("limits-of-the-broker");

/// What a broker allows on a connection that it accepted. One that speaks MQTT 3.1.1 does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Terms {
    /// Messages that may wait for their acknowledgement at once.
    pub(super) receive_maximum: u16,
    pub(super) maximum_qos: Qos,
    pub(super) keeps_retained: bool,
    /// In bytes.
    pub(super) maximum_packet_size: Option<u32>,
    /// Between pings.
    pub(super) keep_alive: Duration,
}

impl Terms {
    pub(super) fn new(config: &Mqtt, properties: Option<&ConnAckProperties>) -> Self {
        let receive_maximum = properties.and_then(|terms| terms.receive_max);
        let keep_alive = properties.and_then(|terms| terms.server_keep_alive);
        // 0: the broker does not mind silence. The gateway does.
        let keep_alive = keep_alive.filter(|seconds| *seconds > 0);
        // The last identifier is kept for subscriptions.
        let max_inflight = config.max_inflight.min(u16::MAX - 1);
        Self {
            // A broker may not say 0.
            receive_maximum: receive_maximum
                .map_or(max_inflight, |most| most.clamp(1, max_inflight)),
            maximum_qos: match properties.and_then(|terms| terms.max_qos) {
                Some(0) => Qos::AtMostOnce,
                Some(1) => Qos::AtLeastOnce,
                _ => Qos::ExactlyOnce,
            },
            keeps_retained: properties.and_then(|terms| terms.retain_available) != Some(0),
            maximum_packet_size: properties.and_then(|terms| terms.max_packet_size),
            keep_alive: keep_alive.map_or(config.keep_alive, |seconds| {
                Duration::from_secs(seconds.into())
            }),
        }
    }

    /// A quality of service without acknowledgements is never chosen for whoever wants them.
    pub(super) fn unfit(&self, config: &Mqtt) -> Option<Failure> {
        if !self.keeps_retained && config.retain == Retain::Always {
            return Some(Failure::Refused(NOTHING_RETAINED.to_owned()));
        }
        let is_unfit = self.maximum_qos == Qos::AtMostOnce && config.qos != Qos::AtMostOnce;
        is_unfit.then(|| {
            Failure::Refused(
                "the broker takes QoS 0 alone, which acknowledges nothing; allow more there, or set \
                 mqtt.qos = 0"
                    .to_owned(),
            )
        })
    }

    /// Says what the broker does not take as it is configured.
    pub(super) fn announce(&self, config: &Mqtt, sink: &SinkId) {
        if self.maximum_qos == Qos::AtLeastOnce && config.qos == Qos::ExactlyOnce {
            let link = sink.clone();
            LIMITS.say(sink.as_str(), "qos", move |sum| {
                tracing::warn!(
                    %link, repeated = sum.words(),
                    "The broker takes no QoS 2: readings go out with QoS 1."
                );
            });
        }
        if self.receive_maximum < config.max_inflight {
            tracing::debug!(
                link = %sink, receive_maximum = self.receive_maximum,
                "The broker takes fewer messages at once than mqtt.max_inflight."
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Late, Payload, Protocol, Sink, Transport};

    fn config(qos: Qos, max_inflight: u16) -> Mqtt {
        Mqtt {
            sink: Sink::new("mqtt"),
            host: "localhost".to_owned(),
            port: 1883,
            transport: Transport::Tcp,
            fallbacks: Vec::new(),
            prefer_first: None,
            protocol: Protocol::Mqtt5 {
                message_expiry: None,
            },
            client_id: "gateway".to_owned(),
            topic_prefix: "iiot".to_owned(),
            payload: Payload::Plain,
            late: Late::Same,
            late_after: Duration::from_mins(1),
            home_assistant: None,
            retain: Retain::Auto,
            node_status: true,
            node_signal: false,
            qos,
            keep_alive: Duration::from_secs(30),
            username: None,
            password: None,
            max_inflight,
        }
    }

    fn terms(config: &Mqtt, properties: &[u8]) -> Terms {
        let length = u8::try_from(properties.len()).unwrap();
        let bytes = [&[length], properties].concat();
        let properties = ConnAckProperties::read(&mut bytes.into()).unwrap();
        Terms::new(config, properties.as_ref())
    }

    #[test]
    fn a_broker_that_says_nothing_allows_everything() {
        let config = config(Qos::ExactlyOnce, 70);
        let expected = Terms {
            receive_maximum: 70,
            maximum_qos: Qos::ExactlyOnce,
            keeps_retained: true,
            maximum_packet_size: None,
            keep_alive: config.keep_alive,
        };
        let terms = terms(&config, &[]);
        assert_eq!(terms, expected);
        assert_eq!(terms.unfit(&config), None);
    }

    #[test]
    fn what_a_broker_says_counts_where_it_allows_less() {
        let config = config(Qos::ExactlyOnce, 70);
        let said = terms(
            &config,
            b"\x21\x00\x07\x24\x01\x25\x00\x27\x00\x00\x00\x40\x13\x00\x78",
        );
        let expected = Terms {
            receive_maximum: 7,
            maximum_qos: Qos::AtLeastOnce,
            keeps_retained: false,
            maximum_packet_size: Some(64),
            keep_alive: Duration::from_mins(2),
        };
        assert_eq!(said, expected);
        assert_eq!(said.unfit(&config), None);
        let said = terms(&config, b"\x21\xff\xff\x13\x00\x00");
        assert_eq!(said.receive_maximum, 70);
        assert_eq!(said.keep_alive, Duration::from_secs(30));
    }

    #[test]
    fn what_is_asked_for_is_not_given_up() {
        for (qos, is_unfit) in [
            (Qos::AtMostOnce, false),
            (Qos::AtLeastOnce, true),
            (Qos::ExactlyOnce, true),
        ] {
            let config = config(qos, 10);
            let failure = terms(&config, b"\x24\x00").unfit(&config);
            assert_eq!(matches!(failure, Some(Failure::Refused(_))), is_unfit);
        }
        for (retain, is_unfit) in [
            (Retain::Auto, false),
            (Retain::Never, false),
            (Retain::Always, true),
        ] {
            let config = Mqtt {
                retain,
                ..config(Qos::AtLeastOnce, 10)
            };
            let failure = terms(&config, b"\x25\x00").unfit(&config);
            assert_eq!(failure.is_some(), is_unfit);
        }
    }
}
