//! Where in a frame readings stand, by the keys of the wire.

use std::borrow::Cow;

/// What a board says of its radio and of itself: the key on the wire, and the name of the node that it
/// stands for.
pub const OWN_FIGURES: [(&str, &str); 2] = [("sig", "signal"), ("sts", "stats")];

/// Where in a frame a reading stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Group {
    Node,
    /// A node whose key is its name.
    Own,
    Signal,
    Stats,
}

impl Group {
    /// `None`: the key is not about readings.
    pub(super) fn of(key: &str) -> Option<Self> {
        match key.as_bytes() {
            b"sig" => Some(Self::Signal),
            b"sts" => Some(Self::Stats),
            [b'n', digits @ ..] if !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) => {
                Some(Self::Node)
            }
            _ => None,
        }
    }

    /// The key of a metric in this group, as the metric table and the configuration write it.
    pub(super) fn wire_key(self, metric: &str) -> Cow<'_, str> {
        match self {
            Self::Node | Self::Own => Cow::Borrowed(metric),
            Self::Signal => Cow::Owned(format!("sig.{metric}")),
            Self::Stats => Cow::Owned(format!("sts.{metric}")),
        }
    }
}
