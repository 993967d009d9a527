//! Which key asks for what, where. The help and the footer are drawn from these tables.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::action::{Action, Choice, Direction};
use super::state::Page;
use crate::monitor::LinkId;

/// Where keys are pressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Context {
    Page(Page),
    Filter,
    WhichLink,
    Confirm,
    Detail,
    Help,
}

/// A key with its modifiers; Shift is part of the character.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key {
    code: KeyCode,
    control: bool,
}

const fn char(character: char) -> Key {
    key(KeyCode::Char(character))
}

const fn key(code: KeyCode) -> Key {
    Key {
        code,
        control: false,
    }
}

const fn control(character: char) -> Key {
    Key {
        code: KeyCode::Char(character),
        control: true,
    }
}

impl Key {
    fn of(event: KeyEvent) -> Self {
        // Terminals differ in whether they report Shift beside a capital letter or Shift+Tab.
        Self {
            code: event.code,
            control: event.modifiers.contains(KeyModifiers::CONTROL),
        }
    }

    /// As it stands on the keyboard.
    pub(crate) fn name(self) -> String {
        let name = match self.code {
            KeyCode::Char(' ') => "Space".to_owned(),
            KeyCode::Char(character) => character.to_string(),
            KeyCode::Up => "↑".to_owned(),
            KeyCode::Down => "↓".to_owned(),
            KeyCode::Left => "←".to_owned(),
            KeyCode::Right => "→".to_owned(),
            KeyCode::PageUp => "PgUp".to_owned(),
            KeyCode::PageDown => "PgDn".to_owned(),
            KeyCode::BackTab => "Shift+Tab".to_owned(),
            code => format!("{code:?}"),
        };
        if self.control {
            format!("Ctrl+{}", name.to_uppercase())
        } else {
            name
        }
    }
}

/// Some keys that ask for the same.
#[derive(Debug)]
pub(crate) struct Binding {
    pub(crate) keys: &'static [Key],
    pub(crate) action: Action,
    /// For the help.
    pub(crate) help: &'static str,
    /// For the footer; empty: not shown there.
    pub(crate) short: &'static str,
}

const fn bind(
    keys: &'static [Key],
    action: Action,
    short: &'static str,
    help: &'static str,
) -> Binding {
    Binding {
        keys,
        action,
        help,
        short,
    }
}

const ENTER: Key = key(KeyCode::Enter);
const ESCAPE: Key = key(KeyCode::Esc);

/// Wherever keys are pressed.
static EVERYWHERE: &[Binding] = &[
    bind(
        &[control('c')],
        Action::Interrupt,
        "",
        "stop the gateway without a question; again: at once",
    ),
    bind(
        &[control('z')],
        Action::Suspend,
        "",
        "suspend the gateway; fg brings it back",
    ),
    bind(&[control('l')], Action::Repaint, "", "draw the screen anew"),
];

/// On every page.
static PAGES: &[Binding] = &[
    bind(
        &[char('1')],
        Action::Show(Page::Overview),
        "",
        "the page Overview",
    ),
    bind(
        &[char('2')],
        Action::Show(Page::Charts),
        "",
        "the page Charts",
    ),
    bind(
        &[char('3')],
        Action::Show(Page::Traffic),
        "",
        "the page Traffic",
    ),
    bind(&[char('4')], Action::Show(Page::Log), "", "the page Log"),
    bind(
        &[char('5')],
        Action::Show(Page::Delivery),
        "",
        "the page Delivery",
    ),
    bind(&[key(KeyCode::Tab)], Action::NextPage, "", "the next page"),
    bind(
        &[key(KeyCode::BackTab)],
        Action::PreviousPage,
        "",
        "the previous page",
    ),
    bind(
        &[char('q')],
        Action::Quit,
        "quit",
        "stop the gateway; again: at once",
    ),
    bind(&[char('?')], Action::Help, "help", "this help"),
    bind(
        &[char(' ')],
        Action::Freeze,
        "freeze",
        "freeze the display, or go on; the gateway goes on",
    ),
    bind(
        &[char('f')],
        Action::Flush,
        "flush",
        "send what waits now, without a full batch",
    ),
    bind(
        &[char('r')],
        Action::Reconnect,
        "reconnect",
        "end a link's pause, or connect it anew",
    ),
    bind(
        &[char('H')],
        Action::Hold,
        "",
        "take a link down on purpose, or release it",
    ),
    bind(
        &[ESCAPE],
        Action::Back,
        "",
        "back: out of the filter, the cursor, the choice",
    ),
    bind(
        &[key(KeyCode::Up), char('k')],
        Action::Move(Direction::Up),
        "",
        "up",
    ),
    bind(
        &[key(KeyCode::Down), char('j')],
        Action::Move(Direction::Down),
        "",
        "down",
    ),
    bind(
        &[key(KeyCode::PageUp), control('b')],
        Action::Move(Direction::PageUp),
        "",
        "a screen up",
    ),
    bind(
        &[key(KeyCode::PageDown), control('d')],
        Action::Move(Direction::PageDown),
        "",
        "a screen down",
    ),
    bind(
        &[key(KeyCode::Home), char('g')],
        Action::Move(Direction::First),
        "",
        "to the first",
    ),
    bind(
        &[key(KeyCode::End), char('G')],
        Action::Move(Direction::Last),
        "",
        "to the last",
    ),
];

