//! Reason codes in words, and what to do about them. Pure.
//!
//! The codes are those of MQTT 5.0, section 2.4. MQTT 3.1.1 has five of its own for a connection that is
//! not accepted, which mean the same as some of these.

use super::codec::Codec;
use super::event::{Cause, Ending, Refusal};
use crate::sink::Failure;
use crate::sink::mqtt::failure::{
    BAD_CLIENT_ID, BAD_LOGIN, CLOSED, NOT_AUTHORISED, NOTHING_RETAINED, UNAVAILABLE,
};

/// From here on a code is a refusal. Below, it is a success: "nobody has subscribed" is one, too.
const FIRST_FAILURE: u8 = 0x80;

pub(super) const UNSPECIFIED: u8 = 0x80;
pub(super) const MALFORMED: u8 = 0x81;
pub(super) const PROTOCOL_ERROR: u8 = 0x82;
pub(super) const IMPLEMENTATION_SPECIFIC: u8 = 0x83;
pub(super) const UNSUPPORTED_PROTOCOL: u8 = 0x84;
pub(super) const CLIENT_ID_INVALID: u8 = 0x85;
pub(super) const LOGIN_INVALID: u8 = 0x86;
pub(super) const NOT_AUTHORIZED: u8 = 0x87;
pub(super) const SERVER_UNAVAILABLE: u8 = 0x88;
pub(super) const SERVER_BUSY: u8 = 0x89;
pub(super) const BANNED: u8 = 0x8a;
pub(super) const SHUTTING_DOWN: u8 = 0x8b;
pub(super) const LOGIN_METHOD: u8 = 0x8c;
pub(super) const KEEP_ALIVE_TIMEOUT: u8 = 0x8d;
pub(super) const TAKEN_OVER: u8 = 0x8e;
pub(super) const TOPIC_FILTER_INVALID: u8 = 0x8f;
pub(super) const TOPIC_NAME_INVALID: u8 = 0x90;
pub(super) const IDENTIFIER_IN_USE: u8 = 0x91;
pub(super) const RECEIVE_MAXIMUM_EXCEEDED: u8 = 0x93;
pub(super) const PACKET_TOO_LARGE: u8 = 0x95;
pub(super) const RATE_TOO_HIGH: u8 = 0x96;
pub(super) const QUOTA_EXCEEDED: u8 = 0x97;
pub(super) const ADMINISTRATIVE: u8 = 0x98;
pub(super) const PAYLOAD_FORMAT_INVALID: u8 = 0x99;
pub(super) const RETAIN_NOT_SUPPORTED: u8 = 0x9a;
pub(super) const QOS_NOT_SUPPORTED: u8 = 0x9b;
pub(super) const USE_ANOTHER_SERVER: u8 = 0x9c;
pub(super) const SERVER_MOVED: u8 = 0x9d;
pub(super) const CONNECTION_RATE_EXCEEDED: u8 = 0x9f;
pub(super) const MAXIMUM_CONNECT_TIME: u8 = 0xa0;
/// What a broker of MQTT 3.1.1 answers to a protocol that it does not know.
pub(super) const OLD_UNSUPPORTED_PROTOCOL: u8 = 0x01;

/// The codes of MQTT 3.1.1 for a connection that is not accepted, from 1 on, as those of MQTT 5.
const OLD_CODES: [u8; 5] = [
    UNSUPPORTED_PROTOCOL,
    CLIENT_ID_INVALID,
    SERVER_UNAVAILABLE,
    LOGIN_INVALID,
    NOT_AUTHORIZED,
];

/// The broker's words are cut to so many characters.
const MOST_WORDS: usize = 200;

/// Whether a code is a refusal.
pub(super) fn is_failure(code: u8) -> bool {
    code >= FIRST_FAILURE
}

/// How far a broker understood a connection that it does not accept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Understanding {
    /// It does not speak the protocol.
    None,
    /// It does not say what is wrong: that may be the protocol.
    Doubtful,
    /// It has a reason.
    Full,
}

