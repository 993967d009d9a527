//! Server-sent events out of a byte stream. Pure.

/// An event: its name and its data.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) name: String,
    pub(super) data: String,
}

/// An event is larger than any gateway sends.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLong;

/// A snapshot of all values that a gateway remembers takes less than half of this.
const MAX_EVENT: usize = 4 << 20;

/// Puts lines together to events, as the HTML standard describes for the fields `event` and `data`.
#[derive(Debug, Default)]
pub(super) struct Parser {
    line: Vec<u8>,
    name: String,
    data: String,
}

impl Parser {
    /// The events that the next bytes complete.
    pub(super) fn push(&mut self, mut bytes: &[u8]) -> Result<Vec<Event>, TooLong> {
        let mut events = Vec::new();
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.line.extend_from_slice(&bytes[..end]);
            bytes = &bytes[end + 1..];
            events.extend(self.end_line());
        }
        self.line.extend_from_slice(bytes);
        if self.line.len() + self.data.len() > MAX_EVENT {
            return Err(TooLong);
        }
        Ok(events)
    }

    fn end_line(&mut self) -> Option<Event> {
        let bytes = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&bytes);
        let line = line.strip_suffix('\r').unwrap_or(&line);
        if line.is_empty() {
            let name = std::mem::take(&mut self.name);
            let data = std::mem::take(&mut self.data);
            return (!data.is_empty()).then_some(Event { name, data });
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.name),
            "data" => {
                if !self.data.is_empty() {
                    self.data.push('\n');
                }
                self.data.push_str(value);
            }
            // Comments, which keep the connection alive, and what is not used here.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_out_however_the_bytes_are_cut() {
        let text = ": still here\n\nevent: log\ndata: [1,\ndata:2]\nid: 7\n\nretry: 5\r\n\
                    event: snapshot\r\ndata: {\"ä\":1}\r\n\r\ndata: rest";
        let event = |name: &str, data: &str| Event {
            name: name.into(),
            data: data.into(),
        };
        let expected = [event("log", "[1,\n2]"), event("snapshot", "{\"ä\":1}")];
        for size in 1..text.len() {
            let mut parser = Parser::default();
            let pieces = text.as_bytes().chunks(size);
            let events: Vec<Event> = pieces
                .flat_map(|piece| parser.push(piece).unwrap())
                .collect();
            assert_eq!(events, expected, "{size}");
        }
    }

    #[test]
    fn an_endless_event_is_refused() {
        let mut parser = Parser::default();
        let piece = vec![b'x'; MAX_EVENT / 2];
        assert!(parser.push(&piece).is_ok());
        assert!(parser.push(&piece).is_ok());
        assert_eq!(parser.push(b"x"), Err(TooLong));
    }
}
