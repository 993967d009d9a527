//! Kinds of values: what is allowed, in words, beside the code that decides it.

use std::iter;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use url::Url;

use super::file;
use super::setting::Value;
use crate::telemetry::Range;

pub(super) const MILLISECOND: Duration = Duration::from_millis(1);
pub(super) const HOUR: Duration = Duration::from_hours(1);

/// A kind of value.
pub(super) struct Kind<T> {
    /// What is allowed, in words.
    pub(super) allowed: String,
    /// Whether values must not be printed.
    pub(super) is_secret: bool,
    /// The variable that holds it by convention, beside the gateway's own.
    pub(super) variable: Option<&'static str>,
    parse: Box<Parse<T>>,
}

type Parse<T> = dyn Fn(&Value) -> Result<T, NotAllowed>;

/// A value is not allowed; with advice where there is better than what is allowed anyway.
#[derive(Debug, Default, PartialEq)]
pub(super) struct NotAllowed(pub(super) Option<String>);

impl<S: Into<String>> From<S> for NotAllowed {
    fn from(advice: S) -> Self {
        Self(Some(advice.into()))
    }
}

impl<T> Kind<T> {
    pub(super) fn new(
        allowed: impl Into<String>,
        parse: impl Fn(&Value) -> Result<T, NotAllowed> + 'static,
    ) -> Self {
        Self {
            allowed: allowed.into(),
            is_secret: false,
            variable: None,
            parse: Box::new(parse),
        }
    }

    /// A kind that is written as text.
    pub(super) fn of_text(
        allowed: impl Into<String>,
        parse: impl Fn(&str) -> Result<T, NotAllowed> + 'static,
    ) -> Self {
        Self::new(allowed, move |value| parse(text_of(value)?))
    }

    /// The same kind, never printed.
    pub(super) fn hidden(self, variable: Option<&'static str>) -> Self {
        Self {
            is_secret: true,
            variable,
            ..self
        }
    }

    pub(super) fn parse(&self, value: &Value) -> Result<T, NotAllowed> {
        (self.parse)(value)
    }
}

fn text_of(value: &Value) -> Result<&str, NotAllowed> {
    match value {
        Value::Text(text) | Value::Untyped(text) => Ok(text),
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Unusable => {
            Err("write it in quotes".into())
        }
        Value::List(_) | Value::Table(_) | Value::Tables(_) => Err(NotAllowed::default()),
    }
}

fn integer_of(value: &Value) -> Result<i128, NotAllowed> {
    match value {
        Value::Integer(number) => Ok(*number),
        // TOML allows underscores between digits, so the other layers do.
        Value::Untyped(text) => {
            let number = text.trim().replace('_', "").parse();
            number.map_err(|_| NotAllowed::default())
        }
        Value::Text(text) if text.parse::<i128>().is_ok() => Err("write it without quotes".into()),
        _ => Err(NotAllowed::default()),
    }
}

fn number_of(value: &Value) -> Result<f64, NotAllowed> {
    let number = match value {
        Value::Integer(number) => *number as f64,
        Value::Float(number) => *number,
        Value::Untyped(text) => text.trim().parse().map_err(|_| NotAllowed::default())?,
        Value::Text(text) if text.parse::<f64>().is_ok() => {
            return Err("write it without quotes".into());
        }
        _ => return Err(NotAllowed::default()),
    };
    number.is_finite().then_some(number).ok_or_default()
}

/// What a sensor can measure.
pub(super) fn range() -> Kind<Range> {
    Kind::new(
        "two numbers as [-40, 85], or \"any\"",
        |value| match value {
            Value::Text(text) | Value::Untyped(text) if text == "any" => Ok(Range::ANY),
            Value::List(numbers) => {
                let [low, high] = numbers.as_slice() else {
                    return Err("give the lowest and the highest value".into());
                };
                let (low, high) = (number_of(low)?, number_of(high)?);
                if low > high {
                    return Err("the lowest value stands first".into());
                }
                Ok(Range::new(low, high))
            }
            _ => Err(NotAllowed::default()),
        },
    )
}

/// `None` as a refusal that needs no more words.
pub(super) trait OrRefuse<T> {
    fn ok_or_default(self) -> Result<T, NotAllowed>;
}

impl<T> OrRefuse<T> for Option<T> {
    fn ok_or_default(self) -> Result<T, NotAllowed> {
        self.ok_or_else(NotAllowed::default)
    }
}