/// How far a broker understood that does not accept a connection with this code.
pub(super) fn understanding(codec: Codec, code: u8) -> Understanding {
    match (codec, code) {
        (Codec::V4, OLD_UNSUPPORTED_PROTOCOL) | (Codec::V5 { .. }, UNSUPPORTED_PROTOCOL) => {
            Understanding::None
        }
        // All others of MQTT 5 are higher: it answers in a protocol of its own.
        (Codec::V5 { .. }, ..FIRST_FAILURE) => Understanding::None,
        (Codec::V5 { .. }, UNSPECIFIED..=IMPLEMENTATION_SPECIFIC) => Understanding::Doubtful,
        _ => Understanding::Full,
    }
}

/// Why the broker did not accept the connection.
pub(super) fn not_accepted(
    codec: Codec,
    code: u8,
    words: Option<&str>,
    elsewhere: Option<&str>,
) -> Failure {
    let code = match codec {
        Codec::V4 => {
            let old = usize::from(code).checked_sub(1);
            let known = old.and_then(|index| OLD_CODES.get(index));
            known.copied().unwrap_or(code)
        }
        Codec::V5 { .. } => code,
    };
    let reason = match code {
        LOGIN_INVALID => BAD_LOGIN,
        NOT_AUTHORIZED => NOT_AUTHORISED,
        CLIENT_ID_INVALID => BAD_CLIENT_ID,
        UNSUPPORTED_PROTOCOL if codec == Codec::V4 => "the broker does not speak MQTT 3.1.1",
        UNSUPPORTED_PROTOCOL | OLD_UNSUPPORTED_PROTOCOL => {
            "the broker does not speak MQTT 5, set mqtt.protocol = 4"
        }
        BANNED => "the broker has banned this client, see its list of bans",
        RETAIN_NOT_SUPPORTED => NOTHING_RETAINED,
        LOGIN_METHOD => "the broker wants a way to log in that is not a user name and a password",
        TOPIC_NAME_INVALID => {
            "the broker does not accept the topic of the last will, change mqtt.topic_prefix"
        }
        QUOTA_EXCEEDED => "the broker's quota is exceeded, raise it or make room there",
        SERVER_UNAVAILABLE => return unavailable(UNAVAILABLE, words),
        SERVER_BUSY => return unavailable("the broker is busy", words),
        CONNECTION_RATE_EXCEEDED => {
            return unavailable("the broker has too many new connections", words);
        }
        USE_ANOTHER_SERVER | SERVER_MOVED => return moved(words, elsewhere),
        code => return refused(&unexpected(code), words),
    };
    refused(reason, words)
}

/// Why the broker ended a connection that it had accepted.
pub(super) fn disconnected(
    code: u8,
    words: Option<&str>,
    elsewhere: Option<&str>,
    client_id: &str,
) -> Ending {
    let cause = match code {
        UNSPECIFIED
        | MALFORMED
        | PROTOCOL_ERROR
        | IMPLEMENTATION_SPECIFIC
        | TOPIC_FILTER_INVALID
        | TOPIC_NAME_INVALID
        | PACKET_TOO_LARGE
        | PAYLOAD_FORMAT_INVALID
        | RETAIN_NOT_SUPPORTED
        | QOS_NOT_SUPPORTED => Cause::Objection,
        0 => Cause::HangUp,
        _ => Cause::Other,
    };
    let failure = why_disconnected(code, words, elsewhere, client_id);
    Ending { failure, cause }
}

fn why_disconnected(
    code: u8,
    words: Option<&str>,
    elsewhere: Option<&str>,
    client_id: &str,
) -> Failure {
    let reason = match code {
        TAKEN_OVER => {
            let reason = format!(
                "another client connected as \"{client_id}\" and took the session over, give each \
                 gateway its own mqtt.client_id"
            );
            return refused(&reason, words);
        }
        NOT_AUTHORIZED => NOT_AUTHORISED,
        BANNED => "the broker has banned this client, see its list of bans",
        QUOTA_EXCEEDED => "the broker's quota is exceeded, raise it or make room there",
        TOPIC_NAME_INVALID => {
            "the broker does not accept a topic, change mqtt.topic_prefix or the names of nodes and \
             metrics"
        }
        PACKET_TOO_LARGE => "a message is too large for the broker, raise its limit",
        PAYLOAD_FORMAT_INVALID => "the broker does not accept the format of a payload",
        RETAIN_NOT_SUPPORTED => NOTHING_RETAINED,
        QOS_NOT_SUPPORTED => "the broker does not take this quality of service, lower mqtt.qos",
        USE_ANOTHER_SERVER | SERVER_MOVED => return moved(words, elsewhere),
        code => return unavailable(&ended(code), words),
    };
    refused(reason, words)
}

