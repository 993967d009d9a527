//! Small pieces that the pages are made of. All of them are pure.

mod gauge;
mod number;
mod sparkline;
mod text;

pub(super) use gauge::gauge;
pub(super) use number::{aligned, bytes, count, duration, rate, span, time_of_day, time_of_minute};
pub(super) use sparkline::sparkline;
pub(super) use text::{cut, escape, escape_text, fitted, width};
