//! When a server wants to be asked again: the header `Retry-After`.

use std::time::Duration;

use reqwest::header::{DATE, HeaderMap, HeaderName, RETRY_AFTER};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

/// The longest wait that a server may ask for.
const LONGEST: Duration = Duration::from_mins(15);

/// The wait that a server asks for, in seconds or by a date.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let wait = if is_number {
        // More digits than fit are as long as it gets.
        text.parse().map_or(LONGEST, Duration::from_secs)
    } else {
        let until = date(headers, &RETRY_AFTER)?;
        // By the server's own clock, if it tells: ours may be another.
        let now = date(headers, &DATE).unwrap_or_else(OffsetDateTime::now_utc);
        Duration::try_from(until - now).unwrap_or_default()
    };
    Some(wait.min(LONGEST))
}

/// The date in a header.
pub(crate) fn date(headers: &HeaderMap, name: &HeaderName) -> Option<OffsetDateTime> {
    let text = headers.get(name)?.to_str().ok()?.replace("GMT", "+0000");
    OffsetDateTime::parse(text.trim(), &Rfc2822).ok()
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    fn wait(after: &str, date: Option<&str>) -> Option<u64> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, HeaderValue::from_str(after).unwrap());
        if let Some(date) = date {
            headers.insert(DATE, HeaderValue::from_str(date).unwrap());
        }
        retry_after(&headers).map(|wait| wait.as_secs())
    }

    #[test]
    fn seconds_and_dates_are_kept_up_to_fifteen_minutes() {
        let now = Some("Thu, 26 Nov 2026 13:40:00 GMT");
        for (after, seconds) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("901", Some(900)),
            ("99999999999999999999999", Some(900)),
            ("Thu, 26 Nov 2026 13:41:30 GMT", Some(90)),
            ("Fri, 27 Nov 2026 13:41:30 GMT", Some(900)),
            ("Thu, 26 Nov 2026 13:39:00 GMT", Some(0)),
            ("-5", None),
            ("1.5", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(wait(after, now), seconds, "{after}");
        }
        assert_eq!(wait("Thu, 01 Jan 2099 00:00:00 GMT", None), Some(900));
        assert_eq!(wait("Sat, 01 Jan 2000 00:00:00 GMT", None), Some(0));
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }
}
