//! What arrives, byte for byte, as on a serial monitor.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::stream::{self, Look, following};
use super::{put, state_words};
use crate::monitor::{LinkState, LinkStatus, Recording, TrafficEntry, TrafficKind};
use crate::telemetry::{Name, RejectReason, Timestamp};
use crate::tui::layout::{Areas, is_narrow};
use crate::tui::state::{App, Choice as _, Piece, Shown};
use crate::tui::theme::{Role, Theme};
use crate::tui::widgets::{
    bytes, count, cut, cut_front, duration, escape, fitted, fitted_name, fitting, gap, hex,
    time_of_day, width,
};

/// Cells for the time since the line before: `Δ59m59s `.
const GAP: usize = 8;

/// Cells for the name of the source, where there are several.
const SOURCE: usize = 10;

/// A terminal of so many columns has room for the word of a kind beside its glyph.
const WORDS: usize = 60;

/// How bytes are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Text,
    Hex,
}

impl Form {
    /// The one that was chosen.
    pub(super) fn of(app: &App) -> Self {
        if app.traffic_as_hex {
            Self::Hex
        } else {
            Self::Text
        }
    }

    fn write(self, bytes: &[u8]) -> String {
        match self {
            Self::Text => escape(bytes),
            Self::Hex => hex(bytes),
        }
    }
}

pub(super) fn draw(buffer: &mut Buffer, areas: &Areas, app: &App) {
    // One that is shown alone stands in the heading.
    let names_source = app.traffic.choice.source.is_none() && app.sources().len() > 1;
    let look = Look {
        heading: heading(app, usize::from(areas.heading.width)),
        nothing: if app.traffic.entries.iter().next().is_none() {
            " Nothing has arrived yet."
        } else {
            " Nothing of the last traffic is shown; ← →: other kinds, Esc: no filter."
        },
        line: |theme, line: &Shown<'_, Piece>, cells| {
            traffic_line((theme, Form::of(app)), line, names_source, cells)
        },
    };
    let (shown, view) = (app.traffic.shown(), &app.traffic.view);
    stream::draw(buffer, areas, app.theme, (&shown, view), look);
}

/// The last frames of a node, as far back as the traffic reaches, below a heading.
pub(super) fn draw_last_of(buffer: &mut Buffer, area: Rect, app: &App, node: &Name) {
    let style = app.theme.style(Role::Dim);
    let heading = if app.is_past() {
        " its last frames: a journal keeps those alone that were set aside"
    } else {
        " its last frames"
    };
    put(buffer, area, 0, &Line::styled(heading, style));
    let rows = usize::from(area.height.saturating_sub(1));
    let source = app.source_of(node);
    let own = source.and_then(|source| node.as_str().strip_prefix(source));
    let own = own.map_or(node.as_str(), str::trim_start);
    let is_of_node = |piece: &Piece| {
        let entry = &piece.entry;
        let is_of_source = source.is_none_or(|source| source == entry.source.as_str());
        is_of_source && entry.nodes.iter().any(|name| name.as_str() == own)
    };
    let pieces = app.traffic.entries.iter().rev();
    let pieces = pieces.filter(|it| is_of_node(&it.entry)).take(rows);
    let mut shown: Vec<Shown<'_, Piece>> = pieces
        .map(|it| Shown {
            number: it.number,
            entry: &it.entry,
            before: None,
            line_end: &[],
        })
        .collect();
    shown.reverse();
    for at in 1..shown.len() {
        shown[at].before = Some(shown[at - 1].entry);
    }
    let cells = usize::from(area.width);
    for (row, line) in (1..).zip(&shown) {
        let line = traffic_line((app.theme, Form::of(app)), line, false, cells);
        put(buffer, area, row, &line);
    }
}

