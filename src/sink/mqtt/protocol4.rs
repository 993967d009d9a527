//! MQTT 3.1.1, as rumqttc speaks it.
//!
//! One connection is one `EventLoop`. When it ends it is thrown away, and the next one begins at the
//! journal's cursor: rumqttc 0.25 empties its queue of unacknowledged publishes when a broker has no
//! session for it, so its own resending cannot be trusted with data.

use std::error::Error;
use std::io;
use std::time::Duration;

use futures_util::stream;
use rumqttc::{
    AsyncClient, ConnectReturnCode, ConnectionError, EventLoop, LastWill, MqttOptions,
    NetworkOptions, Outgoing, Packet, QoS, StateError, SubscribeReasonCode, TlsConfiguration,
    Transport as ClientTransport,
};
use secrecy::ExposeSecret;

use super::client::{Event, Events, Message, Opening, Received};
use super::encryption::client_config;
use super::failure::{BAD_CLIENT_ID, BAD_LOGIN, CLOSED, NOT_AUTHORISED, UNAVAILABLE, explain_io};
use crate::config::{Mqtt, Qos, Transport};
use crate::sink::Failure;

/// See [`open`](super::client::open).
pub(super) fn open(config: &Mqtt, opening: Opening) -> Result<(AsyncClient, Events), Failure> {
    let capacity = opening.capacity;
    let (client, mut event_loop) = AsyncClient::new(options(config, opening)?, capacity);
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    event_loop.set_network_options(network);
    let keep_alive = config.keep_alive;
    // It is handed on with every event, and moving its half kilobyte would cost as much as its work.
    let events = stream::unfold(Box::new(event_loop), move |mut event_loop| async move {
        Some((next(&mut event_loop, keep_alive).await, event_loop))
    });
    Ok((client, Box::pin(events)))
}

/// See [`Client::publish`](super::client::Client::publish).
pub(super) fn publish(client: &AsyncClient, message: Message) -> bool {
    let qos = quality_of_service(message.qos);
    client
        .try_publish(message.topic, qos, message.retained, message.payload)
        .is_ok()
}

fn options(config: &Mqtt, opening: Opening) -> Result<MqttOptions, Failure> {
    let (address, transport) = match &config.transport {
        Transport::Tcp => (config.bare_host().to_owned(), ClientTransport::Tcp),
        Transport::Tls(tls) => {
            let tls = TlsConfiguration::Rustls(client_config(tls)?);
            let transport = ClientTransport::tls_with_config(tls);
            (config.bare_host().to_owned(), transport)
        }
        Transport::WebSocket { .. } => (config.url(), ClientTransport::Ws),
        Transport::SecureWebSocket { tls, .. } => {
            let tls = TlsConfiguration::Rustls(client_config(tls)?);
            (config.url(), ClientTransport::wss_with_config(tls))
        }
    };
    let mut options = MqttOptions::new(opening.client_id, address, config.port);
    options
        .set_transport(transport)
        .set_clean_session(true)
        .set_keep_alive(config.keep_alive)
        .set_inflight(config.max_inflight);
    if let Some(username) = &config.username {
        let password = config.password.as_ref();
        let password = password.map_or("", |secret| secret.expose_secret());
        options.set_credentials(username, password);
    }
    if let Some(will) = opening.will {
        let qos = quality_of_service(will.qos);
        options.set_last_will(LastWill::new(will.topic, will.payload, qos, will.retained));
    }
    Ok(options)
}

/// Drives the connection up to the next event that says something.
async fn next(event_loop: &mut EventLoop, keep_alive: Duration) -> Result<Event, Failure> {
    loop {
        return Ok(match event_loop.poll().await {
            Ok(rumqttc::Event::Outgoing(Outgoing::Publish(packet_id))) => Event::Sent(packet_id),
            Ok(rumqttc::Event::Outgoing(_)) => continue,
            Ok(rumqttc::Event::Incoming(Packet::ConnAck(_))) => Event::Accepted { keep_alive },
            Ok(rumqttc::Event::Incoming(packet)) => incoming(packet),
            Err(ConnectionError::ConnectionRefused(code)) => Event::NotAccepted(refused(code)),
            Err(error) => return Err(explain(&error)),
        });
    }
}

