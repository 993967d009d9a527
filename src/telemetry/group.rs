//! Where in a frame readings stand, by the keys of the wire.

use std::borrow::Cow;

/// What a board says of its radio and of itself: the key on the wire, and the name of the node that it
/// stands for.
pub const OWN_FIGURES: [(&str, &str); 2] = [("sig", "signal"), ("sts", "stats")];

/// Where in a frame a reading stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Group {
    Node,
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
            Self::Node => Cow::Borrowed(metric),
            Self::Signal => Cow::Owned(format!("sig.{metric}")),
            Self::Stats => Cow::Owned(format!("sts.{metric}")),
        }
    }
}

/// What a node is called that nobody named: `node1` for `n1`, and `signal` and `stats` for the board's own figures.
/// Any other text is no key, and stays as it is.
pub fn default_node_name(key: &str) -> String {
    match Group::of(key) {
        Some(Group::Node) => key.replacen('n', "node", 1),
        Some(Group::Signal) => OWN_FIGURES[0].1.to_owned(),
        Some(Group::Stats) => OWN_FIGURES[1].1.to_owned(),
        None => key.to_owned(),
    }
}
