//! The table and the JSON file.

use std::fmt;
use std::path::Path;

/// What a figure has to keep to.
pub enum Budget {
    AtLeast(f64),
    AtMost(f64),
    /// Measured to compare with.
    None,
}

struct Figure {
    name: String,
    value: f64,
    unit: &'static str,
    budget: Budget,
}

#[derive(Default)]
pub struct Report {
    figures: Vec<Figure>,
}

impl Report {
    pub fn add(&mut self, name: &str, value: f64, unit: &'static str, budget: Budget) {
        let figure = Figure {
            name: name.to_owned(),
            value,
            unit,
            budget,
        };
        eprintln!("{name}: {value:.2} {unit}");
        self.figures.push(figure);
    }

    pub fn has_missed(&self) -> bool {
        self.figures.iter().any(|figure| !figure.is_kept())
    }

    pub fn write(&self, path: &Path) {
        let figures: Vec<_> = self
            .figures
            .iter()
            .map(|figure| {
                let (at_least, at_most) = match figure.budget {
                    Budget::AtLeast(bound) => (Some(bound), None),
                    Budget::AtMost(bound) => (None, Some(bound)),
                    Budget::None => (None, None),
                };
                serde_json::json!({
                    "name": figure.name, "value": figure.value, "unit": figure.unit,
                    "at_least": at_least, "at_most": at_most, "kept": figure.is_kept(),
                })
            })
            .collect();
        let text = serde_json::to_string_pretty(&figures).unwrap();
        std::fs::write(path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}

impl Figure {
    fn is_kept(&self) -> bool {
        match self.budget {
            Budget::AtLeast(bound) => self.value >= bound,
            Budget::AtMost(bound) => self.value <= bound,
            Budget::None => true,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<46} {:>12} {:<11} {:>14} kept",
            "what", "figure", "", "budget"
        )?;
        for figure in &self.figures {
            let (budget, kept) = match figure.budget {
                Budget::AtLeast(bound) => (format!(">= {bound:.2}"), figure.is_kept()),
                Budget::AtMost(bound) => (format!("<= {bound:.2}"), figure.is_kept()),
                Budget::None => (String::new(), true),
            };
            let kept = match (&figure.budget, kept) {
                (Budget::None, _) => "",
                (_, true) => "yes",
                (_, false) => "NO",
            };
            let Figure {
                name, value, unit, ..
            } = figure;
            writeln!(f, "{name:<46} {value:>12.2} {unit:<11} {budget:>14} {kept}")?;
        }
        Ok(())
    }
}
