//! The configuration: its types, where it comes from, and what is wrong with it.

mod types;

pub use types::*;
