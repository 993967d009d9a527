//! `[tui]`: how the screen looks.

use crate::config::kind::one_of;
use crate::config::section::Section;

/// `[tui]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tui {
    /// Which colours.
    pub theme: TuiTheme,
    /// Which characters.
    pub glyphs: TuiGlyphs,
}

/// Which colours the terminal UI uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TuiTheme {
    /// What `COLORFGBG` says of the terminal, else dark.
    Auto,
    /// For a dark background.
    Dark,
    /// For a light background.
    Light,
}

/// Which characters the terminal UI draws with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TuiGlyphs {
    /// What `LC_ALL`, `LC_CTYPE` and `LANG` say the terminal shows.
    Auto,
    /// Lines, blocks and braille dots.
    Unicode,
    /// ASCII alone.
    Ascii,
}

/// The themes of the terminal UI by their names.
pub const TUI_THEMES: [(&str, TuiTheme); 3] = [
    ("auto", TuiTheme::Auto),
    ("dark", TuiTheme::Dark),
    ("light", TuiTheme::Light),
];

/// Reads the section.
pub(super) fn read(section: &mut Section<'_, '_>) -> Option<Tui> {
    let glyphs = &[
        ("auto", TuiGlyphs::Auto),
        ("unicode", TuiGlyphs::Unicode),
        ("ascii", TuiGlyphs::Ascii),
    ];
    let theme = section.or("theme", "auto", &one_of(&TUI_THEMES));
    let glyphs = section.or("glyphs", "auto", &one_of(glyphs));
    Some(Tui {
        theme: theme?,
        glyphs: glyphs?,
    })
}