/// Text that is not empty and holds no control characters.
pub(super) fn text() -> Kind<String> {
    Kind::of_text("text that is not empty", |text| {
        let fits = !text.is_empty() && !text.contains(char::is_control);
        fits.then(|| text.to_owned()).ok_or_default()
    })
}

/// The name of a link among those of its kind: a level of a topic, a label of a metric.
pub(super) fn link_name() -> Kind<String> {
    let allowed = "letters, digits, -, _ and . without spaces, 1 to 48 bytes";
    Kind::of_text(allowed, |text| {
        let may_stand = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
        let fits = (1..=48).contains(&text.len()) && text.chars().all(may_stand);
        fits.then(|| text.to_owned()).ok_or_default()
    })
}

/// Text that is never printed; empty text stands for none.
pub(super) fn secret(variable: &'static str) -> Kind<SecretString> {
    Kind::of_text("text", |text| Ok(SecretString::from(text))).hidden(Some(variable))
}

/// A whole number.
pub(super) fn whole<T: TryFrom<i128> + 'static>(range: RangeInclusive<i128>) -> Kind<T> {
    let allowed = match (*range.start(), *range.end()) {
        (least, most) if most >= i128::from(i64::MAX) => {
            format!("a whole number, at least {least}")
        }
        (least, most) => format!("a whole number from {least} to {most}"),
    };
    Kind::new(allowed, move |value| {
        let number = integer_of(value)?;
        let fits = range.contains(&number).then_some(number);
        fits.and_then(|number| T::try_from(number).ok())
            .ok_or_default()
    })
}

/// A whole number of at least `least` and no other bound than its type's.
pub(super) fn at_least(least: u64) -> Kind<u64> {
    whole(least.into()..=u64::MAX.into())
}

/// Any finite number that passes a test which `allowed` puts into words.
pub(super) fn number(allowed: &str, fits: fn(f64) -> bool) -> Kind<f64> {
    Kind::new(allowed, move |value| {
        let number = number_of(value)?;
        fits(number).then_some(number).ok_or_default()
    })
}

/// `true` or `false`.
pub(super) fn boolean() -> Kind<bool> {
    Kind::new("true or false", |value| match value {
        Value::Boolean(value) => Ok(*value),
        Value::Untyped(text) => text.trim().parse().map_err(|_| NotAllowed::default()),
        Value::Text(text) if text.parse::<bool>().is_ok() => Err("write it without quotes".into()),
        _ => Err(NotAllowed::default()),
    })
}

/// One of a few words.
pub(super) fn one_of<T: Copy>(choices: &'static [(&'static str, T)]) -> Kind<T> {
    let words: Vec<String> = choices
        .iter()
        .map(|(word, _)| format!("\"{word}\""))
        .collect();
    Kind::of_text(one_of_these(&words), move |text| {
        let choice = choices.iter().find(|(word, _)| *word == text);
        if let Some((_, value)) = choice {
            return Ok(*value);
        }
        let words = choices.iter().map(|(word, _)| *word);
        let meant = super::error::nearest(text, words);
        Err(NotAllowed(
            meant.map(|word| format!("did you mean \"{word}\"?")),
        ))
    })
}

fn one_of_these(words: &[String]) -> String {
    match words {
        [first @ .., last] if !first.is_empty() => format!("{} or {last}", first.join(", ")),
        _ => words.concat(),
    }
}

/// A duration: text for people, or a number of seconds.
pub(super) fn duration(range: RangeInclusive<Duration>) -> Kind<Duration> {
    let allowed = format!(
        "a duration as \"5s\" or \"1m 30s\", or a number of seconds; from {} to {}",
        humantime::format_duration(*range.start()),
        humantime::format_duration(*range.end()),
    );
    Kind::new(allowed, move |value| {
        let duration = duration_of(value)?;
        range
            .contains(&duration)
            .then_some(duration)
            .ok_or_default()
    })
}

fn duration_of(value: &Value) -> Result<Duration, NotAllowed> {
    if let Value::Text(text) | Value::Untyped(text) = value
        && let Ok(duration) = humantime::parse_duration(text.trim())
    {
        return Ok(duration);
    }
    Duration::try_from_secs_f64(number_of(value)?).map_err(|_| NotAllowed::default())
}

/// When the first of several servers is tried again.
pub(super) fn prefer_first() -> Kind<Duration> {
    duration(Duration::from_secs(1)..=Duration::from_hours(24))
}