fn heading(app: &App, cells: usize) -> String {
    let chosen = app.traffic.choice.source.as_ref();
    let counts = app.snapshot().filter(|_| !app.is_past()).map(|snapshot| {
        let telemetry = chosen.map_or(&snapshot.telemetry, |it| snapshot.telemetry_of(it));
        let rejected = telemetry.frames_rejected.iter().map(|(_, count)| count);
        [
            format!("  {} accepted", count(telemetry.packets_processed)),
            format!(", {} rejected", count(rejected.sum())),
            format!(", {} ignored", bytes(telemetry.ignored_bytes)),
        ]
    });
    let recording = match app.snapshot().map(|snapshot| &snapshot.recording) {
        Some(Recording::On { path, bytes: size }) => {
            format!("  ● recording {} to {path}", bytes(*size))
        }
        _ => String::new(),
    };
    let form = if app.traffic_as_hex { " as hex" } else { "" };
    let mut texts = vec![
        format!(" {}{form}", app.traffic.choice.words()),
        following(&app.traffic.view),
        silence(app),
        recording,
    ];
    texts.extend(counts.into_iter().flatten());
    fitting(&texts, cells)
}

/// For how long nothing has arrived, from a second on; or why nothing can.
fn silence(app: &App) -> String {
    let chosen = app.traffic.choice.source.clone();
    let shown = chosen.map_or_else(|| app.sources(), |source| vec![source]);
    let links = |link| app.snapshot()?.link(link);
    let links: Vec<&LinkStatus> = shown.iter().filter_map(links).collect();
    let up = links.iter().filter(|link| link.state == LinkState::Up);
    let since = up.flat_map(|link| [link.heard, Some(link.since)]);
    let Some(since) = since.flatten().max() else {
        let words = links.first().map(|link| state_words(link));
        return words.map_or_else(String::new, |words| format!("  source {words}"));
    };
    let mut entries = app.traffic.entries.iter().rev();
    let arrived = entries.find(|it| {
        let TrafficEntry { kind, source, .. } = &it.entry.entry;
        let is_shown = shown.iter().any(|it| it.name() == source.as_str());
        is_shown && !matches!(kind, TrafficKind::Sent | TrafficKind::Judged { .. })
    });
    let arrived = arrived.map(|it| it.entry.entry.at);
    let since: Timestamp = arrived.map_or(since, |arrived| arrived.max(since));
    let silence = app.now.since(since);
    if silence.as_secs() == 0 {
        return String::new();
    }
    format!("  silent for {}", duration(silence))
}

