//! How everything looks: the only place that knows colours and glyphs.

use ratatui::style::{Color, Modifier, Style};

use crate::config::{self, TuiGlyphs, TuiTheme};

/// How many colours the terminal shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// None: bold, dim and reversed text alone.
    Monochrome,
    /// The 16 that the user chose for the terminal.
    Ansi16,
    /// 256 fixed ones.
    Ansi256,
}

/// What a piece of text is, by which it gets its style.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// What is read.
    Text,
    /// What is beside it: labels, units, frames.
    Dim,
    /// Headings.
    Title,
    /// What can be chosen, and what the operator did.
    Accent,
    /// All is well.
    Good,
    /// Something is tried again, or old.
    Warn,
    /// Something is lost, refused or beyond its limits.
    Bad,
    /// The line that keys act on.
    Selected,
    /// One of the lines of a chart.
    Series(usize),
}

/// Lines of a chart that are told apart by colour.
pub(super) const SERIES: usize = 6;

/// dark 256, light 256, 16 colours on dark, 16 colours on light
type Shades = (u8, u8, Color, Color);

const ACCENT: Shades = (81, 25, Color::Cyan, Color::Blue);
const GOOD: Shades = (114, 28, Color::Green, Color::Green);
const WARN: Shades = (221, 130, Color::Yellow, Color::Magenta);
const BAD: Shades = (210, 160, Color::LightRed, Color::Red);
const DIM: Shades = (246, 241, Color::Gray, Color::DarkGray);
const SELECTED: Shades = (237, 253, Color::DarkGray, Color::Gray);
const SERIES_SHADES: [Shades; SERIES] = [
    ACCENT,
    WARN,
    GOOD,
    (176, 91, Color::Magenta, Color::Magenta),
    (216, 94, Color::LightYellow, Color::Red),
    (152, 23, Color::LightBlue, Color::DarkGray),
];

/// Colours and glyphs for one terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Theme {
    is_light: bool,
    depth: Depth,
    /// Whether anything but ASCII would come out as garbage.
    pub ascii: bool,
}

impl Theme {
    /// Dark or light, with so many colours.
    pub fn new(is_light: bool, depth: Depth, ascii: bool) -> Self {
        Self {
            is_light,
            depth,
            ascii,
        }
    }

    /// As configured, and else what the environment says of the terminal.
    pub fn detect(config: config::Tui, variable: impl Fn(&str) -> Option<String>) -> Self {
        let is_light = match config.theme {
            TuiTheme::Dark => false,
            TuiTheme::Light => true,
            TuiTheme::Auto => has_light_background(variable("COLORFGBG").as_deref()),
        };
        let ascii = match config.glyphs {
            TuiGlyphs::Unicode => false,
            TuiGlyphs::Ascii => true,
            TuiGlyphs::Auto => !is_utf8(&variable),
        };
        Self::new(is_light, depth(&variable), ascii)
    }

    /// The style of a role.
    pub fn style(self, role: Role) -> Style {
        let style = Style::new();
        match role {
            Role::Text => style,
            Role::Dim => match self.depth {
                Depth::Monochrome => style.add_modifier(Modifier::DIM),
                Depth::Ansi16 | Depth::Ansi256 => self.foreground(DIM),
            },
            Role::Title => style.add_modifier(Modifier::BOLD),
            Role::Accent => self.foreground(ACCENT).add_modifier(Modifier::BOLD),
            Role::Good => self.foreground(GOOD),
            Role::Warn => self.foreground(WARN).add_modifier(Modifier::BOLD),
            Role::Bad => self.foreground(BAD).add_modifier(Modifier::BOLD),
            Role::Selected => match self.depth {
                Depth::Monochrome => style.add_modifier(Modifier::REVERSED),
                Depth::Ansi16 | Depth::Ansi256 => style.bg(self.shade(SELECTED)),
            },
            Role::Series(number) => self.foreground(SERIES_SHADES[number % SERIES]),
        }
    }

    fn foreground(self, shades: Shades) -> Style {
        match self.depth {
            Depth::Monochrome => Style::new(),
            Depth::Ansi16 | Depth::Ansi256 => Style::new().fg(self.shade(shades)),
        }
    }

    fn shade(self, (dark, light, dark16, light16): Shades) -> Color {
        match (self.depth, self.is_light) {
            (Depth::Ansi256, false) => Color::Indexed(dark),
            (Depth::Ansi256, true) => Color::Indexed(light),
            (_, false) => dark16,
            (_, true) => light16,
        }
    }

