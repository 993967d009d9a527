//! What an operator may ask of the running gateway.

use serde::{Deserialize, Serialize};

use super::{LinkId, SinkId};

/// What an operator may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "command",
    content = "link",
    rename_all = "snake_case",
    deny_unknown_fields
)]
pub enum Command {
    /// Sends what is waiting now, without waiting for a full batch; `None`: both sinks.
    Flush(Option<SinkId>),
    /// Ends a link's pause, or connects it anew.
    Reconnect(LinkId),
    /// Takes a link down until it is released.
    Hold(LinkId),
    /// Ends a hold.
    Release(LinkId),
    /// Begins to record the raw stream into a file of the gateway's choice.
    StartRecording,
    /// Ends the recording.
    StopRecording,
    /// Stops the gateway; asked for once more, it stops at once.
    Quit,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_written_as_one_short_object() {
        for (text, command) in [
            (r#"{"command":"flush"}"#, Command::Flush(None)),
            (r#"{"command":"flush","link":null}"#, Command::Flush(None)),
            (
                r#"{"command":"flush","link":"mqtt"}"#,
                Command::Flush(Some(SinkId::Mqtt)),
            ),
            (
                r#"{"command":"reconnect","link":"source"}"#,
                Command::Reconnect(LinkId::Source),
            ),
            (
                r#"{"command":"hold","link":"influxdb"}"#,
                Command::Hold(LinkId::Influxdb),
            ),
            (
                r#"{"link":"mqtt","command":"release"}"#,
                Command::Release(LinkId::Mqtt),
            ),
            (r#"{"command":"quit"}"#, Command::Quit),
        ] {
            let read: Command = serde_json::from_str(text).unwrap();
            assert_eq!(read, command, "{text}");
            let written = serde_json::to_string(&command).unwrap();
            assert_eq!(serde_json::from_str::<Command>(&written).unwrap(), command);
        }
        for wrong in [
            r#"{"command":"hold"}"#,
            r#"{"command":"flush","sink":"mqtt"}"#,
            r#"{"command":"flush","link":"source"}"#,
            r#"{"command":"stop"}"#,
            r#""quit""#,
        ] {
            assert!(serde_json::from_str::<Command>(wrong).is_err(), "{wrong}");
        }
    }
}
