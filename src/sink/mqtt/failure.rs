//! What a failed MQTT connection means, in plain words. Pure.

use std::io;

use super::connection::{Cause, Ending};
use super::encryption::CA_KEY;
use crate::config::{Mqtt, Protocol, Transport};
use crate::sink::{Failure, tls};

/// How it is said that the broker ended the connection without a word.
pub(super) const CLOSED: &str = "the broker closed the connection";
pub(super) const BAD_LOGIN: &str =
    "bad user name or password, set mqtt.username and MQTT_PASSWORD or mqtt.password";
pub(super) const NOT_AUTHORISED: &str = "not authorised, check mqtt.username, MQTT_PASSWORD or \
                                         mqtt.password, and the broker's access rules";
pub(super) const BAD_CLIENT_ID: &str = "client identifier rejected, change mqtt.client_id";
pub(super) const UNAVAILABLE: &str = "the broker says it is unavailable";

/// What is wrong with a broker that keeps nothing although everything is to be retained.
pub(super) const NOTHING_RETAINED: &str = "the broker keeps no retained messages, allow them there or \
                                           set mqtt.retain = \"auto\"";

/// The words of a failure.
pub(super) fn text(failure: &Failure) -> &str {
    let (Failure::Unavailable(reason) | Failure::Refused(reason)) = failure;
    reason
}

/// The broker ended the connection without a word.
pub(super) fn hung_up() -> Ending {
    Ending {
        failure: Failure::Unavailable(CLOSED.to_owned()),
        cause: Cause::HangUp,
    }
}

/// Puts the end that the system or the encryption found into words.
pub(super) fn ended_by(error: &io::Error) -> Ending {
    let encryption = error.get_ref().and_then(|inner| inner.downcast_ref());
    if let Some(error) = encryption {
        return Ending::other(tls_error(error));
    }
    Ending::unavailable(match error.kind() {
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::UnexpectedEof => return hung_up(),
        io::ErrorKind::ConnectionRefused => "connection refused, is the broker running?".to_owned(),
        io::ErrorKind::TimedOut => "the broker did not answer in time".to_owned(),
        _ => error.to_string(),
    })
}

/// Why there is no connection: adds what a broker most likely means that hangs up.
pub fn not_accepted(ending: Ending, config: &Mqtt) -> Failure {
    if ending.cause != Cause::HangUp {
        return ending.failure;
    }
    let why = why_hung_up(config);
    Failure::Unavailable(format!(
        "{CLOSED} before it had accepted it; if this stays so, {why}"
    ))
}

/// What is to be done about it.
pub fn remedy(ending: &Ending, config: &Mqtt) -> String {
    match (ending.cause, &ending.failure) {
        (Cause::HangUp, _) => why_hung_up(config),
        (_, Failure::Refused(_)) => "correct the file or the key that it names".to_owned(),
        (_, Failure::Unavailable(_)) => "start the broker, or correct mqtt.broker_url".to_owned(),
    }
}

/// What is to be done about a broker that answered, and did not accept the connection.
pub fn remedy_of_refusal(failure: &Failure) -> &'static str {
    match text(failure) {
        BAD_LOGIN | NOT_AUTHORISED => "correct the login here or at the broker",
        _ => "do what it says, here or at the broker",
    }
}

/// What a broker most likely means that ends a connection without having accepted it.
fn why_hung_up(config: &Mqtt) -> String {
    let why = match &config.transport {
        Transport::Tls(tls) | Transport::SecureWebSocket { tls, .. } => match tls.identity {
            None => {
                "it may want mqtt.client_certificate and mqtt.client_key, or the port may not be one \
                 for TLS"
            }
            Some(_) => "it may not accept mqtt.client_certificate",
        },
        Transport::Tcp | Transport::WebSocket { .. } => "the port may be one for TLS (mqtts://)",
    };
    match config.protocol {
        // Where both were tried it is neither.
        Protocol::Auto { .. } | Protocol::Mqtt311 => why.to_owned(),
        Protocol::Mqtt5 { .. } => {
            format!("{why}, or it does not speak MQTT 5: mqtt.protocol = 4")
        }
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