fn incoming(packet: Packet) -> Event {
    match packet {
        Packet::PubAck(ack) => Event::Acknowledged(ack.pkid),
        Packet::PubComp(complete) => Event::Acknowledged(complete.pkid),
        Packet::PubRec(_) => Event::Received,
        Packet::SubAck(answer) => {
            let failed = answer.return_codes.contains(&SubscribeReasonCode::Failure);
            Event::Subscribed(if failed {
                Err("the broker refused the subscription".to_owned())
            } else {
                Ok(())
            })
        }
        Packet::Publish(publish) => Event::Message(Received {
            topic: publish.topic,
            payload: publish.payload.into(),
            is_retained: publish.retain,
        }),
        _ => Event::Heard,
    }
}

fn quality_of_service(qos: Qos) -> QoS {
    match qos {
        Qos::AtMostOnce => QoS::AtMostOnce,
        Qos::AtLeastOnce => QoS::AtLeastOnce,
        Qos::ExactlyOnce => QoS::ExactlyOnce,
    }
}

/// Puts the end of a connection into words.
fn explain(error: &ConnectionError) -> Failure {
    // The client wraps what the system said in up to three layers of its own.
    let first: &dyn Error = error;
    let mut causes = std::iter::successors(Some(first), |cause| (*cause).source());
    if let Some(error) = causes.find_map(|cause| cause.downcast_ref::<io::Error>()) {
        return explain_io(error);
    }
    Failure::Unavailable(match error {
        ConnectionError::MqttState(StateError::ConnectionAborted) => CLOSED.to_owned(),
        ConnectionError::MqttState(StateError::AwaitPingResp) => {
            "the broker did not answer a ping".to_owned()
        }
        ConnectionError::NetworkTimeout => "the broker did not answer in time".to_owned(),
        ConnectionError::FlushTimeout => "the broker takes no more data".to_owned(),
        error => error.to_string(),
    })
}

fn refused(code: ConnectReturnCode) -> Failure {
    let reason = match code {
        ConnectReturnCode::BadUserNamePassword => BAD_LOGIN,
        ConnectReturnCode::NotAuthorized => NOT_AUTHORISED,
        ConnectReturnCode::BadClientId => BAD_CLIENT_ID,
        ConnectReturnCode::RefusedProtocolVersion => "the broker does not speak MQTT 3.1.1",
        ConnectReturnCode::ServiceUnavailable | ConnectReturnCode::Success => {
            return Failure::Unavailable(UNAVAILABLE.to_owned());
        }
    };
    Failure::Refused(reason.to_owned())
}

#[cfg(test)]
mod tests {
    use rumqttc::mqttbytes;

    use super::*;

    #[test]
    fn what_a_person_must_mend_is_a_refusal() {
        for code in [
            ConnectReturnCode::BadUserNamePassword,
            ConnectReturnCode::NotAuthorized,
            ConnectReturnCode::BadClientId,
            ConnectReturnCode::RefusedProtocolVersion,
        ] {
            assert!(matches!(refused(code), Failure::Refused(_)), "{code:?}");
        }
        assert!(matches!(
            refused(ConnectReturnCode::ServiceUnavailable),
            Failure::Unavailable(_)
        ));
        let error = mqttbytes::Error::Io(io::ErrorKind::BrokenPipe.into());
        assert_eq!(
            explain(&ConnectionError::MqttState(StateError::Deserialization(
                error
            ))),
            Failure::Unavailable(CLOSED.to_owned())
        );
        let error = io::Error::from(io::ErrorKind::ConnectionRefused);
        assert_eq!(
            explain(&ConnectionError::Io(error)),
            Failure::Unavailable("connection refused, is the broker running?".to_owned())
        );
    }
}
