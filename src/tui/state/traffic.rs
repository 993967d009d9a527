//! The traffic: pieces of what arrived, with what was found out of them since.

use super::Detail;
use super::stream::{Choice, Entry, Stream};
use crate::monitor::{LinkId, Numbered, TrafficEntry, TrafficKind, TrafficVerdict, Weighed};
use crate::telemetry::RejectReason;
use crate::tui::widgets::escape;

/// Marks of one piece that are kept; damage of more than that is damage of the whole.
const MAX_MARKS: usize = 16;

/// A piece of what arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) entry: TrafficEntry,
    /// It waits for what follows it.
    pub(crate) is_doubted: bool,
    /// The readings of it that were set aside: the place of each, if that is known, and the reason.
    pub(crate) marks: Vec<(Option<usize>, RejectReason)>,
}

impl Weighed for Piece {
    fn weight(&self) -> usize {
        self.entry.weight()
    }
}

impl From<TrafficEntry> for Piece {
    fn from(entry: TrafficEntry) -> Self {
        Self {
            entry,
            is_doubted: false,
            marks: Vec::new(),
        }
    }
}

impl Piece {
    fn judge(&mut self, verdict: TrafficVerdict) {
        self.is_doubted = verdict == TrafficVerdict::Doubted;
        match verdict {
            TrafficVerdict::Doubted | TrafficVerdict::Accepted => {}
            TrafficVerdict::Rejected { reason } => {
                self.entry.kind = TrafficKind::Rejected {
                    reason,
                    broke_at_end: false,
                    place: None,
                };
            }
            TrafficVerdict::SetAside { at, reason } => {
                let at = at.and_then(|at| usize::try_from(at).ok());
                let at = at.filter(|at| *at < self.entry.bytes.len());
                if self.marks.len() < MAX_MARKS {
                    self.marks.push((at, reason));
                    self.marks.sort_by_key(|(at, _)| *at);
                }
            }
        }
    }
}

impl Stream<Piece, Narrowing> {
    /// Takes what was observed; says whether anything of it is new.
    pub(in crate::tui) fn take(&mut self, entries: Vec<Numbered<TrafficEntry>>) -> bool {
        let next = self.entries.next_number();
        let pieces = entries
            .into_iter()
            .map(|Numbered { number, entry }| Numbered {
                number,
                entry: Piece::from(entry),
            });
        let is_new = self.entries.take(pieces.collect());
        let verdicts = self.entries.iter().rev();
        let verdicts = verdicts.take_while(|it| it.number >= next);
        let mut verdicts: Vec<_> = verdicts
            .filter_map(|it| match it.entry.entry.kind {
                TrafficKind::Judged { back, verdict } => {
                    Some((it.number.checked_sub(back)?, verdict))
                }
                _ => None,
            })
            .collect();
        verdicts.reverse();
        for (number, verdict) in verdicts {
            if let Some(piece) = self.entries.get_mut(number) {
                piece.judge(verdict);
            }
        }
        is_new
    }
}

impl Entry for Piece {
    fn holds(&self, text: &str) -> bool {
        escape(&self.entry.bytes).to_lowercase().contains(text)
    }

    fn detail(self) -> Detail {
        Detail::Traffic(self)
    }

    fn is_shown(&self) -> bool {
        !matches!(self.entry.kind, TrafficKind::Judged { .. })
    }

    /// It may be spelt out.
    fn line_end(&self) -> Option<&[u8]> {
        let is_line_end = self.entry.kind == TrafficKind::Text
            && matches!(
                &*self.entry.bytes,
                b"\n" | b"\r\n" | b"\r" | b"\\n" | b"\\n\n" | b"\\n\r\n" | b"\\r\\n"
            );
        is_line_end.then_some(&*self.entry.bytes)
    }

    fn origin(&self) -> Option<&str> {
        Some(self.entry.source.as_str())
    }
}

/// What of the traffic is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Narrowing {
    pub(crate) kinds: Kinds,
    /// That of this source alone; `None`: of all.
    pub(crate) source: Option<LinkId>,
}

/// Which kinds of pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kinds {
    All,
    Accepted,
    Text,
    Rejected,
    Sent,
}

impl Kinds {
    const ALL: [Self; 5] = [
        Self::All,
        Self::Accepted,
        Self::Text,
        Self::Rejected,
        Self::Sent,
    ];

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::All => "everything",
            Self::Accepted => "accepted frames",
            Self::Text => "ignored text",
            Self::Rejected => "rejected frames",
            Self::Sent => "what was sent",
        }
    }
}

impl Kinds {
    fn has(self, piece: &Piece) -> bool {
        let kind = piece.entry.kind;
        match self {
            Self::All => true,
            Self::Accepted => kind == TrafficKind::Accepted && !piece.is_doubted,
            Self::Text => kind == TrafficKind::Text,
            Self::Sent => kind == TrafficKind::Sent,
            Self::Rejected => {
                matches!(kind, TrafficKind::Rejected { .. }) || !piece.marks.is_empty()
            }
        }
    }
}

