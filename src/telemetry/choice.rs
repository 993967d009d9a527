//! Which readings go somewhere, by the names of their nodes and metrics.

use std::fmt;
use std::str::FromStr;

/// Names of nodes and metrics: `node1/*`, `*/temperature`. A `*` stands for any text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    node: String,
    metric: String,
}

/// What is taken, and what of that is not.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Choice {
    /// Empty: everything.
    only: Vec<Pattern>,
    not: Vec<Pattern>,
}

impl FromStr for Pattern {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (node, metric) = text.split_once('/').ok_or(())?;
        let is_name = |part: &str| !part.is_empty() && !part.contains('/');
        let fits = is_name(node) && is_name(metric);
        fits.then(|| Self {
            node: node.to_owned(),
            metric: metric.to_owned(),
        })
        .ok_or(())
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.node, self.metric)
    }
}

impl Pattern {
    fn matches(&self, node: &str, metric: &str) -> bool {
        is_like(node, &self.node) && is_like(metric, &self.metric)
    }
}

impl Choice {
    /// What one of `only` names, if any are given, and none of `not`.
    pub fn new(only: Vec<Pattern>, not: Vec<Pattern>) -> Self {
        Self { only, not }
    }

    /// Whether nothing is left out.
    pub fn is_everything(&self) -> bool {
        self.only.is_empty() && self.not.is_empty()
    }

    /// Whether a node's readings of a metric are taken.
    pub fn takes(&self, node: &str, metric: &str) -> bool {
        let is_meant = |patterns: &[Pattern]| patterns.iter().any(|it| it.matches(node, metric));
        (self.only.is_empty() || is_meant(&self.only)) && !is_meant(&self.not)
    }

    /// Whether any of a node's readings can be taken.
    pub fn may_take_from(&self, node: &str) -> bool {
        let is_meant = |pattern: &Pattern| is_like(node, &pattern.node);
        let is_shut_out = |pattern: &Pattern| is_meant(pattern) && pattern.metric == "*";
        (self.only.is_empty() || self.only.iter().any(is_meant))
            && !self.not.iter().any(is_shut_out)
    }
}

/// `only node1/*, not */pressure`.
impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = [("only", &self.only), ("not", &self.not)];
        let named = named
            .into_iter()
            .filter(|(_, patterns)| !patterns.is_empty());
        for (index, (word, patterns)) in named.enumerate() {
            let patterns: Vec<String> = patterns.iter().map(ToString::to_string).collect();
            let separator = if index > 0 { ", " } else { "" };
            write!(f, "{separator}{word} {}", patterns.join(" "))?;
        }
        Ok(())
    }
}

/// Whether a name is like a pattern of one.
fn is_like(name: &str, pattern: &str) -> bool {
    let Some((beginning, rest)) = pattern.split_once('*') else {
        return name == pattern;
    };
    let Some(mut left) = name.strip_prefix(beginning) else {
        return false;
    };
    let (between, end) = rest.rsplit_once('*').unwrap_or(("", rest));
    // The first place where a part fits leaves the most for those behind it.
    for part in between.split('*') {
        let Some(at) = left.find(part) else {
            return false;
        };
        left = &left[at + part.len()..];
    }
    left.ends_with(end)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn choice(only: &[&str], not: &[&str]) -> Choice {
        let parse = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        Choice::new(parse(only), parse(not))
    }

    #[test]
    fn readings_are_chosen_by_node_and_metric() {
        for (only, not, taken) in [
            (&[][..], &[][..], [true, true, true, true]),
            (&["node1/*"], &[], [true, true, false, false]),
            (&["*/temperature"], &[], [true, false, true, false]),
            (&[], &["*/rssi"], [true, true, true, false]),
            (&["node*/*"], &["node2/*"], [true, true, false, false]),
            (&["node2/*", "sig*/rssi"], &[], [false, false, true, true]),
            (&["node1/*"], &["*/*"], [false; 4]),
            (&["Node1/*"], &[], [false; 4]),
        ] {
            let choice = choice(only, not);
            let readings = [
                ("node1", "temperature"),
                ("node1", "humidity"),
                ("node2", "temperature"),
                ("signal", "rssi"),
            ];
            let found = readings.map(|(node, metric)| choice.takes(node, metric));
            assert_eq!(found, taken, "{choice}");
        }
    }

    #[test]
    fn a_node_of_which_nothing_can_be_taken_is_told_from_others() {
        let choice = choice(&["node*/temperature", "hall/*"], &["node2/*", "hall/co2"]);
        let nodes = ["node1", "node2", "hall", "attic"];
        let found = nodes.map(|node| choice.may_take_from(node));
        assert_eq!(found, [true, false, true, false]);
    }

    #[test]
    fn a_pattern_is_a_node_and_a_metric() {
        for wrong in ["", "node1", "/x", "x/", "a/b/c", "/"] {
            assert!(wrong.parse::<Pattern>().is_err(), "{wrong}");
        }
        let text = "node 1/*_2";
        assert_eq!(text.parse::<Pattern>().unwrap().to_string(), text);
    }

    /// As the definition has it, and slow.
    fn is_like_by_definition(name: &[char], pattern: &[char]) -> bool {
        match pattern {
            [] => name.is_empty(),
            ['*', rest @ ..] => (0..=name.len()).any(|at| is_like_by_definition(&name[at..], rest)),
            [first, rest @ ..] => name
                .split_first()
                .is_some_and(|(head, tail)| head == first && is_like_by_definition(tail, rest)),
        }
    }

    proptest! {
        #[test]
        fn a_star_stands_for_any_text(name in "[aä]{0,6}b?[aä]{0,3}", pattern in "[aäb*]{0,7}") {
            let (chars, of_pattern): (Vec<char>, Vec<char>) = (name.chars().collect(), pattern.chars().collect());
            let expected = is_like_by_definition(&chars, &of_pattern);
            prop_assert_eq!(is_like(&name, &pattern), expected);
        }
    }
}
