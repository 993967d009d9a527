//! Where in a frame readings stand, by the keys of the wire.

use std::borrow::Cow;

/// What a board says of its radio and of itself: the key on the wire, and the name of the node that it
/// stands for.
pub const OWN_FIGURES: [(&str, &str); 2] = [("sig", "signal"), ("sts", "stats")];

/// The keys in some bytes that are about readings, also where the bytes are no whole frame.
pub(super) fn keys_in(bytes: &[u8]) -> impl Iterator<Item = &str> {
    let texts = bytes.split(|byte| *byte == b'"');
    let keys = texts.filter_map(|text| std::str::from_utf8(text).ok());
    keys.filter(|key| Group::of(key).is_some())
}

/// Whether bytes that broke off were telemetry, rather than braces in a line of text: they have a key
/// of it, or too few bytes to have one.
pub fn looks_like_telemetry(bytes: &[u8]) -> bool {
    const ENOUGH: usize = 6;
    let has = |key: &[u8]| bytes.windows(key.len()).any(|window| window == key);
    let is_short = bytes.len() < ENOUGH && bytes.starts_with(b"{\"");
    is_short || has(b"\"ts\"") || has(b"\"id\"") || keys_in(bytes).next().is_some()
}

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
    /// Whether it is not what a board says of its radio and of itself.
    pub(super) fn is_of_a_node(self) -> bool {
        matches!(self, Self::Node | Self::Own)
    }

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

/// What a node is called that nobody named: `node1` for `n1`, and `signal` and `stats` for the board's own figures.
/// Any other text is no key, and stays as it is.
pub fn default_node_name(key: &str) -> String {
    match Group::of(key) {
        Some(Group::Node) => key.replacen('n', "node", 1),
        Some(Group::Signal) => OWN_FIGURES[0].1.to_owned(),
        Some(Group::Stats) => OWN_FIGURES[1].1.to_owned(),
        Some(Group::Own) | None => key.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_of_a_log_are_told_from_frames_that_broke_off() {
        let broken: [&[u8]; 6] = [
            br#"{"ts":12000,"id":"N2","n1":{"t":27.6,"#,
            br#"{"us":12000,"id":"N2","n1":{"#,
            br#"{"n1":{"t":2"#,
            b"{\"\xffs\":1,\"n12\":{",
            b"{\"t",
            b"{\"",
        ];
        assert!(broken.iter().all(|bytes| looks_like_telemetry(bytes)));
        let braces = [
            "{idle}",
            r#"{"state": idle"#,
            r#"{"frequency":868.1, sf7"#,
            r#"{"name":"n","nx":{1"#,
            "{ 12",
        ];
        for text in braces {
            assert!(!looks_like_telemetry(text.as_bytes()), "{text}");
        }
    }
}