impl Narrowing {
    /// All of it.
    pub(super) fn none() -> Self {
        Self {
            kinds: Kinds::All,
            source: None,
        }
    }

    /// To the next one of several sources; after the last one all are shown.
    pub(in crate::tui) fn turn_source(&mut self, sources: &[LinkId]) {
        let next = match &self.source {
            None => 0,
            Some(source) => {
                let at = sources.iter().position(|it| it == source);
                at.map_or(sources.len(), |at| at + 1)
            }
        };
        self.source = sources.get(next).cloned();
    }
}

impl Choice<Piece> for Narrowing {
    fn has(&self, piece: &Piece) -> bool {
        let is_of_source = |source: &LinkId| source.name() == piece.entry.source.as_str();
        self.source.as_ref().is_none_or(is_of_source) && self.kinds.has(piece)
    }

    fn turn(&mut self, forward: bool) {
        let steps = if forward { 1 } else { Kinds::ALL.len() - 1 };
        self.kinds = Kinds::ALL[(self.kinds as usize + steps) % Kinds::ALL.len()];
    }

    fn words(&self) -> String {
        match &self.source {
            None => self.kinds.word().to_owned(),
            Some(source) => format!("{} of {}", self.kinds.word(), source.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::LinkKind;
    use crate::telemetry::Timestamp;

    fn numbered(number: u64, kind: TrafficKind, bytes: &[u8]) -> Numbered<TrafficEntry> {
        let entry = TrafficEntry {
            source: "source".into(),
            at: Timestamp(0),
            kind,
            bytes: bytes.into(),
            nodes: std::sync::Arc::default(),
        };
        Numbered { number, entry }
    }

    fn judged(number: u64, back: u64, verdict: TrafficVerdict) -> Numbered<TrafficEntry> {
        numbered(number, TrafficKind::Judged { back, verdict }, b"")
    }

    #[test]
    fn what_is_found_out_later_is_told_of_the_piece_itself() {
        let mut traffic = Stream::new(Narrowing::none());
        let reason = RejectReason::Spike;
        let frame = |number| numbered(number, TrafficKind::Accepted, b"{\"ts\":1}");
        traffic.take(vec![
            frame(4),
            frame(5),
            judged(6, 1, TrafficVerdict::Doubted),
        ]);
        assert!(traffic.entries.get(5).unwrap().is_doubted);
        let at = Some(6);
        assert!(traffic.take(vec![
            judged(7, 2, TrafficVerdict::Rejected { reason }),
            judged(8, 4, TrafficVerdict::SetAside { at: None, reason }),
            judged(9, 5, TrafficVerdict::SetAside { at, reason }),
            judged(10, 9, TrafficVerdict::Accepted),
        ]));
        let shown: Vec<_> = traffic.shown().iter().map(|it| it.number).collect();
        assert_eq!(shown, [4, 5]);
        let piece = |number| traffic.entries.get(number).unwrap();
        assert_eq!(piece(4).marks, [(None, reason), (Some(6), reason)]);
        assert!(!piece(5).is_doubted);
        assert!(Kinds::Rejected.has(piece(4)) && Kinds::Rejected.has(piece(5)));
        // The place lies behind the end: of a gateway that has gone mad.
        traffic.take(vec![judged(
            11,
            7,
            TrafficVerdict::SetAside {
                at: Some(99),
                reason,
            },
        )]);
        let places = traffic.entries.get(4).unwrap().marks.iter();
        assert!(places.filter_map(|(at, _)| *at).all(|at| at < 9));
    }

    #[test]
    fn a_line_end_belongs_to_the_line_of_its_own_source() {
        let mut traffic = Stream::new(Narrowing::none());
        let piece = |number, source: &str, kind, bytes: &[u8]| {
            let mut piece = numbered(number, kind, bytes);
            piece.entry.source = source.into();
            piece
        };
        traffic.take(vec![
            piece(0, "north", TrafficKind::Accepted, b"{\"ts\":1}"),
            piece(1, "south", TrafficKind::Accepted, b"{\"ts\":2}"),
            piece(2, "north", TrafficKind::Text, b"\r\n"),
            piece(3, "south", TrafficKind::Text, b"\n"),
        ]);
        let ends = |traffic: &Stream<Piece, Narrowing>| -> Vec<(u64, Vec<u8>)> {
            let shown = traffic.shown().into_iter();
            shown.map(|it| (it.number, it.line_end.to_vec())).collect()
        };
        assert_eq!(ends(&traffic), [(0, b"\r\n".to_vec()), (1, b"\n".to_vec())]);

        let sources = ["north", "south"].map(|name| LinkId::new(LinkKind::Source, name));
        let mut seen = Vec::new();
        for _ in 0..3 {
            traffic.choice.turn_source(&sources);
            seen.push((traffic.choice.words(), ends(&traffic).len()));
        }
        let expected = ["everything of north", "everything of south", "everything"];
        assert_eq!(
            seen,
            expected
                .map(str::to_owned)
                .into_iter()
                .zip([1, 1, 2])
                .collect::<Vec<_>>()
        );
    }
}
