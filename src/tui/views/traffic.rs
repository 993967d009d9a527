//! What arrives, byte for byte, as on a serial monitor.

use ratatui::buffer::Buffer;
use ratatui::text::{Line, Span};

use super::stream::{self, Look, following};
use crate::monitor::{Recording, TrafficEntry, TrafficKind};
use crate::telemetry::RejectReason;
use crate::tui::layout::Areas;
use crate::tui::state::{App, Piece, Shown};
use crate::tui::theme::{Role, Theme};
use crate::tui::widgets::{bytes, count, cut, escape, time_of_day, width};

/// `12:34:56 ✖ rejected `
const PREFIX: usize = 21;

pub(super) fn draw(buffer: &mut Buffer, areas: &Areas, app: &App) {
    let look = Look {
        heading: heading(app),
        nothing: if app.traffic.entries.iter().next().is_none() {
            " Nothing has arrived yet."
        } else {
            " Nothing of the last traffic is shown; ← →: other kinds, Esc: no filter."
        },
        line: traffic_line,
    };
    let (shown, view) = (app.traffic.shown(), &app.traffic.view);
    stream::draw(buffer, areas, app.theme, (&shown, view), look);
}

fn heading(app: &App) -> String {
    let counts = app.snapshot().map_or_else(String::new, |snapshot| {
        let telemetry = &snapshot.telemetry;
        let rejected = telemetry.frames_rejected.iter().map(|(_, count)| count);
        format!(
            "  {} accepted, {} rejected, {} ignored",
            count(telemetry.packets_processed),
            count(rejected.sum()),
            bytes(telemetry.ignored_bytes)
        )
    });
    let recording = match app.snapshot().map(|snapshot| &snapshot.recording) {
        Some(Recording::On { path, bytes: size }) => {
            format!("  ● recording {} to {path}", bytes(*size))
        }
        _ => String::new(),
    };
    format!(
        " {}{}{recording}{counts}",
        app.traffic.choice.word(),
        following(&app.traffic.view)
    )
}

/// Glyph, word and role of a piece.
pub(super) fn look(piece: &Piece) -> (&'static str, &'static str, Role) {
    match piece.entry.kind {
        TrafficKind::Accepted if piece.is_doubted => ("?", "waiting", Role::Warn),
        TrafficKind::Accepted if !piece.marks.is_empty() => ("◐", "in part", Role::Warn),
        TrafficKind::Accepted => ("✓", "accepted", Role::Good),
        TrafficKind::Text | TrafficKind::Judged { .. } => ("·", "text", Role::Dim),
        TrafficKind::Rejected { .. } => ("✖", "rejected", Role::Bad),
    }
}

/// Why a piece, or a part of it, is not delivered.
pub(super) fn fault(piece: &Piece) -> Option<RejectReason> {
    match piece.entry.kind {
        TrafficKind::Rejected { reason, .. } => Some(reason),
        _ => piece.marks.first().map(|(_, reason)| *reason),
    }
}

fn traffic_line<'a>(theme: Theme, line: &Shown<'_, Piece>, cells: usize) -> Line<'a> {
    let Piece { entry, .. } = line.entry;
    let (glyph, word, role) = look(line.entry);
    let mut spans = vec![
        Span::styled(
            format!(" {} ", time_of_day(entry.at)),
            theme.style(Role::Dim),
        ),
        Span::styled(format!("{glyph} {word:<8} "), theme.style(role)),
    ];
    let room = cells.saturating_sub(PREFIX);
    let Some(reason) = fault(line.entry) else {
        let content = escape(&entry.bytes);
        let style = match entry.kind {
            TrafficKind::Text => theme.style(Role::Dim),
            _ => theme.style(Role::Text),
        };
        let line_end = escape(line.line_end);
        spans.push(Span::styled(
            cut(&content, room.saturating_sub(width(&line_end))),
            style,
        ));
        spans.push(Span::styled(line_end, theme.style(Role::Dim)));
        return Line::from(spans);
    };
    let note = format!("◀ {}", reason.explanation());
    let room = room.saturating_sub(width(&note) + 1);
    let (before, after) = around_place(line.entry);
    match after {
        // The place is what matters: a frame that broke off is shown from its end.
        None if broke_off(entry) => spans.push(Span::raw(cut_front(&before, room))),
        None => spans.push(Span::raw(cut(&before, room))),
        Some(after) => {
            let behind = width(&after).min(room / 2);
            let before = cut_front(&before, room.saturating_sub(behind + 1));
            let behind = room.saturating_sub(width(&before) + 1);
            spans.push(Span::raw(before));
            spans.push(Span::styled(PLACE, theme.style(Role::Bad)));
            spans.push(Span::raw(cut(&after, behind)));
        }
    }
    spans.push(Span::styled(note, theme.style(Role::Bad)));
    Line::from(spans)
}

/// Stands before what is wrong within a piece.
pub(super) const PLACE: &str = "▶";

fn broke_off(entry: &TrafficEntry) -> bool {
    let kind = entry.kind;
    matches!(kind, TrafficKind::Rejected { broke_at_end, .. } if broke_at_end)
}