/// Why the broker ended the connection, where that may pass by itself.
fn ended(code: u8) -> String {
    let why = match code {
        SHUTTING_DOWN => "it is shutting down",
        SERVER_BUSY => "it is busy",
        KEEP_ALIVE_TIMEOUT => "it heard nothing for too long",
        RATE_TOO_HIGH => "messages come too fast",
        CONNECTION_RATE_EXCEEDED => "there are too many new connections",
        MAXIMUM_CONNECT_TIME => "it had lasted as long as one may there",
        ADMINISTRATIVE => "somebody ended it there",
        RECEIVE_MAXIMUM_EXCEEDED => "too many messages were under way",
        code if is_failure(code) => {
            return format!("the broker ended the connection: {}", name(code));
        }
        // A normal end is none, when it comes from a broker.
        _ => return CLOSED.to_owned(),
    };
    format!("the broker ended the connection: {why}")
}

/// What the broker means by not taking a message.
pub(super) fn publish_refused(code: u8, words: Option<&str>) -> Refusal {
    let (reason, advice) = match code {
        NOT_AUTHORIZED => ("not authorised", ", allow it in the broker's access rules"),
        QUOTA_EXCEEDED => (
            "the broker's quota is exceeded",
            ", raise it or make room there",
        ),
        code => (&*name(code), ""),
    };
    Refusal {
        reason: with_words(reason, words) + advice,
        is_of_this_message: matches!(
            code,
            TOPIC_NAME_INVALID | PAYLOAD_FORMAT_INVALID | PACKET_TOO_LARGE
        ),
    }
}

/// Why the broker does not take a subscription.
pub(super) fn subscription_refused(code: u8, words: Option<&str>) -> String {
    let reason = format!("the broker refused the subscription: {}", name(code));
    with_words(&reason, words)
}

fn moved(words: Option<&str>, elsewhere: Option<&str>) -> Failure {
    let reason = match elsewhere {
        Some(server) => format!(
            "the broker sends its clients to {}, set mqtt.broker_url",
            printable(server)
        ),
        None => "the broker sends its clients to another one, set mqtt.broker_url".to_owned(),
    };
    refused(&reason, words)
}

fn refused(reason: &str, words: Option<&str>) -> Failure {
    Failure::Refused(with_words(reason, words))
}

fn unavailable(reason: &str, words: Option<&str>) -> Failure {
    Failure::Unavailable(with_words(reason, words))
}

fn unexpected(code: u8) -> String {
    format!("the broker does not accept the connection: {}", name(code))
}

/// What a code is called.
fn name(code: u8) -> String {
    let name = match code {
        UNSPECIFIED => "the broker does not say why",
        MALFORMED => "malformed packet",
        PROTOCOL_ERROR => "protocol error",
        IMPLEMENTATION_SPECIFIC => "the broker has a reason of its own",
        NOT_AUTHORIZED => "not authorised",
        TOPIC_FILTER_INVALID | TOPIC_NAME_INVALID => "the topic is not valid there",
        IDENTIFIER_IN_USE => "the packet identifier is in use",
        PACKET_TOO_LARGE => "too large",
        QUOTA_EXCEEDED => "the quota is exceeded",
        PAYLOAD_FORMAT_INVALID => "the format of the payload is not valid there",
        RETAIN_NOT_SUPPORTED => "it keeps no retained messages",
        QOS_NOT_SUPPORTED => "it does not take this quality of service",
        code => return format!("reason code 0x{code:02x}"),
    };
    name.to_owned()
}

/// The broker's own words behind ours.
fn with_words(reason: &str, words: Option<&str>) -> String {
    match words.map(printable) {
        Some(words) if !words.is_empty() => format!("{reason} (\"{words}\")"),
        _ => reason.to_owned(),
    }
}

