//! The fieldgate command.

fn main() {}
