//! The commands beside `run`, as a user calls them.