fn printable(words: &str) -> String {
    let printable = words.replace(char::is_control, " ");
    printable.trim().chars().take(MOST_WORDS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const V5: Codec = Codec::V5 {
        message_expiry: None,
    };

    fn text(failure: &Failure) -> &str {
        let (Failure::Refused(reason) | Failure::Unavailable(reason)) = failure;
        reason
    }

    #[test]
    fn what_a_person_must_mend_is_a_refusal_and_what_passes_is_none() {
        for code in [
            LOGIN_INVALID,
            NOT_AUTHORIZED,
            CLIENT_ID_INVALID,
            UNSUPPORTED_PROTOCOL,
            OLD_UNSUPPORTED_PROTOCOL,
            BANNED,
            QUOTA_EXCEEDED,
            UNSPECIFIED,
            USE_ANOTHER_SERVER,
            0xff,
        ] {
            let failure = not_accepted(V5, code, None, None);
            assert!(matches!(failure, Failure::Refused(_)), "{failure:?}");
        }
        for code in [SERVER_UNAVAILABLE, SERVER_BUSY, CONNECTION_RATE_EXCEEDED] {
            let failure = not_accepted(V5, code, None, None);
            assert!(matches!(failure, Failure::Unavailable(_)), "{failure:?}");
        }
        for (code, words) in [
            (1, "does not speak MQTT 3.1.1"),
            (2, BAD_CLIENT_ID),
            (4, BAD_LOGIN),
            (5, NOT_AUTHORISED),
            (6, "reason code 0x06"),
        ] {
            let failure = not_accepted(Codec::V4, code, None, None);
            assert!(matches!(&failure, Failure::Refused(reason) if reason.contains(words)));
        }
        assert!(matches!(
            not_accepted(Codec::V4, 3, None, None),
            Failure::Unavailable(_)
        ));
        for (code, is_refusal) in [
            (TAKEN_OVER, true),
            (NOT_AUTHORIZED, true),
            (QUOTA_EXCEEDED, true),
            (PACKET_TOO_LARGE, true),
            (SERVER_MOVED, true),
            (SHUTTING_DOWN, false),
            (SERVER_BUSY, false),
            (ADMINISTRATIVE, false),
            (UNSPECIFIED, false),
            (0, false),
        ] {
            let failure = disconnected(code, None, None, "gateway").failure;
            assert_eq!(
                matches!(failure, Failure::Refused(_)),
                is_refusal,
                "{failure:?}"
            );
        }
    }

    #[test]
    fn every_code_has_words_and_the_brokers_own_stand_behind_them() {
        for code in 0..=u8::MAX {
            for failure in [
                not_accepted(V5, code, Some("because"), None),
                disconnected(code, Some("because"), None, "gateway").failure,
            ] {
                assert!(text(&failure).ends_with("(\"because\")"), "{failure:?}");
            }
            assert!(
                publish_refused(code, Some("because"))
                    .reason
                    .contains("(\"because\")")
            );
        }
        let failure = disconnected(TAKEN_OVER, None, None, "gateway").failure;
        assert!(text(&failure).starts_with("another client connected as \"gateway\""));
        let failure = not_accepted(V5, SERVER_MOVED, None, Some("broker.example\u{1b}[2J:1883"));
        assert_eq!(
            text(&failure),
            "the broker sends its clients to broker.example [2J:1883, set mqtt.broker_url"
        );
        let long = "x".repeat(1_000);
        assert!(text(&not_accepted(V5, BANNED, Some(&long), None)).len() < 300);
    }

    #[test]
    fn only_what_is_wrong_with_one_message_is_refused_for_good() {
        let of_this_message = |code| publish_refused(code, None).is_of_this_message;
        for code in [TOPIC_NAME_INVALID, PAYLOAD_FORMAT_INVALID, PACKET_TOO_LARGE] {
            assert!(of_this_message(code));
        }
        for code in [
            UNSPECIFIED,
            IMPLEMENTATION_SPECIFIC,
            NOT_AUTHORIZED,
            QUOTA_EXCEEDED,
            0xff,
        ] {
            assert!(!of_this_message(code));
        }
        // "No matching subscribers" is a success.
        assert!(!is_failure(0x10));
    }
}