/// A path of the file system.
pub(super) fn path() -> Kind<PathBuf> {
    Kind::of_text("a path", |text| path_of(text).map(PathBuf::from))
}

pub(super) fn path_of(text: &str) -> Result<&str, NotAllowed> {
    if text.starts_with("~/") {
        return Err("write the home folder out: only a shell knows ~".into());
    }
    let fits = !text.is_empty() && !text.contains('\0');
    fits.then_some(text).ok_or_default()
}

/// A program and its arguments.
pub(super) fn argv() -> Kind<Vec<String>> {
    let allowed = "a list of texts, the program first: [\"program\", \"argument\"]";
    Kind::new(allowed, |value| {
        let words = texts_of(value)?;
        let fits = words.first().is_some_and(|program| !program.is_empty())
            && !words.iter().any(|word| word.contains('\0'));
        fits.then_some(words).ok_or_default()
    })
}

/// A list of texts; in an environment variable or a flag it is written as in the file.
pub(super) fn texts_of(value: &Value) -> Result<Vec<String>, NotAllowed> {
    let from_text = match value {
        Value::Untyped(text) => file::parse_value(text),
        _ => None,
    };
    let Value::List(texts) = from_text.as_ref().unwrap_or(value) else {
        return Err(NotAllowed::default());
    };
    let texts = texts.iter().map(|text| text_of(text).map(str::to_owned));
    texts.collect()
}

/// One of a kind, or a list with at least one, the most wanted first.
pub(super) fn one_or_several<T: 'static>(one: Kind<T>) -> Kind<Several<T>> {
    let allowed = format!("{}; or a list of these, the most wanted first", one.allowed);
    Kind::new(allowed, move |value| {
        let from_text = match value {
            Value::Untyped(text) if text.trim_start().starts_with('[') => file::parse_value(text),
            _ => None,
        };
        let Value::List(values) = from_text.as_ref().unwrap_or(value) else {
            return one.parse(value).map(|first| Several {
                first,
                others: Vec::new(),
            });
        };
        let mut values = values.iter().map(|value| one.parse(value));
        Ok(Several {
            first: values.next().ok_or_default()??,
            others: values.collect::<Result<_, _>>()?,
        })
    })
}

/// At least one of something.
#[derive(Debug, Clone)]
pub(super) struct Several<T> {
    pub(super) first: T,
    pub(super) others: Vec<T>,
}

impl<T> Several<T> {
    /// All of them, in their order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        iter::once(&self.first).chain(&self.others)
    }
}

/// A size in bytes.
pub(super) fn bytes(least: u64) -> Kind<u64> {
    let allowed =
        format!("a number of bytes, or a size as \"512MiB\" or \"2GB\"; at least {least} bytes");
    Kind::new(allowed, move |value| {
        let bytes = match value {
            Value::Text(text) | Value::Untyped(text) => bytes_of(text).ok_or_default()?,
            _ => u64::try_from(integer_of(value)?).map_err(|_| NotAllowed::default())?,
        };
        // SQLite and the file system count in signed numbers.
        let fits = bytes >= least && i64::try_from(bytes).is_ok();
        fits.then_some(bytes).ok_or_default()
    })
}

fn bytes_of(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '_')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.replace('_', "").parse().ok()?;
    let unit = unit.trim_start().to_lowercase();
    let factor = match unit.as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        _ => return None,
    };
    number.checked_mul(factor)
}

/// A URL; without its scheme the advice is to put that one before it.
pub(super) fn parse_url(text: &str, scheme: &str) -> Result<Url, NotAllowed> {
    let advice = || {
        let with_scheme = Url::parse(&format!("{scheme}{text}"));
        let forgotten = !text.is_empty() && !text.contains("://") && with_scheme.is_ok();
        NotAllowed(forgotten.then(|| format!("put {scheme} before it")))
    };
    let url = Url::parse(text).map_err(|_| advice())?;
    if text.contains("://") {
        Ok(url)
    } else {
        Err(advice())
    }
}

/// A duration without a fraction of a second.
pub(super) fn whole_seconds(allowed: &'static str, range: RangeInclusive<u64>) -> Kind<Duration> {
    let (least, most) = range.into_inner();
    let duration = duration(Duration::from_secs(least)..=Duration::from_secs(most));
    Kind::new(allowed, move |value| {
        let duration = duration.parse(value)?;
        (duration.subsec_nanos() == 0)
            .then_some(duration)
            .ok_or_default()
    })
}
