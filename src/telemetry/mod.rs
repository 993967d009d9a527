//! From bytes to packets: pure code without any I/O and without anything else of the crate.

mod calibration;
mod catalogue;
mod choice;
mod clock;
mod decoded;
mod decoder;
mod device_class;
mod format;
mod frame;
mod frame_judge;
mod framer;
mod group;
mod hearing;
mod losses;
mod metrics;
mod non_numbers;
mod packet;
mod place;
mod quality;
mod reading;
mod reading_judge;
mod reject;
mod set_aside;
mod spikes;
mod waiting;

pub use calibration::{Calibration, Correction};
pub use catalogue::{Catalogue, NodeId, SeriesId};
pub use choice::{Choice, Pattern};
pub use clock::{
    ClockEvent, ClockWatch, Clocks, Dated, Received, RecordedSpan, RecordedTimes, Stamp, TimeNote,
    TimeShift, Timed, Timeline, checksum,
};
pub use decoded::{Decoded, FrameTime};
pub use decoder::{Decoder, LeftOut};
pub use device_class::DeviceClass;
pub use format::{
    Format, MEASUREMENT, NodeRule, PRESETS, Preset, Proposal, Rules, TIMESTAMP, TimeKind, TimeRule,
    Value, learn, line_protocol,
};
pub use frame::Frame;
pub use frame_judge::{Counts, FrameJudge, Verdict};
pub use framer::{Beginning, Framer, MAX_FRAME, Segment};
pub use group::{OWN_FIGURES, default_node_name, looks_like_telemetry};
pub use hearing::{Hearing, Remote, Signal};
pub use losses::Losses;
pub use metrics::{MetricInfo, MetricTable, Range};
pub use packet::{Packet, Timestamp};
pub use quality::{FrameNumber, LineQuality, Turn};
pub use reading::{Name, Reading, ShortestValue, is_mqtt_char, is_safe};
pub use reading_judge::{Decisions, ReadingJudge};
pub use reject::RejectReason;
pub use set_aside::{KnownName, Mark, SetAside};