    /// What stands for a character where only ASCII can be shown.
    pub fn ascii_of(symbol: &str) -> &'static str {
        let Some(character) = symbol.chars().next() else {
            return " ";
        };
        match character {
            '─' | '━' | '═' | '╌' | '–' | '—' | '▃' | '▄' => "-",
            '│' | '┃' | '║' | '┆' => "|",
            '┌' | '┐' | '└' | '┘' | '├' | '┤' | '┬' | '┴' | '┼' | '✓' | 'Δ' => {
                "+"
            }
            '▶' | '▸' | '→' | '›' => ">",
            '◀' | '◂' | '←' | '‹' => "<",
            '▲' | '↑' => "^",
            '▼' | '↓' => "v",
            '…' => "~",
            '●' => "*",
            '○' | '◌' | '°' => "o",
            '↻' => "@",
            '✖' | '×' => "x",
            '◐' => "%",
            '‖' | '▅' | '▆' => "=",
            '▀' => "\"",
            '■' | '▇' | '█' => "#",
            '·' | '•' | '░' | '▏' | '▎' | '▍' => ".",
            '▌' | '▋' | '▊' | '▉' => ":",
            '▁' | '▂' => "_",
            'Ω' => "O",
            'µ' | 'μ' => "u",
            '\u{2800}'..='\u{28ff}' => match (u32::from(character) & 0xff).count_ones() {
                0 => " ",
                1..=3 => ".",
                4..=6 => ":",
                _ => "#",
            },
            _ => "?",
        }
    }
}

/// `COLORFGBG` is `foreground;background`; 7 and 9 to 15 are light ones.
fn has_light_background(value: Option<&str>) -> bool {
    value
        .and_then(|value| value.rsplit(';').next())
        .and_then(|background| background.parse::<u8>().ok())
        .is_some_and(|background| matches!(background, 7 | 9..=15))
}

/// The first of the three that is set and not empty decides, as for every program.
fn is_utf8(variable: &impl Fn(&str) -> Option<String>) -> bool {
    ["LC_ALL", "LC_CTYPE", "LANG"]
        .into_iter()
        .filter_map(variable)
        .find(|value| !value.is_empty())
        .is_some_and(|value| {
            let value = value.to_ascii_lowercase();
            value.contains("utf-8") || value.contains("utf8")
        })
}

fn depth(variable: &impl Fn(&str) -> Option<String>) -> Depth {
    if variable("NO_COLOR").is_some_and(|value| !value.is_empty()) {
        return Depth::Monochrome;
    }
    let terminal = variable("TERM").unwrap_or_default();
    let colours = variable("COLORTERM").unwrap_or_default();
    let is_rich = terminal.contains("256color")
        || terminal.contains("direct")
        || matches!(colours.as_str(), "truecolor" | "24bit");
    if is_rich {
        Depth::Ansi256
    } else if matches!(terminal.as_str(), "vt100" | "vt102" | "vt220" | "vt320") {
        Depth::Monochrome
    } else {
        Depth::Ansi16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detect(theme: TuiTheme, glyphs: TuiGlyphs, variables: &[(&str, &str)]) -> Theme {
        Theme::detect(config::Tui { theme, glyphs }, |name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn the_environment_decides_what_is_not_configured() {
        use Depth::{Ansi16, Ansi256, Monochrome};
        for (variables, is_light, depth, ascii) in [
            (&[][..], false, Ansi16, true),
            (
                &[("LANG", "de_DE.UTF-8"), ("TERM", "xterm")],
                false,
                Ansi16,
                false,
            ),
            (
                &[("LANG", "C.utf8"), ("TERM", "xterm-256color")],
                false,
                Ansi256,
                false,
            ),
            (
                &[("LANG", "en_US.UTF-8"), ("LC_ALL", "C")],
                false,
                Ansi16,
                true,
            ),
            (
                &[("LC_ALL", ""), ("LANG", "C.UTF-8"), ("COLORFGBG", "0;15")],
                true,
                Ansi16,
                false,
            ),
            (
                &[("COLORTERM", "truecolor"), ("COLORFGBG", "15;0")],
                false,
                Ansi256,
                true,
            ),
            (
                &[("COLORTERM", "truecolor"), ("NO_COLOR", "1")],
                false,
                Monochrome,
                true,
            ),
            (
                &[("NO_COLOR", ""), ("TERM", "vt100")],
                false,
                Monochrome,
                true,
            ),
        ] {
            assert_eq!(
                detect(TuiTheme::Auto, TuiGlyphs::Auto, variables),
                Theme::new(is_light, depth, ascii),
                "{variables:?}"
            );
        }
    }

    #[test]
    fn the_configuration_wins() {
        let variables = [("LANG", "C.UTF-8"), ("COLORFGBG", "0;15")];
        let theme = detect(TuiTheme::Dark, TuiGlyphs::Ascii, &variables);
        assert_eq!(theme, Theme::new(false, Depth::Ansi16, true));
        let theme = detect(TuiTheme::Light, TuiGlyphs::Unicode, &[]);
        assert_eq!(theme, Theme::new(true, Depth::Ansi16, false));
    }

    #[test]
    fn without_colours_no_role_has_one() {
        let theme = Theme::new(false, Depth::Monochrome, false);
        for role in [
            Role::Dim,
            Role::Accent,
            Role::Good,
            Role::Warn,
            Role::Bad,
            Role::Selected,
            Role::Series(1),
        ] {
            let style = theme.style(role);
            assert_eq!((style.fg, style.bg), (None, None), "{role:?}");
        }
    }
}
