//! The gateway's own commands, as a page gives them.

use std::fs;
use std::path::PathBuf;

use fieldgate::cli::Command as Wanted;
use fieldgate::config::{self, Source};
use serde_json::Value;

use super::super::programs::parse;
use super::{Checked, Line, Page, file_name};

impl Page {
    /// Parses a command line of the gateway, and runs it if that is possible without a board, a
    /// terminal or another machine; of the others the configuration must be right.
    pub(in crate::documents) fn fieldgate(&mut self, line: &Line) -> Checked {
        let mut words: Vec<String> = Vec::new();
        for word in &line.words {
            let word = match words.last().map(String::as_str) {
                Some("--config") => self.config_file(word),
                Some("--output" | "-o") => self.in_folder(word),
                _ => self.with_addresses(word),
            };
            words.push(word);
        }
        match parse(&words)? {
            Some(Wanted::Run(run)) => {
                let mut overrides = run.config.overrides();
                let default = self.folder.path().join("config.toml");
                if overrides.file.is_none() && default.exists() {
                    overrides.file = Some(default);
                }
                let config = config::load(&overrides, &self.environment());
                let config = config.map_err(|errors| errors.to_string())?;
                match config.sources[0].source {
                    Source::Simulator(_) => {
                        add_flag(&mut words, "--no-tui");
                        if !words.iter().any(|word| word == "--count") {
                            words.extend(["--count", "30", "--rate", "300"].map(str::to_owned));
                        }
                        self.succeed(&words)
                    }
                    Source::Stdin => self.succeed(&words),
                    _ => Ok(()),
                }
            }
            Some(Wanted::Check(_)) => self.check(words),
            Some(Wanted::Init(init)) => {
                let path = self.folder.path().join(&init.output);
                drop(fs::remove_file(&path));
                self.succeed(&words)?;
                let text = fs::read_to_string(&path).unwrap();
                self.write(file_name(path.to_str().unwrap()), &text);
                Ok(())
            }
            Some(Wanted::Export(_)) => {
                self.journal();
                self.succeed(&words)
            }
            Some(Wanted::Ports(_) | Wanted::Completions(_) | Wanted::Man) | None => {
                self.succeed(&words)
            }
            // They need a terminal or a gateway that runs; they are tested with one elsewhere.
            Some(_) => Ok(()),
        }
    }
    /// All but the board must be well.
    fn check(&mut self, mut words: Vec<String>) -> Checked {
        add_flag(&mut words, "--json");
        let (_, said) = self.output(&words[0], &words[1..]);
        let text = said.find('{').zip(said.rfind('}'));
        let (begin, end) = text.ok_or_else(|| said.clone())?;
        let report: Value = serde_json::from_str(&said[begin..=end]).map_err(|_| said.clone())?;
        let failed = report["checks"]
            .as_array()
            .unwrap()
            .iter()
            .find(|check| check["result"] == "failed" && check["part"] != "source");
        failed.map_or(Ok(()), |check| Err(check.to_string()))
    }

    /// A configuration in the page's folder under the name of one elsewhere; the example, unless the
    /// page has written it.
    fn config_file(&mut self, word: &str) -> String {
        let name = file_name(word);
        let path = self.folder.path().join(name);
        if !path.exists() {
            let example = fs::read_to_string("config.toml.example").unwrap();
            self.write(name, &example);
        }
        path.display().to_string()
    }

    fn in_folder(&self, word: &str) -> String {
        self.folder
            .path()
            .join(file_name(word))
            .display()
            .to_string()
    }

    /// The journal of what has run so far, or else of a short run.
    fn journal(&mut self) -> PathBuf {
        let path = self.folder.path().join(".local/state/fieldgate/journal.db");
        if !path.exists() {
            let run = [
                "fieldgate",
                "run",
                "--no-tui",
                "--source",
                "simulator",
                "--count",
                "30",
            ];
            let rest = ["--rate", "300", "--broker-url", "mqtt://localhost:1883"];
            let words: Vec<String> = run
                .iter()
                .chain(&rest)
                .map(|word| self.with_addresses(word))
                .collect();
            self.succeed(&words).unwrap();
        }
        path
    }

    /// Runs queries on a real journal.
    pub(in crate::documents) fn ask_journal(&mut self, queries: &str) -> Checked {
        let journal = rusqlite::Connection::open(self.journal()).unwrap();
        for query in queries.split(';').filter(|query| !query.trim().is_empty()) {
            let rows = journal
                .prepare(query)
                .and_then(|mut query| query.query_map((), |_| Ok(()))?.collect());
            let _rows: Vec<()> = rows.map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}

fn add_flag(words: &mut Vec<String>, flag: &str) {
    if !words.iter().any(|word| word == flag) {
        words.push(flag.to_owned());
    }
}
