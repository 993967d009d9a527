//! The error texts of the program, read out of its sources token by token.
//!
//! A text of at least two words is one where Rust, `thiserror` and `anyhow` make an error of it: in an
//! attribute `#[error(…)]`, or inside of a call or macro that yields an error. These words belong to the
//! language, so that a new text is found wherever it stands, and none has to be listed.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use regex::Regex;

/// A text of the program.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ErrorText {
    /// File and line.
    pub(super) place: String,
    /// As it stands in the source, `{…}` for what is filled in.
    pub(super) text: String,
}

impl ErrorText {
    /// Whether a document has this text, with anything in the place of what is filled in.
    /// Code marks and line ends are no matter.
    pub(super) fn is_in(&self, document: &str) -> bool {
        let parts: Vec<String> = fixed_parts(&self.text)
            .iter()
            .map(|part| regex::escape(part.trim()))
            .filter(|part| !part.is_empty())
            .collect();
        Regex::new(&parts.join("[^|]{0,120}?"))
            .unwrap()
            .is_match(document)
    }
}

/// A document as [`ErrorText::is_in`] wants it.
pub(super) fn plain(document: &str) -> String {
    let words = document.replace('`', "");
    words.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What stands between the placeholders of a format string.
fn fixed_parts(text: &str) -> Vec<String> {
    let text = text.replace("{{", "\u{1}").replace("}}", "\u{2}");
    let text = plain(&text);
    let placeholder = Regex::new(r"\{[^{}]*\}").unwrap();
    let parts = placeholder.split(&text);
    parts
        .map(|part| part.replace('\u{1}', "{").replace('\u{2}', "}"))
        .collect()
}

/// All error texts of the sources, in their order.
pub(super) fn error_texts() -> Vec<ErrorText> {
    let mut files = Vec::new();
    collect_files(Path::new("src"), &mut files);
    files.sort();
    let mut texts = BTreeSet::new();
    let mut of_tests = Vec::new();
    let readers: Vec<Reader> = files
        .iter()
        .map(|path| {
            let mut reader = Reader::new(path);
            let tokens: TokenStream = reader.source.parse().unwrap();
            reader.read(tokens, false);
            of_tests.append(&mut reader.modules_of_tests);
            reader
        })
        .collect();
    for reader in readers {
        let is_of_tests = of_tests.iter().any(|module| {
            reader.path.starts_with(module) || reader.path == module.with_extension("rs")
        });
        if !is_of_tests {
            texts.extend(reader.texts);
        }
    }
    texts.into_iter().collect()
}

fn collect_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect_files(&path, files);
        } else if path.extension().is_some_and(|end| end == "rs") {
            files.push(path);
        }
    }
}

/// Reads one file.
struct Reader {
    path: PathBuf,
    source: String,
    texts: Vec<ErrorText>,
    /// Paths without an end of modules in files of their own that only tests have.
    modules_of_tests: Vec<PathBuf>,
}

impl Reader {
    fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            source: fs::read_to_string(path).unwrap(),
            texts: Vec::new(),
            modules_of_tests: Vec::new(),
        }
    }

    /// Reads tokens one after the other; `counts` says whether their texts are errors.
    fn read(&mut self, tokens: TokenStream, counts: bool) {
        let mut before: Vec<TokenTree> = Vec::new();
        let mut tokens = tokens.into_iter();
        while let Some(token) = tokens.next() {
            match &token {
                TokenTree::Group(group) if is_attribute(&before, group) => {
                    let attribute = group.stream().to_string();
                    if attribute.starts_with("error") {
                        self.read(group.stream(), true);
                    } else if attribute.replace(' ', "") == "cfg(test)" {
                        self.skip_item(&mut tokens);
                    }
                }
                TokenTree::Group(group) => {
                    let makes_error = name_before(&before).is_some_and(|name| makes_error(&name));
                    self.read(group.stream(), counts || makes_error);
                }
                TokenTree::Literal(literal) if counts => self.take(&literal.to_string()),
                _ => {}
            }
            before.push(token);
        }
    }

    /// Leaves out the rest of an item, up to `;` or the end of its block.
    fn skip_item(&mut self, tokens: &mut dyn Iterator<Item = TokenTree>) {
        let mut name = String::new();
        for token in tokens {
            match token {
                TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => return,
                TokenTree::Punct(punct) if punct.as_char() == ';' => {
                    let folder = match self.path.file_stem().unwrap().to_str().unwrap() {
                        "mod" | "lib" | "main" => self.path.parent().unwrap().to_owned(),
                        _ => self.path.with_extension(""),
                    };
                    self.modules_of_tests.push(folder.join(name));
                    return;
                }
                TokenTree::Ident(ident) => name = ident.to_string(),
                _ => {}
            }
        }
    }

    fn take(&mut self, literal: &str) {
        let Some(text) = unescaped(literal) else {
            return;
        };
        let words = fixed_parts(&text).join(" ");
        let is_word = |word: &&str| word.chars().filter(|c| c.is_alphabetic()).count() > 1;
        let is_prose = words.split_whitespace().filter(is_word).count() > 1;
        if is_prose {
            let before = self.source.split(literal).next().unwrap();
            let line = before.matches('\n').count() + 1;
            let place = format!("{}:{line}", self.path.display());
            self.texts.push(ErrorText { place, text });
        }
    }
}

fn is_attribute(before: &[TokenTree], group: &proc_macro2::Group) -> bool {
    let is_hash = |token: &TokenTree| matches!(token, TokenTree::Punct(it) if it.as_char() == '#');
    let is_bang = |token: &TokenTree| matches!(token, TokenTree::Punct(it) if it.as_char() == '!');
    group.delimiter() == Delimiter::Bracket
        && match before {
            [.., hash, bang] if is_bang(bang) => is_hash(hash),
            [.., hash] => is_hash(hash),
            [] => false,
        }
}

/// The name of what is called with the group that follows.
fn name_before(before: &[TokenTree]) -> Option<String> {
    let last = before.len().checked_sub(1)?;
    let last = match &before[last] {
        TokenTree::Punct(bang) if bang.as_char() == '!' => last.checked_sub(1)?,
        _ => last,
    };
    match &before[last] {
        TokenTree::Ident(name) => Some(name.to_string()),
        _ => None,
    }
}

/// Whether what is called so makes an error of what stands inside of it.
fn makes_error(name: &str) -> bool {
    matches!(
        name,
        "Err" | "map_err" | "ok_or" | "ok_or_else" | "context" | "with_context" | "anyhow" | "bail"
    )
}

/// The text of a literal; `None`: it is no text.
fn unescaped(literal: &str) -> Option<String> {
    if let Some(raw) = literal.strip_prefix('r') {
        let raw = raw.trim_matches('#');
        return Some(raw.strip_prefix('"')?.strip_suffix('"')?.to_owned());
    }
    let text = literal.strip_prefix('"')?.strip_suffix('"')?;
    let continuation = Regex::new(r"\\\n\s*").unwrap();
    let text = continuation.replace_all(text, "");
    Some(
        text.replace("\\n", "\n")
            .replace("\\\"", "\"")
            .replace("\\\\", "\\"),
    )
}
