//! Small pieces that the pages are made of. All of them are pure.

mod bytes;
mod figures;
mod gauge;
mod number;
mod sparkline;
mod text;

pub(super) use bytes::{dump, hex};
pub(super) use figures::figures;
pub(super) use gauge::gauge;
pub(super) use number::{
    aligned, bytes, count, duration, gap, percent, rate, short_count, span, time_of_day,
    time_of_minute,
};
pub(super) use sparkline::sparkline;
pub(super) use text::{cut, cut_front, fitted, fitted_name, fitting, width, wrap};

pub(super) use crate::escape::{escape, escape_text};
