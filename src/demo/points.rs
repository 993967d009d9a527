//! Line protocol, read as InfluxDB 2 reads it.

/// One field of one point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FieldValue {
    pub(super) measurement: String,
    /// As written, sorted: `node_id=node1,sensor_type=environmental`.
    pub(super) tags: String,
    pub(super) field: String,
    /// As written.
    pub(super) text: String,
    /// Nanoseconds since 1970; `None`: when it arrives.
    pub(super) time: Option<i64>,
}

/// All values of a text; the error names the first line that is wrong.
pub(super) fn parse(text: &str) -> Result<Vec<FieldValue>, String> {
    let mut values = Vec::new();
    for line in text.lines() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let parsed = parse_line(line);
        values.extend(parsed.map_err(|reason| format!("unable to parse '{line}': {reason}"))?);
    }
    Ok(values)
}

fn parse_line(line: &str) -> Result<Vec<FieldValue>, &'static str> {
    let (series, rest) = split(line, ' ').ok_or("missing fields")?;
    let (fields, time) = split(rest.trim_start(), ' ').unwrap_or((rest.trim_start(), ""));
    let time = match time.trim() {
        "" => None,
        time => Some(time.parse().map_err(|_| "bad timestamp")?),
    };
    let mut parts = parts(series).into_iter();
    let measurement = parts.next().unwrap_or_default();
    if measurement.is_empty() {
        return Err("missing measurement");
    }
    let mut tags: Vec<&str> = parts.collect();
    for tag in &tags {
        match split(tag, '=') {
            Some((key, value)) if !key.is_empty() && !value.is_empty() => {}
            _ => return Err("missing tag value"),
        }
    }
    tags.sort_unstable();
    let tags = tags.join(",");
    let value = |field: &str| {
        let (key, value) = split(field, '=').ok_or("missing field value")?;
        if key.is_empty() || !is_value(value) {
            return Err("invalid field");
        }
        Ok(FieldValue {
            measurement: measurement.to_owned(),
            tags: tags.clone(),
            field: key.to_owned(),
            text: value.to_owned(),
            time,
        })
    };
    self::parts(fields).into_iter().map(value).collect()
}

/// Before and behind the first separator that is neither escaped nor inside quotes.
fn split(text: &str, separator: char) -> Option<(&str, &str)> {
    let mut is_escaped = false;
    let mut is_quoted = false;
    for (index, c) in text.char_indices() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            // Quotes mean something in the values of fields alone.
            '"' if is_quoted || text[..index].ends_with('=') => is_quoted = !is_quoted,
            c if c == separator && !is_quoted => return Some((&text[..index], &text[index + 1..])),
            _ => {}
        }
    }
    None
}

fn parts(mut text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    while let Some((part, rest)) = split(text, ',') {
        parts.push(part);
        text = rest;
    }
    parts.push(text);
    parts
}

fn is_value(text: &str) -> bool {
    let is_text = text.len() >= 2 && text.starts_with('"') && text.ends_with('"');
    let is_boolean = matches!(
        text,
        "t" | "T" | "true" | "True" | "TRUE" | "f" | "F" | "false" | "False" | "FALSE"
    );
    let is_whole = text
        .strip_suffix('i')
        .is_some_and(|it| it.parse::<i64>().is_ok())
        || text
            .strip_suffix('u')
            .is_some_and(|it| it.parse::<u64>().is_ok());
    // Rust would take `inf` and `NaN` too.
    let is_number = text.parse::<f64>().is_ok_and(f64::is_finite)
        && text.ends_with(|c: char| c.is_ascii_digit() || c == '.');
    is_text || is_boolean || is_whole || is_number
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_gateway_writes_is_read() {
        let values = parse(
            "temperature,sensor_type=environmental,node_id=node1 value=27.6 1703174400000000000\n\
             # a comment\n\n\
             a\\ b,k\\,1=v\\ 1 x=1i,y=\"two words, \\\"quoted\\\"\" 5\nc z=t\n",
        );
        let values = values.unwrap();
        let shown: Vec<String> = values
            .iter()
            .map(|it| {
                format!(
                    "{}|{}|{}|{}|{:?}",
                    it.measurement, it.tags, it.field, it.text, it.time
                )
            })
            .collect();
        assert_eq!(
            shown,
            [
                "temperature|node_id=node1,sensor_type=environmental|value|27.6|Some(1703174400000000000)",
                "a\\ b|k\\,1=v\\ 1|x|1i|Some(5)",
                "a\\ b|k\\,1=v\\ 1|y|\"two words, \\\"quoted\\\"\"|Some(5)",
                "c||z|t|None",
            ]
        );
    }

    #[test]
    fn what_influxdb_refuses_is_refused_with_the_line() {
        for line in [
            "temperature",
            ",a=b value=1 5",
            "temperature,a= value=1 5",
            "temperature,a value=1 5",
            "temperature value= 5",
            "temperature =1 5",
            "temperature value=NaN 5",
            "temperature value=inf 5",
            "temperature value=1x 5",
            "temperature value=1 soon",
            "temperature value=1, 5",
        ] {
            let error = parse(&format!("ok value=1 5\n{line}\n")).unwrap_err();
            assert!(error.contains(line), "{error}");
        }
    }
}
