//! Which key asks for what, where. The help and the footer are drawn from these tables.

mod tables;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::action::{Action, Page};
use super::state::{App, Asked, Overlay};
use crate::monitor::Order;
use tables::{
    CHARTS, CONFIRM, DELIVERY, DETAIL, EVERYWHERE, FILTER, FLEET, HELP, LOG, NODE, NODES, OVERVIEW,
    PAGES, PROBLEMS, SCROLL, SEND, TRAFFIC, WALK, WHICH_LINK, WHICH_ONE, WHICH_SINK, WHICH_SOURCE,
};

/// Where keys are pressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Context {
    /// Several gateways are listed.
    Fleet,
    Page(Page),
    /// A node is looked into.
    Node,
    /// A walk with it.
    Walk,
    Filter,
    Send,
    WhichLink,
    WhichSink,
    WhichSource,
    WhichOne,
    Confirm,
    Detail,
    Help,
    Problems,
}

impl Context {
    /// Which keys hold now.
    pub(crate) fn of(app: &App) -> Self {
        match &app.overlay {
            _ if app.listed().is_some() => Self::Fleet,
            None => Self::of_page(app),
            Some(Overlay::Filter) => Self::Filter,
            Some(Overlay::Send(_)) => Self::Send,
            Some(Overlay::WhichLink {
                asked: Asked::Line | Asked::Reset,
                ..
            }) => Self::WhichSource,
            Some(Overlay::WhichLink { among: Some(_), .. }) => Self::WhichOne,
            Some(Overlay::WhichLink {
                asked: Asked::Order(Order::Flush),
                ..
            }) => Self::WhichSink,
            Some(Overlay::WhichLink { .. }) => Self::WhichLink,
            Some(Overlay::Confirm { .. }) => Self::Confirm,
            Some(Overlay::Detail { .. }) => Self::Detail,
            Some(Overlay::Help { .. }) => Self::Help,
            Some(Overlay::Problems { .. }) => Self::Problems,
        }
    }

    /// Which keys hold on the page, whatever lies over it.
    pub(crate) fn of_page(app: &App) -> Self {
        match (app.page, &app.nodes.opened, &app.nodes.walk) {
            (Page::Nodes, Some(_), Some(_)) => Self::Walk,
            (Page::Nodes, Some(_), None) => Self::Node,
            (page, ..) => Self::Page(page),
        }
    }

    /// Whether nothing lies over the page.
    pub(crate) fn is_page(self) -> bool {
        matches!(self, Self::Page(_) | Self::Node | Self::Walk)
    }
}

/// A key with its modifiers; Shift is part of the character.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key {
    code: KeyCode,
    control: bool,
}

impl Key {
    fn of(event: KeyEvent) -> Self {
        // Terminals differ in whether they report Shift beside a capital letter or Shift+Tab.
        Self {
            code: event.code,
            control: event.modifiers.contains(KeyModifiers::CONTROL),
        }
    }

