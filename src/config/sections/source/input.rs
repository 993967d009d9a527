//! What is sent to a source: the keys that ports and programs share.

use crate::config::kind::one_of;
use crate::config::section::Section;

/// What stands behind a text that is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LineEnding {
    /// A line feed.
    #[default]
    Lf,
    /// Carriage return and line feed.
    CrLf,
    /// A carriage return.
    Cr,
    /// Nothing.
    None,
}

const LINE_ENDINGS: [(&str, LineEnding); 4] = [
    ("lf", LineEnding::Lf),
    ("crlf", LineEnding::CrLf),
    ("cr", LineEnding::Cr),
    ("none", LineEnding::None),
];

/// Reads `line_ending`.
pub(super) fn line_ending(section: &mut Section<'_, '_>) -> Option<LineEnding> {
    section.or("line_ending", "lf", &one_of(&LINE_ENDINGS))
}

impl LineEnding {
    /// Its bytes.
    pub fn bytes(self) -> &'static [u8] {
        match self {
            Self::Lf => b"\n",
            Self::CrLf => b"\r\n",
            Self::Cr => b"\r",
            Self::None => b"",
        }
    }
}
