//! The bindings themselves, table by table.

use crossterm::event::KeyCode;

use super::{Binding, Key};
use crate::monitor::{LinkKind, Order};
use crate::tui::action::{Action, Choice, Direction, Page};

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
pub(super) static EVERYWHERE: &[Binding] = &[
    bind(
        &[control('c')],
        Action::Interrupt,
        "",
        "stop without a question; again: at once",
    ),
    bind(
        &[control('z')],
        Action::Suspend,
        "",
        "suspend this program; fg brings it back",
    ),
    bind(&[control('l')], Action::Repaint, "", "draw the screen anew"),
];

/// On every page.
pub(super) static PAGES: &[Binding] = &[
    bind(
        &[char('1')],
        Action::Show(Page::Overview),
        "",
        "the page Overview",
    ),
    bind(
        &[char('2')],
        Action::Show(Page::Nodes),
        "",
        "the page Nodes",
    ),
    bind(
        &[char('3')],
        Action::Show(Page::Charts),
        "",
        "the page Charts",
    ),
    bind(
        &[char('4')],
        Action::Show(Page::Traffic),
        "",
        "the page Traffic",
    ),
    bind(&[char('5')], Action::Show(Page::Log), "", "the page Log"),
    bind(
        &[char('6')],
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
        "stop; again: at once. A gateway elsewhere goes on",
    ),
    bind(&[char('?')], Action::Help, "help", "this help"),
    bind(
        &[char('!')],
        Action::Problems,
        "problems",
        "what is wrong, and what to do about it",
    ),
    bind(
        &[char(' ')],
        Action::Freeze,
        "freeze",
        "freeze the display, not the gateway; again: go on",
    ),
    bind(
        &[char('f')],
        Action::Operate(Order::Flush),
        "flush",
        "send what waits now, without a full batch",
    ),
    bind(
        &[char('r')],
        Action::Operate(Order::Reconnect),
        "reconnect",
        "end a link's pause, or connect it anew",
    ),
    bind(
        &[char('H')],
        Action::Operate(Order::Hold),
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
    Action::Operate(Order::Hold),
    "hold",
    "take a link down on purpose, or release it",
);

pub(super) static OVERVIEW: &[Binding] = &[
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
        &[char('v')],
        Action::TurnTable,
        "by node",
        "the table: a row for each node, or for each metric",
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

/// A node's row, or the node that is looked into.
const WALK_TEST: Binding = bind(
    &[char('t')],
    Action::Walk,
    "walk test",
    "walk with it: how it is received, in large figures",
);

pub(super) static NODES: &[Binding] = &[
    bind(
        &[ENTER],
        Action::Open,
        "open",
        "its charts, its signal, its last frames and events",
    ),
    WALK_TEST,
    bind(
        &[char('/')],
        Action::Filter,
        "filter",
        "show the nodes whose names hold a text",
    ),
    HOLD,
];

pub(super) static NODE: &[Binding] = &[WALK_TEST, LONGER, SHORTER, BACK_IN_TIME, ON_IN_TIME];

pub(super) static WALK: &[Binding] = &[
    bind(&[char('t')], Action::Walk, "end", "end the walk"),
    bind(
        &[char('b')],
        Action::Bell,
        "bell",
        "ring for each packet, or be silent again",
    ),
    bind(
        &[key(KeyCode::Left), char('h')],
        Action::Move(Direction::Left),
        "SF",
        "the margin by a smaller spreading factor",
    ),
    bind(
        &[key(KeyCode::Right), char('l')],
        Action::Move(Direction::Right),
        "",
        "the margin by a larger spreading factor",
    ),
];

const LONGER: Binding = bind(
    &[char('+'), char('=')],
    Action::Longer,
    "longer",
    "show more time, up to 24 h",
);

const SHORTER: Binding = bind(
    &[char('-')],
    Action::Shorter,
    "shorter",
    "show less time, down to 5 min",
);

const BACK_IN_TIME: Binding = bind(
    &[key(KeyCode::Left), char('h')],
    Action::Move(Direction::Left),
    "cursor",
    "move the cursor back in time",
);

const ON_IN_TIME: Binding = bind(
    &[key(KeyCode::Right), char('l')],
    Action::Move(Direction::Right),
    "",
    "move the cursor on in time",
);

pub(super) static CHARTS: &[Binding] = &[
    LONGER,
    SHORTER,
    BACK_IN_TIME,
    ON_IN_TIME,
    bind(
        &[char('c')],
        Action::Pick,
        "",
        "take the first metric out of the charts",
    ),
];

const HEX: Binding = bind(
    &[char('x')],
    Action::Hex,
    "hex",
    "bytes as hexadecimal digits, or as text again",
);

pub(super) static TRAFFIC: &[Binding] = &[
    HOLD,
    bind(
        &[char('w')],
        Action::Record,
        "record",
        "begin or end recording the raw stream to a file",
    ),
    bind(
        &[char('i')],
        Action::Send,
        "send",
        "type a line and send it to the source",
    ),
    bind(
        &[char('R')],
        Action::Reset,
        "reset",
        "reset the board, as source.reset says",
    ),
    bind(
        &[char('s')],
        Action::TurnSource,
        "source",
        "of several sources show the next one alone, or all",
    ),
    bind(
        &[ENTER],
        Action::Open,
        "open",
        "show the whole piece with all its bytes",
    ),
    HEX,
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
        "the kind before: all, accepted, text, …",
    ),
    bind(
        &[key(KeyCode::Right), char('l')],
        Action::Move(Direction::Right),
        "kind",
        "the next kind: all, accepted, text, rejected, sent",
    ),
];

pub(super) static LOG: &[Binding] = &[
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

pub(super) static DELIVERY: &[Binding] = &[
    HOLD,
    bind(&[ENTER], Action::Open, "open", "show the whole delivery"),
    bind(
        &[char('/')],
        Action::Filter,
        "filter",
        "show the deliveries that hold a text",
    ),
];

pub(super) static FILTER: &[Binding] = &[
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

pub(super) static SEND: &[Binding] = &[
    bind(&[ENTER], Action::Submit, "send", "send the line"),
    bind(&[ESCAPE], Action::Back, "close", "send nothing"),
    bind(
        &[key(KeyCode::Up)],
        Action::Move(Direction::Up),
        "line before",
        "the line that was sent before",
    ),
    bind(
        &[key(KeyCode::Down)],
        Action::Move(Direction::Down),
        "",
        "the line that was sent after it",
    ),
    bind(
        &[key(KeyCode::Left), control('b')],
        Action::Move(Direction::Left),
        "",
        "a character back",
    ),
    bind(
        &[key(KeyCode::Right), control('f')],
        Action::Move(Direction::Right),
        "",
        "a character on",
    ),
    bind(
        &[key(KeyCode::Home), control('a')],
        Action::Move(Direction::First),
        "",
        "to the beginning of the line",
    ),
    bind(
        &[key(KeyCode::End), control('e')],
        Action::Move(Direction::Last),
        "",
        "to the end of the line",
    ),
    bind(
        &[key(KeyCode::Backspace)],
        Action::Erase,
        "",
        "take a character away",
    ),
    bind(
        &[key(KeyCode::Delete), control('d')],
        Action::Delete,
        "",
        "take the next character away",
    ),
    bind(
        &[control('u')],
        Action::EraseAll,
        "",
        "take all characters away",
    ),
];

const SOURCE: Binding = bind(
    &[char('s')],
    Action::Choose(Choice::Kind(LinkKind::Source)),
    "source",
    "the source",
);

const MQTT: Binding = bind(
    &[char('m')],
    Action::Choose(Choice::Kind(LinkKind::Mqtt)),
    "MQTT",
    "the MQTT broker",
);

const INFLUXDB: Binding = bind(
    &[char('i')],
    Action::Choose(Choice::Kind(LinkKind::Influxdb)),
    "InfluxDB",
    "InfluxDB",
);

const ALL_LINKS: Binding = bind(
    &[char('a')],
    Action::Choose(Choice::All),
    "all",
    "all of them",
);

const NO_LINK: Binding = bind(&[ESCAPE], Action::Back, "none", "none of them");

pub(super) static WHICH_LINK: &[Binding] = &[SOURCE, MQTT, INFLUXDB, ALL_LINKS, NO_LINK];

/// The source has nothing to flush.
pub(super) static WHICH_SINK: &[Binding] = &[MQTT, INFLUXDB, ALL_LINKS, NO_LINK];

const fn numbered(keys: &'static [Key], number: usize) -> Binding {
    let action = Action::Choose(Choice::Number(number));
    bind(keys, action, "", "the one with this number")
}

/// Of several links of one kind, beside one of them.
pub(super) static WHICH_ONE: &[Binding] = &[ALL_LINKS];

/// One of several links of one kind.
pub(super) static WHICH_SOURCE: &[Binding] = &[
    numbered(&[char('1')], 1),
    numbered(&[char('2')], 2),
    numbered(&[char('3')], 3),
    numbered(&[char('4')], 4),
    numbered(&[char('5')], 5),
    numbered(&[char('6')], 6),
    numbered(&[char('7')], 7),
    numbered(&[char('8')], 8),
    numbered(&[char('9')], 9),
    NO_LINK,
];

pub(super) static CONFIRM: &[Binding] = &[
    bind(&[char('y')], Action::Confirm(true), "yes", "yes"),
    bind(&[char('n'), ESCAPE], Action::Confirm(false), "no", "no"),
];

pub(super) static DETAIL: &[Binding] = &[
    bind(
        &[ESCAPE, ENTER, char('q')],
        Action::Back,
        "back",
        "back to the page",
    ),
    // Of use to what arrived alone, so that the footer does not name it.
    bind(
        &[char('x')],
        Action::Hex,
        "",
        "bytes as hexadecimal digits, or as text again",
    ),
    bind(&[char('?')], Action::Help, "help", "this help"),
];

pub(super) static PROBLEMS: &[Binding] = &[
    bind(
        &[ESCAPE, char('q'), char('!')],
        Action::Back,
        "back",
        "back to the page",
    ),
    bind(
        &[ENTER],
        Action::Open,
        "go there",
        "to the page that it is about",
    ),
];

pub(super) static HELP: &[Binding] = &[bind(
    &[ESCAPE, ENTER, char('q'), char('?')],
    Action::Back,
    "back",
    "back to the page",
)];

/// Where several gateways are listed.
pub(super) static FLEET: &[Binding] = &[
    bind(
        &[char('q'), ESCAPE],
        Action::Quit,
        "quit",
        "leave; the gateways go on",
    ),
    bind(
        &[ENTER],
        Action::Open,
        "open",
        "look into the gateway; Esc comes back",
    ),
];

/// In what lies over a page and need not fit.
pub(super) static SCROLL: &[Binding] = &[
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
    bind(
        &[key(KeyCode::PageUp), key(KeyCode::Home), char('g')],
        Action::Move(Direction::First),
        "",
        "to its beginning",
    ),
    bind(
        &[key(KeyCode::PageDown), key(KeyCode::End), char('G')],
        Action::Move(Direction::Last),
        "",
        "to its end",
    ),
];
