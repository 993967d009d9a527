//! What an operator may ask of the running gateway, and what becomes of it at the link that it names.

use std::fmt;
use std::sync::Arc;

use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{LinkId, Position};

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
    /// Whether an operator has taken the link down on purpose.
    pub held: bool,
    /// The program that a source is lent to, which has its port meanwhile.
    pub lent_to: Option<Arc<str>>,
    /// How often a reconnect was asked for.
    pub reconnects: u64,
    /// How often a flush was asked for.
    pub flushes: u64,
    /// For a sink: deliver again what is behind a place.
    pub rewind: Option<Rewind>,
    /// For a sink: deliver up to this row, then end.
    pub drain_to: Option<u64>,
    /// End when what is under way is done: the gateway stops, or another one with other settings takes
    /// over.
    pub retired: bool,
    /// End now, whatever is left.
    pub abandon: bool,
}

/// That a sink is to go back in the journal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rewind {
    /// Counts those of this sink; each is obeyed once.
    pub number: u64,
    /// The place before what is delivered again.
    pub to: Position,
}

impl Directive {
    /// Whether the link is to stay down.
    pub fn is_held(&self) -> bool {
        self.held || self.lent_to.is_some()
    }

    /// Has the sink go back to a place; returns the number of that.
    pub fn rewind_to(&mut self, to: Position) -> u64 {
        let number = self.rewind.map_or(0, |rewind| rewind.number) + 1;
        self.rewind = Some(Rewind { number, to });
        number
    }

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

/// The longest text that is sent to a source, in bytes, without its line ending.
pub const MAX_TEXT: usize = 1024;

/// Who gives a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asker {
    /// Whoever sits at the terminal UI of the gateway itself.
    Screen,
    /// Whoever uses the API, by the address that the request came from.
    Peer(String),
}

impl fmt::Display for Asker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Screen => f.write_str("the terminal UI"),
            Self::Peer(address) => f.write_str(address),
        }
    }
}

/// What an operator may ask of the running gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Gives an order to a link.
    To(Order, LinkId),
    /// Sends a text to a source, its line ending behind it.
    Send(LinkId, String),
    /// Resets the board of a source.
    Reset(LinkId),
    /// Has every sink send what is waiting.
    FlushAll,
    /// Begins to record the raw stream of a source, or of all, into a file of the gateway's choice.
    StartRecording(Option<LinkId>),
    /// Ends the recording of a source, or all.
    StopRecording(Option<LinkId>),
    /// Stops the gateway; asked for once more, it stops at once.
    Quit,
}

impl Command {
    /// Those that need no link.
    const OF_THE_GATEWAY: [Self; 3] = [
        Self::StartRecording(None),
        Self::StopRecording(None),
        Self::Quit,
    ];

    /// The link that it is about.
    pub fn link(&self) -> Option<&LinkId> {
        match self {
            Self::To(_, link) | Self::Send(link, _) | Self::Reset(link) => Some(link),
            Self::StartRecording(link) | Self::StopRecording(link) => link.as_ref(),
            Self::FlushAll | Self::Quit => None,
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::To(order, _) => order.name(),
            Self::Send(..) => SEND,
            Self::Reset(_) => RESET,
            Self::FlushAll => Order::Flush.name(),
            Self::StartRecording(_) => "start_recording",
            Self::StopRecording(_) => "stop_recording",
            Self::Quit => "quit",
        }
    }

