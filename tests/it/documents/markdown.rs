//! Documents as far as they can be checked: fenced blocks, commands in running text, headings, links.

use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;

/// A file of the documentation.
pub(super) struct Document {
    /// From the project's folder.
    pub(super) path: PathBuf,
    pub(super) blocks: Vec<Block>,
    /// What can be linked to within it.
    pub(super) anchors: Vec<String>,
    /// Targets of links and images, with their lines.
    pub(super) links: Vec<(usize, String)>,
    /// Code in running text, with its lines.
    pub(super) code: Vec<(usize, String)>,
}

/// A fenced block.
pub(super) struct Block {
    /// File and line of its first line.
    pub(super) place: String,
    /// What stands behind the fence.
    pub(super) info: String,
    pub(super) text: String,
}

/// All documents: those of the project's folder, of `docs/` and of `fuzz/`.
pub(super) fn documents() -> Vec<Document> {
    let mut paths: Vec<PathBuf> = [".", "docs", "fuzz"]
        .iter()
        .flat_map(|folder| fs::read_dir(folder).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "md"))
        .map(|path| path.strip_prefix(".").map(Path::to_owned).unwrap_or(path))
        .collect();
    paths.sort();
    assert!(paths.len() > 10, "{paths:?}");
    paths.iter().map(|path| read(path)).collect()
}

fn read(path: &Path) -> Document {
    let text = fs::read_to_string(path).unwrap();
    let link = Regex::new(r"\]\(([^()\s]+)\)").unwrap();
    let code = Regex::new(r"`([^`]+)`").unwrap();
    let mut document = Document {
        path: path.to_owned(),
        blocks: Vec::new(),
        anchors: Vec::new(),
        links: Vec::new(),
        code: Vec::new(),
    };
    let mut open: Option<Block> = None;
    for (line, number) in text.lines().zip(1..) {
        if let Some(mut block) = open.take() {
            if line.trim_end() == "```" {
                document.blocks.push(block);
            } else {
                block.text += line;
                block.text.push('\n');
                open = Some(block);
            }
        } else if let Some(info) = line.trim_start().strip_prefix("```") {
            let place = format!("{}:{}", path.display(), number + 1);
            let (info, text) = (info.trim().to_owned(), String::new());
            open = Some(Block { place, info, text });
        } else {
            if line.starts_with('#') {
                document.anchors.push(anchor(line));
            }
            let found = link
                .captures_iter(line)
                .map(|it| (number, it[1].to_owned()));
            document.links.extend(found);
            let found = code
                .captures_iter(line)
                .map(|it| (number, it[1].to_owned()));
            document.code.extend(found);
        }
    }
    assert!(open.is_none(), "{}: a block without an end", path.display());
    document
}

/// The anchor of a heading, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}
