//! Where in a frame something stands.

/// Where the value of a reading begins, by its keys on the wire; `None`: there is none, or its key is
/// written in another way.
pub(super) fn place_of_value(frame: &[u8], node: &str, metric: &str) -> Option<usize> {
    let mut depth = 0_usize;
    let mut is_inside = false;
    let mut at = 0;
    while let Some(byte) = frame.get(at) {
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.checked_sub(1)?,
            b'"' => {
                let end = end_of_text(frame, at)?;
                let key = frame.get(at + 1..end - 1)?;
                if let Some(value) = value_behind(frame, end) {
                    if depth == 1 {
                        is_inside = key == node.as_bytes();
                    } else if depth == 2 && is_inside && key == metric.as_bytes() {
                        return Some(value);
                    }
                }
                at = end - 1;
            }
            _ => {}
        }
        at += 1;
    }
    None
}

/// Where the value of a field begins, by its key or the last part of one that was joined; `None`: it is
/// written in another way.
pub(super) fn place_of_field(frame: &[u8], key: &str) -> Option<usize> {
    let parts = key.match_indices('_').map(|(at, _)| &key[at + 1..]);
    std::iter::once(key).chain(parts).find_map(|key| {
        let is_key = |window: &[u8]| !key.is_empty() && window == key.as_bytes();
        let mut found = frame.windows(key.len().max(1)).enumerate();
        found.find_map(|(at, window)| {
            let before = at.checked_sub(1).and_then(|before| frame.get(before));
            let is_whole = before.is_none_or(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_');
            let rest = frame.get(at + key.len()..)?;
            let rest = rest.strip_prefix(b"\"").unwrap_or(rest).trim_ascii_start();
            let value = rest.strip_prefix(b":").or(rest.strip_prefix(b"="))?;
            let value = value.trim_ascii_start();
            (is_key(window) && is_whole).then(|| frame.len() - value.len())
        })
    })
}

/// The place behind the string that begins at `start`.
fn end_of_text(bytes: &[u8], start: usize) -> Option<usize> {
    let mut is_escaped = false;
    let length = bytes.get(start + 1..)?.iter().position(|byte| {
        let is_end = *byte == b'"' && !is_escaped;
        is_escaped = *byte == b'\\' && !is_escaped;
        is_end
    })?;
    Some(start + length + 2)
}

/// Where the value begins whose key ends at `end`; `None`: it is no key.
fn value_behind(bytes: &[u8], end: usize) -> Option<usize> {
    let rest = bytes.get(end..)?;
    let colon = rest.iter().position(|byte| !byte.is_ascii_whitespace())?;
    if rest.get(colon) != Some(&b':') {
        return None;
    }
    let is_value = |byte: &u8| !byte.is_ascii_whitespace();
    Some(end + colon + 1 + rest.get(colon + 1..)?.iter().position(is_value)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_a_field_is_found_in_every_format() {
        let rest = |frame: &'static str, key| {
            let at = place_of_field(frame.as_bytes(), key)?;
            Some(&frame[at..])
        };
        assert_eq!(
            rest(r#"{"out":{"t": 1},"t":2}"#, "out_t"),
            Some("1},\"t\":2}")
        );
        assert_eq!(rest("attemp:1,temp: 2", "temp"), Some("2"));
        assert_eq!(rest("temp,x=temp temp=3", "temp"), Some("3"));
        assert_eq!(rest("22.5 40", "temp"), None);
    }

    #[test]
    fn the_place_of_a_value_is_found_by_its_keys() {
        let frame = br#"{"ts":1,"id":"{\"n1","x":["t"],"n2":{"t":1},"n1":{"h":"t","t" : 27.6}}"#;
        let rest = |node, metric| {
            let at = place_of_value(frame, node, metric)?;
            Some(String::from_utf8_lossy(&frame[at..]).into_owned())
        };
        assert_eq!(rest("n1", "t").as_deref(), Some("27.6}}"));
        assert_eq!(
            rest("n2", "t").as_deref(),
            Some(r#"1},"n1":{"h":"t","t" : 27.6}}"#)
        );
        assert_eq!(rest("n1", "p"), None);
        assert_eq!(rest("n3", "t"), None);
        for end in 0..frame.len() {
            place_of_value(&frame[..end], "n1", "t");
        }
    }
}