    /// A command as it is written; the error is for people.
    fn read(name: &str, link: Option<LinkId>, text: Option<String>) -> Result<Self, String> {
        match (name, text) {
            (SEND | RESET, text) => return Self::to_source(name, link, text),
            (_, Some(_)) => return Err(format!("{name} takes no text")),
            (_, None) => {}
        }
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
            (None, Some(Self::StartRecording(_) | Self::StopRecording(_)), Some(link))
                if link.sink().is_some() =>
            {
                Err(format!("{link} has no stream to be recorded"))
            }
            (None, Some(Self::StartRecording(_)), link) => Ok(Self::StartRecording(link)),
            (None, Some(Self::StopRecording(_)), link) => Ok(Self::StopRecording(link)),
            (None, Some(_), Some(_)) => Err(format!("{name} is about no link")),
            (None, None, _) => Err(format!(
                "unknown command `{name}`, expected one of {}",
                Self::names().join(", ")
            )),
        }
    }

    /// What is asked of whatever is at the other end of a source.
    fn to_source(name: &str, link: Option<LinkId>, text: Option<String>) -> Result<Self, String> {
        let link = link.ok_or("missing field `link`")?;
        if link.sink().is_some() {
            return Err(format!("{name} is about a source, and {link} is none"));
        }
        match (name, text) {
            (SEND, Some(text)) if text.len() > MAX_TEXT => Err(format!(
                "the text is longer than {MAX_TEXT} bytes; send it in parts"
            )),
            (SEND, Some(text)) => Ok(Self::Send(link, text)),
            (SEND, None) => Err("missing field `text`".to_owned()),
            (_, Some(_)) => Err(format!("{name} takes no text")),
            (_, None) => Ok(Self::Reset(link)),
        }
    }

    fn names() -> Vec<&'static str> {
        let orders = Order::ALL.into_iter().map(Order::name);
        orders
            .chain([SEND, RESET])
            .chain(Self::OF_THE_GATEWAY.iter().map(Self::name))
            .collect()
    }
}

const SEND: &str = "send";
const RESET: &str = "reset";

/// A command as JSON: `{"command":"hold","link":"mqtt"}`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    command: String,
    #[serde(default)]
    link: Option<LinkId>,
    #[serde(default)]
    text: Option<String>,
}

impl<'de> Deserialize<'de> for Command {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let Written {
            command,
            link,
            text,
        } = Written::deserialize(from)?;
        Self::read(&command, link, text).map_err(de::Error::custom)
    }
}

impl Serialize for Command {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(None)?;
        map.serialize_entry("command", self.name())?;
        if self.link().is_some() || *self == Self::FlushAll {
            map.serialize_entry("link", &self.link())?;
        }
        if let Self::Send(_, text) = self {
            map.serialize_entry("text", text)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::LinkKind;

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
            (
                r#"{"command":"send","link":"source","text":"led on"}"#,
                Command::Send(LinkId::source(), "led on".to_owned()),
            ),
            (
                r#"{"command":"reset","link":"source"}"#,
                Command::Reset(LinkId::source()),
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
            (
                Command::StartRecording(None),
                r#"{"command":"start_recording"}"#,
            ),
            (
                Command::StopRecording(Some(LinkId::new(LinkKind::Source, "north"))),
                r#"{"command":"stop_recording","link":"source north"}"#,
            ),
        ] {
            assert_eq!(serde_json::to_string(&command).unwrap(), text);
        }
    }

    #[test]
    fn what_is_no_command_is_refused() {
        let long = "x".repeat(MAX_TEXT + 1);
        let long = format!(r#"{{"command":"send","link":"source","text":"{long}"}}"#);
        for wrong in [
            &*long,
            r#"{"command":"hold"}"#,
            r#"{"command":"flush","sink":"mqtt"}"#,
            r#"{"command":"flush","link":"source"}"#,
            r#"{"command":"stop"}"#,
            r#"{"command":"quit","link":"mqtt"}"#,
            r#"{"command":"start_recording","link":"mqtt"}"#,
            r#"{"command":"send","link":"source"}"#,
            r#"{"command":"send","text":"led on"}"#,
            r#"{"command":"send","link":"mqtt","text":"led on"}"#,
            r#"{"command":"reset","link":"source","text":"led on"}"#,
            r#"{"command":"hold","link":"source","text":"led on"}"#,
            r#""quit""#,
        ] {
            assert!(serde_json::from_str::<Command>(wrong).is_err(), "{wrong}");
        }
    }
}
