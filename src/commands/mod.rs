//! What the command line can ask for, one file each.

mod run;

pub use run::{RunError, run};
