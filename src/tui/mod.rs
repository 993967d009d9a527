//! The screen: shows a gateway through an [`Observer`](crate::monitor::Observer) and gives it
//! commands, be it in this process or elsewhere.
//!
//! ```text
//! keys, mouse → keymap → Action ┐
//! what is seen of the gateway ──┼→ update → State → views → frame
//! time ─────────────────────────┘     └→ Effect → gateway, terminal
//! ```
//!
//! Everything between the terminal and the gateway is pure: the state changes in `update` and is
//! drawn by `views`, and neither does any I/O. A module uses only those before it in this order:
//! `action` < `layout`, `words` < `state` < `keymap` < `views` < `update` < `console`, `terminal` < `vacancy`,
//! `runner`.

mod action;
mod console;
mod keymap;
mod layout;
mod runner;
mod state;
mod terminal;
#[cfg(test)]
mod testing;
mod theme;
mod update;
mod vacancy;
mod views;
mod widgets;
mod words;

pub use runner::{Control, Ended, Picture, Screen};
pub use state::Guide;
pub use terminal::outlive_the_background;
pub use theme::{Depth, Theme};
pub use vacancy::is_vacant;
