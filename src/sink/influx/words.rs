//! What a server's answer says, in a few words on one line.

use serde_json::Value;

/// The server's words are cut to so many characters: it may answer with a page, or quote a batch.
pub(super) const MAX_WORDS: usize = 200;

/// The message in the body of an answer, the title of a page, or whatever else the body says.
pub(super) fn words(body: &str) -> Option<String> {
    if is_page(body) {
        return page_words(body);
    }
    let message = serde_json::from_str::<Value>(body).ok();
    let message = message.as_ref().and_then(self::message);
    on_one_line(message.as_deref().unwrap_or(body))
}

/// Whether a body is a page for a browser.
pub(super) fn is_page(body: &str) -> bool {
    let start = body.trim_start_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
    ["<!doctype html", "<html", "<head", "<body", "<?xml"]
        .iter()
        .any(|tag| starts_with(start, tag))
}

/// The title of a page, or else what it says.
pub(super) fn page_words(page: &str) -> Option<String> {
    title(page).or_else(|| on_one_line(&unescaped(&without_tags(page))))
}

/// InfluxDB 2 has a `message`, 1 and 3 have an `error`; 3 says of its first bad line what is wrong.
fn message(body: &Value) -> Option<String> {
    let of_line = |data: &Value| data["error_message"].as_str().map(str::to_owned);
    let detail = of_line(&body["data"]).or_else(|| of_line(&body["data"][0]));
    let message = ["message", "error"]
        .iter()
        .find_map(|key| body[*key].as_str().map(str::to_owned))?;
    Some(match detail {
        Some(detail) => format!("{message}: {detail}"),
        None => message,
    })
}

fn on_one_line(text: &str) -> Option<String> {
    let printable = text.replace(char::is_control, " ");
    let mut words = printable.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((cut, _)) = words.char_indices().nth(MAX_WORDS) {
        words.truncate(cut);
        words.push('…');
    }
    (!words.is_empty()).then_some(words)
}

fn title(page: &str) -> Option<String> {
    let (_, after) = split_at_tag(page, "<title")?;
    let (_, text) = after.split_once('>')?;
    let (text, _) = split_at_tag(text, "</title")?;
    on_one_line(&unescaped(text))
}

fn without_tags(page: &str) -> String {
    let mut text = String::new();
    let mut rest = page;
    while let Some((before, tag)) = rest.split_once('<') {
        text.push_str(before);
        text.push(' ');
        // What stands in these is not for people.
        let end = ["script", "style"]
            .iter()
            .find(|name| starts_with(tag, name))
            .and_then(|name| split_at_tag(tag, &format!("</{name}")));
        let tag = end.map_or(tag, |(_, rest)| rest);
        rest = tag.split_once('>').map_or("", |(_, rest)| rest);
    }
    text.push_str(rest);
    text
}

fn unescaped(text: &str) -> String {
    [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#39;", "'"),
        ("&nbsp;", " "),
        ("&amp;", "&"),
    ]
    .iter()
    .fold(text.to_owned(), |text, (escape, plain)| {
        text.replace(escape, plain)
    })
}

/// Before and behind the first `tag`, in whatever case.
fn split_at_tag<'a>(text: &'a str, tag: &str) -> Option<(&'a str, &'a str)> {
    let place = text
        .as_bytes()
        .windows(tag.len())
        .position(|window| window.eq_ignore_ascii_case(tag.as_bytes()))?;
    Some((&text[..place], &text[place + tag.len()..]))
}

fn starts_with(text: &str, start: &str) -> bool {
    text.as_bytes()
        .get(..start.len())
        .is_some_and(|head| head.eq_ignore_ascii_case(start.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_its_title_or_its_text() {
        for (page, expected) in [
            ("<html><head><title>Log in</title>", Some("Log in")),
            (
                "\u{feff}\n<!DOCTYPE HTML><TITLE lang=en>\nCaf\u{e9} &amp;\n bar </TITLE><h1>x",
                Some("Café & bar"),
            ),
            (
                "<html><style>a{}</style><script>if (1<2) x</script><body>Welcome, <b>please</b> log in",
                Some("Welcome, please log in"),
            ),
            ("<html><title></title><h1>Sign in</h1>", Some("Sign in")),
            ("<html><title>never ends", Some("never ends")),
            ("<html", None),
            ("<html><body></body></html>", None),
        ] {
            assert_eq!(words(page).as_deref(), expected, "{page}");
        }
    }

    #[test]
    fn an_error_is_its_message() {
        for (body, expected) in [
            (r#"{"code":"invalid","message":"a\nb"}"#, Some("a b")),
            (r#"{"error":"points beyond"}"#, Some("points beyond")),
            (
                r#"{"error":"partial write of line protocol occurred","data":[{"original_line":"x","line_number":2,"error_message":"no field"}]}"#,
                Some("partial write of line protocol occurred: no field"),
            ),
            (r#"{"other":1}"#, Some(r#"{"other":1}"#)),
            ("cannot parse\u{1b}[31m", Some("cannot parse [31m")),
            (" \r\n", None),
        ] {
            assert_eq!(words(body).as_deref(), expected, "{body}");
        }
        assert_eq!(
            words(&"ü".repeat(5_000)).unwrap(),
            "ü".repeat(MAX_WORDS) + "…"
        );
    }
}
