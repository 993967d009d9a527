//! What a failed MQTT connection means, in plain words. Pure.

use std::error::Error;
use std::io;

use rumqttc::{ConnectReturnCode, ConnectionError, StateError};

use super::options::CA_KEY;
use crate::config::{Mqtt, Transport};
use crate::sink::{Failure, tls};

/// How it is said that the broker ended the connection without a word.
pub(super) const CLOSED: &str = "the broker closed the connection";

/// Puts a failure into words.
pub fn explain(error: &ConnectionError) -> Failure {
    // The client wraps what the system said in up to three layers of its own.
    let first: &dyn Error = error;
    let mut causes = std::iter::successors(Some(first), |cause| (*cause).source());
    if let Some(error) = causes.find_map(|cause| cause.downcast_ref::<io::Error>()) {
        let encryption = error.get_ref().and_then(|inner| inner.downcast_ref());
        return encryption.map_or_else(|| Failure::Unavailable(io_error(error)), tls_error);
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

/// Adds what a broker most likely means that ends a connection without having accepted it.
pub(super) fn not_accepted(failure: Failure, config: &Mqtt) -> Failure {
    let hint = match &config.transport {
        Transport::Tls(tls) | Transport::SecureWebSocket { tls, .. } => match tls.identity {
            None => {
                "it may want mqtt.client_certificate and mqtt.client_key, or the port may not be one \
                 for TLS"
            }
            Some(_) => "it may not accept mqtt.client_certificate",
        },
        Transport::Tcp | Transport::WebSocket { .. } => "the port may be one for TLS (mqtts://)",
    };
    match failure {
        Failure::Unavailable(reason) if reason == CLOSED => Failure::Unavailable(format!(
            "{CLOSED} before it had accepted it; if this stays so, {hint}"
        )),
        failure => failure,
    }
}

fn tls_error(error: &rustls::Error) -> Failure {
    use rustls::AlertDescription as Alert;
    let reason = match error {
        rustls::Error::AlertReceived(Alert::CertificateRequired | Alert::HandshakeFailure) => {
            "the broker wants a client certificate, set mqtt.client_certificate and mqtt.client_key"
        }
        rustls::Error::AlertReceived(Alert::NoApplicationProtocol) => {
            "the broker speaks none of the protocols in mqtt.alpn"
        }
        rustls::Error::AlertReceived(
            Alert::UnknownCA
            | Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::AccessDenied
            | Alert::DecryptError,
        ) => {
            return Failure::Refused(format!(
                "the broker does not accept mqtt.client_certificate: {error}"
            ));
        }
        rustls::Error::InvalidMessage(_) => {
            "the broker does not speak TLS on this port, use its TLS port or mqtt://"
        }
        error => {
            let words = error.to_string();
            let fault = tls::certificate_fault(&words, "broker", CA_KEY);
            let other = || Failure::Refused(format!("TLS failed: {words}"));
            return fault.unwrap_or_else(other);
        }
    };
    Failure::Refused(reason.to_owned())
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
