//! What came of the checks.

use std::fmt;

use serde::Serialize;

use crate::commands::columns;
use crate::config::link_text;

/// All checks, in their order.
#[derive(Debug, Default)]
pub(in crate::commands) struct Report {
    checks: Vec<Check>,
    /// The one of several links of a kind that is being checked.
    link: Option<String>,
}

#[derive(Debug, Serialize)]
struct Check {
    part: String,
    #[serde(rename = "check")]
    name: &'static str,
    result: CheckResult,
    #[serde(skip_serializing_if = "String::is_empty")]
    detail: String,
    /// What to do about a failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum CheckResult {
    Passed,
    Failed,
    /// Not configured, or it cannot be tried after what failed before.
    Skipped,
}

impl Report {
    /// What follows is about the link of this name; `None`: about none, or the only one.
    pub(super) fn begin_link(&mut self, name: Option<&String>) {
        self.link = name.cloned();
    }

    pub(super) fn passed(&mut self, part: &'static str, check: &'static str, detail: &str) {
        self.push(part, check, CheckResult::Passed, detail, None);
    }

    pub(super) fn failed(
        &mut self,
        part: &'static str,
        check: &'static str,
        detail: &str,
        fix: &str,
    ) {
        self.push(
            part,
            check,
            CheckResult::Failed,
            detail,
            Some(fix.to_owned()),
        );
    }

    pub(super) fn skipped(&mut self, part: &'static str, check: &'static str, reason: &str) {
        self.push(part, check, CheckResult::Skipped, reason, None);
    }

    fn push(
        &mut self,
        part: &'static str,
        check: &'static str,
        result: CheckResult,
        detail: &str,
        fix: Option<String>,
    ) {
        let link = self.link.as_deref();
        let named = link.map_or_else(|| part.to_owned(), |name| link_text(part, name));
        self.checks.push(Check {
            part: named,
            name: check,
            result,
            detail: detail.to_owned(),
            fix,
        });
    }

    /// Whether nothing failed.
    pub(in crate::commands) fn holds(&self) -> bool {
        self.checks
            .iter()
            .all(|check| check.result != CheckResult::Failed)
    }
}

impl Serialize for Report {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Whole<'a> {
            ok: bool,
            checks: &'a [Check],
        }
        let whole = Whole {
            ok: self.holds(),
            checks: &self.checks,
        };
        whole.serialize(to)
    }
}

/// A table; the fix stands below what failed.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows: Vec<Vec<String>> = self
            .checks
            .iter()
            .map(|check| {
                let result = match check.result {
                    CheckResult::Passed => "ok",
                    CheckResult::Failed => "FAILED",
                    CheckResult::Skipped => "-",
                };
                [&check.part, check.name, result, &check.detail]
                    .map(str::to_owned)
                    .to_vec()
            })
            .collect();
        for (line, check) in columns(&rows).lines().zip(&self.checks) {
            writeln!(f, "{line}")?;
            if let Some(fix) = &check.fix {
                writeln!(f, "    fix: {fix}")?;
            }
        }
        let failed = self
            .checks
            .iter()
            .filter(|check| check.result == CheckResult::Failed);
        match failed.count() {
            0 => writeln!(f, "\nAll is well."),
            1 => writeln!(f, "\n1 check failed."),
            count => writeln!(f, "\n{count} checks failed."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fix_stands_below_what_failed_and_skipping_is_no_failure() {
        let mut report = Report::default();
        report.passed("source", "opens", "/dev/ttyACM0");
        report.skipped("mqtt", "broker", "not configured");
        assert!(report.holds());
        report.failed("journal", "can be written", "disk full", "make room");
        assert!(!report.holds());
        assert_eq!(
            report.to_string(),
            "source   opens           ok      /dev/ttyACM0\n\
             mqtt     broker          -       not configured\n\
             journal  can be written  FAILED  disk full\n    fix: make room\n\
             \n1 check failed.\n"
        );
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["ok"], false);
        assert_eq!(json["checks"][2]["result"], "failed");
        assert_eq!(json["checks"][2]["fix"], "make room");
    }
}
