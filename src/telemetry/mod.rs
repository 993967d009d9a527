//! From bytes to packets: pure code without any I/O and without anything else of the crate.

mod clock;
mod decoder;
mod framer;
mod loss;
mod metrics;
mod packet;
mod reading;
mod reject;
mod set_aside;

pub use clock::{
    ClockEvent, ClockWatch, Clocks, Received, RecordedSpan, RecordedTimes, Stamp, TimeNote, Timed,
    Timeline,
};
pub use decoder::{Decoded, Decoder, OWN_FIGURES};
pub use framer::{Framer, MAX_FRAME, Segment};
pub use loss::LossCounter;
pub use metrics::{MetricInfo, MetricTable};
pub use packet::{Packet, Timestamp};
pub use reading::{Name, Reading, ShortestValue, is_mqtt_char, is_safe};
pub use reject::RejectReason;
pub use set_aside::{KnownName, SetAside};