    /// As it stands on the keyboard. An arrow that is drawn in ASCII would look like another key.
    pub(crate) fn name(self, is_ascii: bool) -> String {
        let name = match self.code {
            KeyCode::Char(' ') => "Space".to_owned(),
            KeyCode::Char(character) => character.to_string(),
            KeyCode::Up | KeyCode::Down | KeyCode::Left | KeyCode::Right if is_ascii => {
                format!("{:?}", self.code)
            }
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

/// The tables that hold in a context, the closest first.
pub(crate) fn bindings(context: Context) -> Vec<&'static [Binding]> {
    let own = match context {
        Context::Page(Page::Overview) => OVERVIEW,
        Context::Page(Page::Nodes) => NODES,
        Context::Node => NODE,
        Context::Walk => WALK,
        Context::Page(Page::Charts) => CHARTS,
        Context::Page(Page::Traffic) => TRAFFIC,
        Context::Page(Page::Log) => LOG,
        Context::Page(Page::Delivery) => DELIVERY,
        Context::Fleet => FLEET,
        Context::Filter => FILTER,
        Context::Send => SEND,
        Context::WhichLink => WHICH_LINK,
        Context::WhichSink => WHICH_SINK,
        Context::WhichSource => WHICH_SOURCE,
        Context::WhichOne => WHICH_ONE,
        Context::Confirm => CONFIRM,
        Context::Detail => DETAIL,
        Context::Help => HELP,
        Context::Problems => PROBLEMS,
    };
    match context {
        Context::Page(_) | Context::Node | Context::Walk => vec![own, PAGES, EVERYWHERE],
        Context::Fleet | Context::Detail | Context::Help | Context::Problems => {
            vec![own, SCROLL, EVERYWHERE]
        }
        Context::WhichOne => vec![own, WHICH_SOURCE, EVERYWHERE],
        _ => vec![own, EVERYWHERE],
    }
}

/// The keys that hold on the page, for the help.
pub(crate) fn help_of(app: &App) -> impl Iterator<Item = &'static Binding> {
    bindings(Context::of_page(app)).into_iter().flatten()
}

/// The keys that were pressed, in their order. A terminal sends Alt and a character as it sends Escape and that
/// character soon after: from a program or over a slow line they are that.
pub(crate) fn pressed(event: KeyEvent) -> impl Iterator<Item = KeyEvent> {
    let has_alt = event.modifiers.contains(KeyModifiers::ALT);
    let is_character = matches!(event.code, KeyCode::Char(_) | KeyCode::Enter | KeyCode::Tab);
    let escape = (has_alt && is_character).then(|| KeyEvent::from(KeyCode::Esc));
    let modifiers = event.modifiers.difference(KeyModifiers::ALT);
    let key = (is_character || !has_alt).then(|| KeyEvent::new(event.code, modifiers));
    escape.into_iter().chain(key)
}

/// What a key asks for; `None`: nothing here.
pub(crate) fn action(context: Context, event: KeyEvent) -> Option<Action> {
    let pressed = Key::of(event);
    let bound = bindings(context)
        .into_iter()
        .flatten()
        .find(|binding| binding.keys.contains(&pressed));
    match (bound, pressed.code, context) {
        (Some(binding), ..) => Some(binding.action),
        (None, KeyCode::Char(character), Context::Filter | Context::Send) if !pressed.control => {
            Some(Action::Type(character))
        }
        _ => None,
    }
}

/// All of them.
#[cfg(test)]
pub(crate) const CONTEXTS: [Context; 19] = [
    Context::Fleet,
    Context::Page(Page::Overview),
    Context::Page(Page::Nodes),
    Context::Node,
    Context::Walk,
    Context::Page(Page::Charts),
    Context::Page(Page::Traffic),
    Context::Page(Page::Log),
    Context::Page(Page::Delivery),
    Context::Filter,
    Context::Send,
    Context::WhichLink,
    Context::WhichSink,
    Context::WhichSource,
    Context::WhichOne,
    Context::Confirm,
    Context::Detail,
    Context::Help,
    Context::Problems,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_means_two_things_at_once() {
        for context in CONTEXTS {
            let mut keys: Vec<Key> = Vec::new();
            for binding in bindings(context).into_iter().flatten() {
                assert!(!binding.help.is_empty() && !binding.keys.is_empty());
                for key in binding.keys {
                    assert!(!keys.contains(key), "{} in {context:?}", key.name(false));
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
    fn alt_and_a_character_are_escape_and_the_character() {
        let codes = |code, modifiers| {
            let keys = pressed(KeyEvent::new(code, modifiers));
            keys.map(|key| key.code).collect::<Vec<_>>()
        };
        let digit = KeyCode::Char('5');
        assert_eq!(codes(digit, KeyModifiers::NONE), [digit]);
        assert_eq!(codes(digit, KeyModifiers::ALT), [KeyCode::Esc, digit]);
        // These are told apart by the terminal, and stand for nothing.
        assert_eq!(codes(KeyCode::Up, KeyModifiers::ALT), []);
        assert_eq!(codes(KeyCode::Up, KeyModifiers::NONE), [KeyCode::Up]);
    }

    #[test]
    fn a_filter_takes_what_would_be_a_command_elsewhere() {
        let press = |context| action(context, KeyEvent::from(KeyCode::Char('q')));
        assert_eq!(press(Context::Filter), Some(Action::Type('q')));
        assert_eq!(press(Context::Send), Some(Action::Type('q')));
        assert_eq!(press(Context::Page(Page::Log)), Some(Action::Quit));
        assert_eq!(press(Context::Confirm), None);
    }
}