/// `h` holds, except where it moves the cursor.
const HOLD: Binding = bind(
    &[char('h')],
    Action::Hold,
    "hold",
    "take a link down on purpose, or release it",
);

static OVERVIEW: &[Binding] = &[
    HOLD,
    bind(
        &[char('c')],
        Action::Pick,
        "chart",
        "take the metric into the charts, or out of them",
    ),
    bind(
        &[ENTER],
        Action::Open,
        "open",
        "open the link's details, or the metric's chart",
    ),
    bind(
        &[char('/')],
        Action::Filter,
        "filter",
        "show the metrics that hold a text",
    ),
    bind(
        &[key(KeyCode::Left)],
        Action::Move(Direction::Left),
        "",
        "to the link at the left",
    ),
    bind(
        &[key(KeyCode::Right), char('l')],
        Action::Move(Direction::Right),
        "",
        "to the link at the right",
    ),
];

static CHARTS: &[Binding] = &[
    bind(
        &[char('+'), char('=')],
        Action::Longer,
        "longer",
        "show more time, up to 24 h",
    ),
    bind(
        &[char('-')],
        Action::Shorter,
        "shorter",
        "show less time, down to 5 min",
    ),
    bind(
        &[key(KeyCode::Left), char('h')],
        Action::Move(Direction::Left),
        "cursor",
        "move the cursor back in time",
    ),
    bind(
        &[key(KeyCode::Right), char('l')],
        Action::Move(Direction::Right),
        "",
        "move the cursor on in time",
    ),
    bind(
        &[char('c')],
        Action::Pick,
        "",
        "take the first metric out of the charts",
    ),
];

static TRAFFIC: &[Binding] = &[
    HOLD,
    bind(
        &[char('w')],
        Action::Record,
        "record",
        "begin or end recording the raw stream to a file",
    ),
    bind(
        &[ENTER],
        Action::Open,
        "open",
        "show the whole piece with all its bytes",
    ),
    bind(
        &[char('/')],
        Action::Filter,
        "filter",
        "show what holds a text",
    ),
    bind(
        &[key(KeyCode::Left)],
        Action::Move(Direction::Left),
        "",
        "show the kind before: all, accepted, text, rejected",
    ),
    bind(
        &[key(KeyCode::Right), char('l')],
        Action::Move(Direction::Right),
        "kind",
        "show the next kind: all, accepted, text, rejected",
    ),
];

static LOG: &[Binding] = &[
    HOLD,
    bind(&[ENTER], Action::Open, "open", "show the whole line"),
    bind(
        &[char('/')],
        Action::Filter,
        "filter",
        "show the lines that hold a text",
    ),
    bind(
        &[key(KeyCode::Left)],
        Action::Move(Direction::Left),
        "",
        "show graver lines alone",
    ),
    bind(
        &[key(KeyCode::Right), char('l')],
        Action::Move(Direction::Right),
        "level",
        "show less grave lines as well",
    ),
];

static DELIVERY: &[Binding] = &[
    HOLD,
    bind(&[ENTER], Action::Open, "open", "show the whole delivery"),
    bind(
        &[char('/')],
        Action::Filter,
        "filter",
        "show the deliveries that hold a text",
    ),
];

static FILTER: &[Binding] = &[
    bind(&[ENTER], Action::Submit, "keep", "keep the filter"),
    bind(&[ESCAPE], Action::Back, "clear", "end without a filter"),
    bind(
        &[key(KeyCode::Backspace)],
        Action::Erase,
        "",
        "take a character away",
    ),
    bind(
        &[control('u')],
        Action::EraseAll,
        "",
        "take all characters away",
    ),
];

