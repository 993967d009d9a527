//! What a failed MQTT connection means, in plain words. Pure.

use std::error::Error;
use std::io;

use rumqttc::{ConnectReturnCode, ConnectionError, StateError};

use crate::sink::Failure;

/// How it is said that the broker ended the connection without a word.
pub(super) const CLOSED: &str = "the broker closed the connection";

/// Puts a failure into words.
pub(crate) fn explain(error: &ConnectionError) -> Failure {
    // The client wraps what the system said in up to three layers of its own.
    let first: &dyn Error = error;
    let mut causes = std::iter::successors(Some(first), |cause| (*cause).source());
    if let Some(error) = causes.find_map(|cause| cause.downcast_ref::<io::Error>()) {
        return Failure::Unavailable(io_error(error));
    }
    match error {
        ConnectionError::ConnectionRefused(code) => refused(*code),
        ConnectionError::MqttState(StateError::ConnectionAborted) => {
            Failure::Unavailable(CLOSED.to_owned())
        }
        ConnectionError::MqttState(StateError::AwaitPingResp) => {
            Failure::Unavailable("the broker did not answer a ping".to_owned())
        }
        ConnectionError::NetworkTimeout => {
            Failure::Unavailable("the broker did not answer in time".to_owned())
        }
        ConnectionError::FlushTimeout => {
            Failure::Unavailable("the broker takes no more data".to_owned())
        }
        error => Failure::Unavailable(error.to_string()),
    }
}

fn refused(code: ConnectReturnCode) -> Failure {
    let reason = match code {
        ConnectReturnCode::BadUserNamePassword => {
            "bad user name or password, set mqtt.username and MQTT_PASSWORD or mqtt.password"
        }
        ConnectReturnCode::NotAuthorized => {
            "not authorised, check mqtt.username, MQTT_PASSWORD or mqtt.password, and the broker's \
             access rules"
        }
        ConnectReturnCode::BadClientId => "client identifier rejected, change mqtt.client_id",
        ConnectReturnCode::RefusedProtocolVersion => "the broker does not speak MQTT 3.1.1",
        ConnectReturnCode::ServiceUnavailable | ConnectReturnCode::Success => {
            return Failure::Unavailable("the broker says it is unavailable".to_owned());
        }
    };
    Failure::Refused(reason.to_owned())
}

fn io_error(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused, is the broker running?".to_owned(),
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::UnexpectedEof => CLOSED.to_owned(),
        io::ErrorKind::TimedOut => "the broker did not answer in time".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use rumqttc::mqttbytes;

    use super::*;

    #[test]
    fn what_a_person_must_mend_is_a_refusal() {
        let refused = |code| explain(&ConnectionError::ConnectionRefused(code));
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
