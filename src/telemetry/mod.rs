//! From bytes to packets: pure code without any I/O and without anything else of the crate.

mod packet;
mod reading;
mod reject;

pub use packet::{Packet, Timestamp};
pub use reading::{Name, Reading, ShortestValue, is_safe};
pub use reject::RejectReason;