static WHICH_LINK: &[Binding] = &[
    bind(
        &[char('s')],
        Action::Choose(Choice::Link(LinkId::Source)),
        "source",
        "the source",
    ),
    bind(
        &[char('m')],
        Action::Choose(Choice::Link(LinkId::Mqtt)),
        "MQTT",
        "the MQTT broker",
    ),
    bind(
        &[char('i')],
        Action::Choose(Choice::Link(LinkId::Influxdb)),
        "InfluxDB",
        "InfluxDB",
    ),
    bind(
        &[char('a')],
        Action::Choose(Choice::All),
        "all",
        "all of them",
    ),
    bind(&[ESCAPE], Action::Back, "none", "none of them"),
];

static CONFIRM: &[Binding] = &[
    bind(&[char('y')], Action::Confirm(true), "yes", "yes"),
    bind(&[char('n'), ESCAPE], Action::Confirm(false), "no", "no"),
];

static DETAIL: &[Binding] = &[
    bind(
        &[ESCAPE, ENTER, char('q')],
        Action::Back,
        "back",
        "back to the page",
    ),
    bind(&[char('?')], Action::Help, "help", "this help"),
];

static HELP: &[Binding] = &[
    bind(
        &[ESCAPE, ENTER, char('q'), char('?')],
        Action::Back,
        "back",
        "back to the page",
    ),
    bind(
        &[key(KeyCode::Up), char('k')],
        Action::Move(Direction::Up),
        "",
        "up",
    ),
    bind(
        &[key(KeyCode::Down), char('j')],
        Action::Move(Direction::Down),
        "scroll",
        "down",
    ),
];

/// The tables that hold in a context, the closest first.
pub(crate) fn bindings(context: Context) -> Vec<&'static [Binding]> {
    let own = match context {
        Context::Page(Page::Overview) => OVERVIEW,
        Context::Page(Page::Charts) => CHARTS,
        Context::Page(Page::Traffic) => TRAFFIC,
        Context::Page(Page::Log) => LOG,
        Context::Page(Page::Delivery) => DELIVERY,
        Context::Filter => FILTER,
        Context::WhichLink => WHICH_LINK,
        Context::Confirm => CONFIRM,
        Context::Detail => DETAIL,
        Context::Help => HELP,
    };
    match context {
        Context::Page(_) => vec![own, PAGES, EVERYWHERE],
        _ => vec![own, EVERYWHERE],
    }
}

/// What a key asks for; `None`: nothing here.
pub(crate) fn action(context: Context, event: KeyEvent) -> Option<Action> {
    if event.modifiers.contains(KeyModifiers::ALT) {
        return None;
    }
    let pressed = Key::of(event);
    let bound = bindings(context)
        .into_iter()
        .flatten()
        .find(|binding| binding.keys.contains(&pressed));
    match (bound, pressed.code, context) {
        (Some(binding), ..) => Some(binding.action),
        (None, KeyCode::Char(character), Context::Filter) if !pressed.control => {
            Some(Action::Type(character))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTEXTS: [Context; 10] = [
        Context::Page(Page::Overview),
        Context::Page(Page::Charts),
        Context::Page(Page::Traffic),
        Context::Page(Page::Log),
        Context::Page(Page::Delivery),
        Context::Filter,
        Context::WhichLink,
        Context::Confirm,
        Context::Detail,
        Context::Help,
    ];

    #[test]
    fn no_key_means_two_things_at_once() {
        for context in CONTEXTS {
            let mut keys: Vec<Key> = Vec::new();
            for binding in bindings(context).into_iter().flatten() {
                assert!(!binding.help.is_empty() && !binding.keys.is_empty());
                for key in binding.keys {
                    assert!(!keys.contains(key), "{} in {context:?}", key.name());
                    keys.push(*key);
                }
            }
        }
    }

    #[test]
    fn every_key_does_what_its_table_says() {
        for context in CONTEXTS {
            for binding in bindings(context).into_iter().flatten() {
                for key in binding.keys {
                    let modifiers = if key.control {
                        KeyModifiers::CONTROL
                    } else {
                        KeyModifiers::NONE
                    };
                    let event = KeyEvent::new(key.code, modifiers);
                    assert_eq!(action(context, event), Some(binding.action));
                }
            }
        }
    }

    #[test]
    fn a_filter_takes_what_would_be_a_command_elsewhere() {
        let press = |context| action(context, KeyEvent::from(KeyCode::Char('q')));
        assert_eq!(press(Context::Filter), Some(Action::Type('q')));
        assert_eq!(press(Context::Page(Page::Log)), Some(Action::Quit));
        assert_eq!(press(Context::Confirm), None);
    }
}
