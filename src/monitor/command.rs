//! What an operator may ask of the running gateway, and what becomes of it at the link that it names.

use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::LinkId;

/// What may be asked of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// To send what is waiting now, without waiting for a full batch. Nothing waits for a source.
    Flush,
    /// To end its pause, or to connect anew.
    Reconnect,
    /// To stay down until it is released.
    Hold,
    /// To end a hold.
    Release,
}

impl Order {
    const ALL: [Self; 4] = [Self::Flush, Self::Reconnect, Self::Hold, Self::Release];

    /// Its name in the API and for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Flush => "flush",
            Self::Reconnect => "reconnect",
            Self::Hold => "hold",
            Self::Release => "release",
        }
    }
}

/// What a link is told: the state as a whole, so that no order is ever lost or queued.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Directive {
    /// Whether the link is down on purpose.
    pub held: bool,
    /// How often a reconnect was asked for.
    pub reconnects: u64,
    /// How often a flush was asked for.
    pub flushes: u64,
    /// For a sink: deliver up to this row, then end.
    pub drain_to: Option<u64>,
    /// End when what is under way is done: the gateway stops, or another one with other settings takes
    /// over.
    pub retired: bool,
    /// End now, whatever is left.
    pub abandon: bool,
}

impl Directive {
    /// Takes in what the operator asks for.
    pub fn obey(&mut self, order: Order) {
        match order {
            Order::Flush => self.flushes += 1,
            Order::Reconnect => self.reconnects += 1,
            Order::Hold => self.held = true,
            Order::Release => self.held = false,
        }
    }
}

/// What an operator may ask of the running gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Gives an order to a link.
    To(Order, LinkId),
    /// Has every sink send what is waiting.
    FlushAll,
    /// Begins to record the raw stream into a file of the gateway's choice.
    StartRecording,
    /// Ends the recording.
    StopRecording,
    /// Stops the gateway; asked for once more, it stops at once.
    Quit,
}

impl Command {
    /// Those that are about no link.
    const OF_THE_GATEWAY: [Self; 3] = [Self::StartRecording, Self::StopRecording, Self::Quit];

    /// The link that it is about.
    pub fn link(&self) -> Option<&LinkId> {
        match self {
            Self::To(_, link) => Some(link),
            _ => None,
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::To(order, _) => order.name(),
            Self::FlushAll => Order::Flush.name(),
            Self::StartRecording => "start_recording",
            Self::StopRecording => "stop_recording",
            Self::Quit => "quit",
        }
    }

    /// A command as it is written; the error is for people.
    fn read(name: &str, link: Option<LinkId>) -> Result<Self, String> {
        let order = Order::ALL.into_iter().find(|order| order.name() == name);
        let mut others = Self::OF_THE_GATEWAY.into_iter();
        let other = others.find(|command| command.name() == name);
        match (order, other, link) {
            (Some(Order::Flush), _, None) => Ok(Self::FlushAll),
            (Some(Order::Flush), _, Some(link)) if link.sink().is_none() => {
                Err(format!("nothing waits for {link}"))
            }
            (Some(order), _, Some(link)) => Ok(Self::To(order, link)),
            (Some(_), _, None) => Err("missing field `link`".to_owned()),
            (None, Some(command), None) => Ok(command),
            (None, Some(_), Some(_)) => Err(format!("{name} is about no link")),
            (None, None, _) => Err(format!(
                "unknown command `{name}`, expected one of {}",
                Self::names().join(", ")
            )),
        }
    }

    fn names() -> Vec<&'static str> {
        let orders = Order::ALL.into_iter().map(Order::name);
        orders
            .chain(Self::OF_THE_GATEWAY.iter().map(Self::name))
            .collect()
    }
}

/// A command as JSON: `{"command":"hold","link":"mqtt"}`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    command: String,
    #[serde(default)]
    link: Option<LinkId>,
}

impl<'de> Deserialize<'de> for Command {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let Written { command, link } = Written::deserialize(from)?;
        Self::read(&command, link).map_err(de::Error::custom)
    }
}

impl Serialize for Command {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(None)?;
        map.serialize_entry("command", self.name())?;
        if matches!(self, Self::To(..) | Self::FlushAll) {
            map.serialize_entry("link", &self.link())?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_written_as_one_short_object() {
        for (text, command) in [
            (r#"{"command":"flush"}"#, Command::FlushAll),
            (r#"{"command":"flush","link":null}"#, Command::FlushAll),
            (
                r#"{"command":"flush","link":"mqtt"}"#,
                Command::To(Order::Flush, LinkId::mqtt()),
            ),
            (
                r#"{"command":"reconnect","link":"source"}"#,
                Command::To(Order::Reconnect, LinkId::source()),
            ),
            (
                r#"{"command":"hold","link":"influxdb"}"#,
                Command::To(Order::Hold, LinkId::influxdb()),
            ),
            (
                r#"{"link":"mqtt","command":"release"}"#,
                Command::To(Order::Release, LinkId::mqtt()),
            ),
            (r#"{"command":"quit"}"#, Command::Quit),
        ] {
            let read: Command = serde_json::from_str(text).unwrap();
            assert_eq!(read, command, "{text}");
            let written = serde_json::to_string(&command).unwrap();
            assert_eq!(serde_json::from_str::<Command>(&written).unwrap(), command);
        }
        for (command, text) in [
            (Command::FlushAll, r#"{"command":"flush","link":null}"#),
            (
                Command::To(Order::Hold, LinkId::mqtt()),
                r#"{"command":"hold","link":"mqtt"}"#,
            ),
            (Command::StartRecording, r#"{"command":"start_recording"}"#),
        ] {
            assert_eq!(serde_json::to_string(&command).unwrap(), text);
        }
        for wrong in [
            r#"{"command":"hold"}"#,
            r#"{"command":"flush","sink":"mqtt"}"#,
            r#"{"command":"flush","link":"source"}"#,
            r#"{"command":"stop"}"#,
            r#"{"command":"quit","link":"mqtt"}"#,
            r#""quit""#,
        ] {
            assert!(serde_json::from_str::<Command>(wrong).is_err(), "{wrong}");
        }
    }
}
