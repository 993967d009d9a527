//! Shell as the documentation uses it: simple commands, pipes, comments, quotes, variables that are
//! set before a command.

use std::process::{Command, Stdio};

/// One command with its words, quotes taken away.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Line {
    /// Variables that are set for it, or for what follows when there are no words.
    pub(super) variables: Vec<(String, String)>,
    pub(super) words: Vec<String>,
    /// Whether another command writes into it.
    pub(super) is_piped: bool,
}

/// Whether a real shell understands it.
pub(super) fn check_syntax(text: &str) -> Result<(), String> {
    let bash = Command::new("bash")
        .args(["-n", "-c", text])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&bash.stderr).into_owned();
    bash.status.success().then_some(()).ok_or(said)
}

/// The commands of a block, in their order.
pub(super) fn lines(text: &str) -> Vec<Line> {
    let mut splitter = Splitter::default();
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\\' => match rest.next() {
                Some('\n') | None => {}
                Some(c) => splitter.push(c),
            },
            '\'' => {
                let quoted: String = rest.by_ref().take_while(|c| *c != '\'').collect();
                splitter.push_str(&quoted);
            }
            '"' => splitter.push_str(&double_quoted(&mut rest)),
            '#' if splitter.word.is_none() => while rest.next_if(|c| *c != '\n').is_some() {},
            '<' | '>' => splitter.redirect(),
            '|' => {
                let is_or = rest.next_if_eq(&'|').is_some();
                splitter.end_line(!is_or);
            }
            '\n' | ';' | '&' => splitter.end_line(false),
            c if c.is_whitespace() => splitter.end_word(),
            c => splitter.push(c),
        }
    }
    splitter.end_line(false);
    splitter.lines
}

/// The rest of a text in double quotes.
fn double_quoted(rest: &mut impl Iterator<Item = char>) -> String {
    let mut text = String::new();
    while let Some(c) = rest.next() {
        match c {
            '"' => break,
            '\\' => match rest.next() {
                Some('\n') | None => {}
                Some(c) => text.push(c),
            },
            c => text.push(c),
        }
    }
    text
}

#[derive(Default)]
struct Splitter {
    lines: Vec<Line>,
    line: Line,
    word: Option<String>,
    /// Whether the next word is the file of a redirection.
    is_redirection: bool,
}

impl Splitter {
    fn push(&mut self, c: char) {
        self.word.get_or_insert_default().push(c);
    }

    fn push_str(&mut self, text: &str) {
        self.word.get_or_insert_default().push_str(text);
    }

    fn redirect(&mut self) {
        // The number of a stream is no word: 2>/dev/null.
        if self
            .word
            .as_ref()
            .is_some_and(|word| word.parse::<u8>().is_ok())
        {
            self.word = None;
        }
        self.end_word();
        self.is_redirection = true;
    }

    fn end_word(&mut self) {
        let Some(word) = self.word.take() else { return };
        if std::mem::take(&mut self.is_redirection) {
            return;
        }
        let is_name = |name: &str| name.chars().all(|c| c.is_ascii_uppercase() || c == '_');
        match word.split_once('=') {
            Some((name, value)) if self.line.words.is_empty() && is_name(name) => {
                self.line
                    .variables
                    .push((name.to_owned(), value.to_owned()));
            }
            _ => self.line.words.push(word),
        }
    }

    fn end_line(&mut self, pipes: bool) {
        self.end_word();
        let line = std::mem::take(&mut self.line);
        if line != Line::default() && (!line.words.is_empty() || !line.variables.is_empty()) {
            self.lines.push(line);
        }
        self.line.is_piped = pipes;
    }
}

#[test]
fn commands_are_split_as_a_shell_splits_them() {
    let text =
        "A=1 fieldgate --set 'a b' \\\n  \"c $(d e)\" # no\ncat x 2>/dev/null | wc -l && true\n";
    let words: Vec<Vec<String>> = lines(text).into_iter().map(|line| line.words).collect();
    assert_eq!(
        words,
        [
            vec!["fieldgate", "--set", "a b", "c $(d e)"],
            vec!["cat", "x"],
            vec!["wc", "-l"],
            vec!["true"]
        ]
    );
    assert_eq!(lines(text)[0].variables, [("A".to_owned(), "1".to_owned())]);
    assert!(lines(text)[2].is_piped && !lines(text)[3].is_piped);
    assert!(check_syntax("echo 'a").is_err());
}