/// Glyph, word and role of a piece.
pub(super) fn look(piece: &Piece) -> (&'static str, &'static str, Role) {
    match piece.entry.kind {
        TrafficKind::Accepted if piece.is_doubted => ("?", "waiting", Role::Warn),
        TrafficKind::Accepted if !piece.marks.is_empty() => ("◐", "in part", Role::Warn),
        TrafficKind::Accepted => ("✓", "accepted", Role::Good),
        TrafficKind::Text | TrafficKind::Judged { .. } => ("·", "text", Role::Dim),
        TrafficKind::Sent => ("▲", "sent", Role::Accent),
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

fn traffic_line(
    (theme, form): (Theme, Form),
    line: &Shown<'_, Piece>,
    names_source: bool,
    cells: usize,
) -> Line<'static> {
    let Piece { entry, .. } = line.entry;
    // The name takes the place of the time since the line before, where there is little room.
    let has_gap = !names_source || cells >= WORDS;
    let mut spans = prefix(theme, line, has_gap, cells);
    if names_source {
        let name = format!(
            "{} ",
            fitted_name(entry.source.as_str(), SOURCE.min(cells / 6))
        );
        spans.push(Span::styled(name, theme.style(Role::Accent)));
    }
    let used: usize = spans.iter().map(|span| width(&span.content)).sum();
    let room = cells.saturating_sub(used);
    let Some(reason) = fault(line.entry) else {
        let content = form.write(&entry.bytes);
        let style = match entry.kind {
            TrafficKind::Text => theme.style(Role::Dim),
            TrafficKind::Sent => theme.style(Role::Accent),
            _ => theme.style(Role::Text),
        };
        let mut line_end = form.write(line.line_end);
        if form == Form::Hex && !line_end.is_empty() {
            line_end.insert(0, ' ');
        }
        spans.push(Span::styled(
            cut(&content, room.saturating_sub(width(&line_end))),
            style,
        ));
        spans.push(Span::styled(line_end, theme.style(Role::Dim)));
        return Line::from(spans);
    };
    let mut note = format!("◀ {}", reason.explanation());
    if is_narrow(cells) {
        note = cut(&note, room / 2);
    }
    let room = room.saturating_sub(width(&note) + 1);
    let (before, after) = around_place(line.entry, form);
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

/// When it was, how long after the line before, and what it is.
fn prefix(
    theme: Theme,
    line: &Shown<'_, Piece>,
    has_gap: bool,
    cells: usize,
) -> Vec<Span<'static>> {
    let entry = &line.entry.entry;
    let (glyph, word, role) = look(line.entry);
    let since = line.before.map_or_else(String::new, |before| {
        format!("Δ{}", gap(entry.at.since(before.entry.at)))
    });
    let kind = if cells >= WORDS {
        format!("{glyph} {word:<8} ")
    } else {
        format!("{glyph} ")
    };
    vec![
        Span::styled(
            format!(
                " {} {}",
                time_of_day(entry.at),
                fitted(&since, if has_gap { GAP } else { 0 })
            ),
            theme.style(Role::Dim),
        ),
        Span::styled(kind, theme.style(role)),
    ]
}

/// Stands before what is wrong within a piece.
pub(super) const PLACE: &str = "▶";

fn broke_off(entry: &TrafficEntry) -> bool {
    let kind = entry.kind;
    matches!(kind, TrafficKind::Rejected { broke_at_end, .. } if broke_at_end)
}

/// A piece up to the place at which something within it is wrong, and from there on where there is
/// such a place.
pub(super) fn around_place(piece: &Piece, form: Form) -> (String, Option<String>) {
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
    (form.write(before), place.map(|_| form.write(after)))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Timestamp;
    use crate::tui::theme::Depth;

    fn rejected(reason: RejectReason, broke_at_end: bool, bytes: &[u8], cells: usize) -> String {
        let entry = TrafficEntry {
            source: "source".into(),
            at: Timestamp(0),
            kind: TrafficKind::Rejected {
                reason,
                broke_at_end,
                place: None,
            },
            bytes: bytes.into(),
            nodes: std::sync::Arc::default(),
        };
        let line = Shown {
            number: 0,
            entry: &Piece::from(entry),
            before: None,
            line_end: &[],
        };
        let theme = Theme::new(false, Depth::Ansi256, false);
        let text = traffic_line((theme, Form::Text), &line, false, cells).to_string();
        assert!(width(&text) <= cells, "{text}");
        text
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
            let text = rejected(reason, broke_at_end, bytes, 118);
            assert!(text.contains(shown), "{text}");
        }
        // However little room there is, nothing panics and nothing sticks out.
        for cells in 80..200 {
            rejected(InvalidTime, false, &long, cells);
        }
    }

    #[test]
    fn a_line_tells_how_long_after_the_one_before_it_came() {
        let entry = |millis: i64, kind, bytes: &[u8]| {
            Piece::from(TrafficEntry {
                source: "source".into(),
                at: Timestamp(millis * 1_000_000),
                kind,
                bytes: bytes.into(),
                nodes: std::sync::Arc::default(),
            })
        };
        let before = entry(500, TrafficKind::Sent, b"led on\n");
        let answer = entry(1_512, TrafficKind::Text, b"OK \xff");
        let line = Shown {
            number: 1,
            entry: &answer,
            before: Some(&before),
            line_end: b"\r\n",
        };
        let theme = Theme::new(false, Depth::Ansi256, false);
        let text = |form: Form, cells| traffic_line((theme, form), &line, false, cells).to_string();
        assert_eq!(
            text(Form::Text, 80),
            " 00:00:01 Δ1.01s  · text     OK \\xff\\r\\n"
        );
        assert_eq!(
            text(Form::Hex, 80),
            " 00:00:01 Δ1.01s  · text     4f 4b 20 ff 0d 0a"
        );
        assert_eq!(text(Form::Text, 40), " 00:00:01 Δ1.01s  · OK \\xff\\r\\n");
        assert_eq!(text(Form::Hex, 28), " 00:00:01 Δ1.01s  · 4… 0d 0a");
    }
}