/// A piece up to the place at which something within it is wrong, and from there on where there is
/// such a place.
pub(super) fn around_place(piece: &Piece) -> (String, Option<String>) {
    let entry = &piece.entry;
    let place = match entry.kind {
        TrafficKind::Rejected {
            place: Some(place), ..
        } => usize::try_from(place)
            .ok()
            .filter(|place| *place < entry.bytes.len()),
        TrafficKind::Rejected { reason, .. } if !broke_off(entry) => place(reason, &entry.bytes),
        TrafficKind::Accepted => piece.marks.iter().find_map(|(at, _)| *at),
        _ => None,
    };
    let (before, after) = entry.bytes.split_at(place.unwrap_or(entry.bytes.len()));
    (escape(before), place.map(|_| escape(after)))
}

/// Where a whole frame is wrong, by what is known of its fault.
fn place(reason: RejectReason, bytes: &[u8]) -> Option<usize> {
    match reason {
        RejectReason::InvalidUtf8 => Some(std::str::from_utf8(bytes).err()?.valid_up_to()),
        RejectReason::RepeatedKey => repeated_key(bytes),
        RejectReason::InvalidTime | RejectReason::ContradictsNeighbours => {
            let key = b"\"ts\"";
            let at = bytes.windows(key.len()).position(|window| window == key)? + key.len();
            let is_value = |byte: &u8| !byte.is_ascii_whitespace() && *byte != b':';
            Some(at + bytes[at..].iter().position(is_value)?)
        }
        _ => None,
    }
}

/// Where a key stands that the same object has had before.
fn repeated_key(bytes: &[u8]) -> Option<usize> {
    let mut objects: Vec<Vec<&[u8]>> = Vec::new();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'{' => objects.push(Vec::new()),
            b'}' => drop(objects.pop()),
            b'"' => {
                let text = string(&bytes[at..])?;
                let mut rest = bytes[at + text.len()..].iter();
                let is_key = rest.find(|byte| !byte.is_ascii_whitespace()) == Some(&b':');
                if let Some(keys) = objects.last_mut().filter(|_| is_key) {
                    if keys.contains(&text) {
                        return Some(at);
                    }
                    keys.push(text);
                }
                at += text.len() - 1;
            }
            _ => {}
        }
        at += 1;
    }
    None
}

/// The string at the beginning of some JSON, with its quotes.
fn string(json: &[u8]) -> Option<&[u8]> {
    let mut is_escaped = false;
    let end = json.iter().skip(1).position(|byte| {
        let is_end = *byte == b'"' && !is_escaped;
        is_escaped = *byte == b'\\' && !is_escaped;
        is_end
    })?;
    Some(&json[..end + 2])
}

/// The end of a text in at most so many cells, cut with `…` at its front.
fn cut_front(text: &str, cells: usize) -> String {
    let total = width(text);
    if total <= cells {
        return text.to_owned();
    }
    let mut skipped = 0;
    let mut characters = text.chars();
    while total - skipped + 1 > cells {
        let Some(character) = characters.next() else {
            break;
        };
        skipped += width(character.encode_utf8(&mut [0; 4]));
    }
    format!("…{}", characters.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Timestamp;
    use crate::tui::theme::Depth;

    fn rejected(reason: RejectReason, broke_at_end: bool, bytes: &[u8], cells: usize) -> String {
        let entry = TrafficEntry {
            at: Timestamp(0),
            kind: TrafficKind::Rejected {
                reason,
                broke_at_end,
                place: None,
            },
            bytes: bytes.into(),
        };
        let line = Shown {
            number: 0,
            entry: &Piece::from(entry),
            line_end: &[],
        };
        let theme = Theme::new(false, Depth::Ansi256, false);
        let text = traffic_line(theme, &line, cells).to_string();
        assert!(width(&text) <= cells, "{text}");
        text.chars().skip(PREFIX).collect()
    }

    #[test]
    fn the_place_of_a_fault_is_marked() {
        use RejectReason::{
            ContradictsNeighbours, InvalidTime, InvalidUtf8, NotTelemetry, RepeatedKey, Syntax,
        };
        let long = [b"{\"id\":\"", &[b'x'; 90][..], b"\", \"ts\": -1,\"n1\":{}}"].concat();
        for (reason, broke_at_end, bytes, shown) in [
            (Syntax, true, &b"{\"ts\":1,}"[..], "{\"ts\":1,}◀ "),
            (InvalidTime, false, b"{\"ts\": -1}", "{\"ts\": ▶-1}◀ "),
            (InvalidTime, false, &long, "xx\", \"ts\": ▶-1,\"n1\":{}}◀ "),
            (
                InvalidUtf8,
                false,
                b"{\"id\":\"a\xff\"}",
                "{\"id\":\"a▶\\xff\"}◀ ",
            ),
            (
                ContradictsNeighbours,
                false,
                b"{\"ts\":90015000}",
                "{\"ts\":▶90015000}◀ ",
            ),
            (
                RepeatedKey,
                false,
                b"{\"t\\\"\":{\"h\":1},\"h\":2,\"h\":3}",
                "\"h\":2,▶\"h\":3}◀ ",
            ),
            (NotTelemetry, false, b"{\"a\":1}", "{\"a\":1}◀ "),
        ] {
            let text = rejected(reason, broke_at_end, bytes, 110);
            assert!(text.contains(shown), "{text}");
        }
        // However little room there is, nothing panics and nothing sticks out.
        for cells in 80..200 {
            rejected(InvalidTime, false, &long, cells);
        }
    }
}
