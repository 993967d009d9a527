//! A line that is typed, with a cursor and the lines that were typed before.

use std::collections::VecDeque;

use unicode_segmentation::UnicodeSegmentation;

use crate::monitor::MAX_TEXT;
use crate::tui::action::Direction;

/// Lines that are remembered.
const HISTORY: usize = 100;

/// A line that is typed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LineEditor {
    text: String,
    /// Where the next character goes, in bytes.
    cursor: usize,
    /// Lines that were taken, the oldest first.
    history: VecDeque<String>,
    /// Which of them is shown, and what was being typed before.
    recalled: Option<(usize, String)>,
}

impl LineEditor {
    /// What stands before and behind the cursor.
    pub(crate) fn parts(&self) -> (&str, &str) {
        self.text.split_at(self.cursor)
    }

    /// Puts a character in at the cursor, as long as there is room.
    pub(crate) fn insert(&mut self, character: char) {
        if !character.is_control() && self.text.len() + character.len_utf8() <= MAX_TEXT {
            self.text.insert(self.cursor, character);
            self.cursor += character.len_utf8();
        }
    }

    /// Takes away what stands before the cursor, one character as a reader counts them.
    pub(crate) fn erase(&mut self) {
        let start = self.before();
        self.text.replace_range(start..self.cursor, "");
        self.cursor = start;
    }

    /// Takes away what stands at the cursor.
    pub(crate) fn delete(&mut self) {
        let end = self.behind();
        self.text.replace_range(self.cursor..end, "");
    }

    /// Takes away everything.
    pub(crate) fn clear(&mut self) {
        self.show(String::new());
    }

    /// Moves the cursor, or recalls an older or a newer line.
    pub(crate) fn go(&mut self, direction: Direction) {
        match direction {
            Direction::Left => self.cursor = self.before(),
            Direction::Right => self.cursor = self.behind(),
            Direction::First => self.cursor = 0,
            Direction::Last => self.cursor = self.text.len(),
            Direction::Up => self.recall_older(),
            Direction::Down => self.recall_newer(),
            Direction::PageUp | Direction::PageDown => {}
        }
    }

    /// The line as it was typed, which is remembered; the next one begins empty.
    pub(crate) fn take(&mut self) -> String {
        let line = std::mem::take(&mut self.text);
        self.clear();
        self.recalled = None;
        if !line.is_empty() && self.history.back() != Some(&line) {
            self.history.push_back(line.clone());
            if self.history.len() > HISTORY {
                self.history.pop_front();
            }
        }
        line
    }

    fn recall_older(&mut self) {
        let at = self.recalled.as_ref().map_or(self.history.len(), |it| it.0);
        let Some(older) = at.checked_sub(1) else {
            return;
        };
        let Some(line) = self.history.get(older).cloned() else {
            return;
        };
        let typed = match self.recalled.take() {
            Some((_, typed)) => typed,
            None => self.text.clone(),
        };
        self.recalled = Some((older, typed));
        self.show(line);
    }

    fn recall_newer(&mut self) {
        let Some((at, typed)) = self.recalled.take() else {
            return;
        };
        match self.history.get(at + 1).cloned() {
            Some(line) => {
                self.recalled = Some((at + 1, typed));
                self.show(line);
            }
            None => self.show(typed),
        }
    }

    fn show(&mut self, text: String) {
        self.cursor = text.len();
        self.text = text;
    }

    fn before(&self) -> usize {
        let (before, _) = self.parts();
        let last = before.grapheme_indices(true).next_back();
        last.map_or(0, |(start, _)| start)
    }

    fn behind(&self) -> usize {
        let (_, behind) = self.parts();
        self.cursor + behind.graphemes(true).next().map_or(0, str::len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(editor: &mut LineEditor, text: &str) {
        text.chars().for_each(|character| editor.insert(character));
    }

    fn line(editor: &LineEditor) -> String {
        let (before, behind) = editor.parts();
        format!("{before}|{behind}")
    }

    #[test]
    fn a_line_is_edited_at_its_cursor_by_whole_characters() {
        let mut editor = LineEditor::default();
        typed(&mut editor, "le\u{301}d\n on");
        assert_eq!(line(&editor), "le\u{301}d on|");
        for _ in 0..4 {
            editor.go(Direction::Left);
        }
        assert_eq!(line(&editor), "le\u{301}|d on");
        editor.erase();
        editor.insert('e');
        assert_eq!(line(&editor), "le|d on");
        editor.delete();
        assert_eq!(line(&editor), "le| on");
        editor.go(Direction::First);
        editor.erase();
        assert_eq!(line(&editor), "|le on");
        editor.go(Direction::Last);
        editor.delete();
        assert_eq!(line(&editor), "le on|");
        editor.clear();
        editor.erase();
        assert_eq!(line(&editor), "|");
    }

    #[test]
    fn lines_come_back_and_what_was_being_typed_is_not_lost() {
        let mut editor = LineEditor::default();
        editor.go(Direction::Up);
        assert_eq!(line(&editor), "|");
        for text in ["one", "two", "two", ""] {
            typed(&mut editor, text);
            assert_eq!(editor.take(), text);
        }
        typed(&mut editor, "thr");
        for (direction, expected) in [
            (Direction::Up, "two|"),
            (Direction::Up, "one|"),
            (Direction::Up, "one|"),
            (Direction::Down, "two|"),
            (Direction::Down, "thr|"),
            (Direction::Down, "thr|"),
        ] {
            editor.go(direction);
            assert_eq!(line(&editor), expected);
        }
        editor.go(Direction::Up);
        assert_eq!(editor.take(), "two");
        assert_eq!(line(&editor), "|");
    }

    #[test]
    fn neither_a_line_nor_its_history_grows_for_ever() {
        let mut editor = LineEditor::default();
        typed(&mut editor, &"ü".repeat(MAX_TEXT));
        assert_eq!(editor.take().len(), MAX_TEXT);
        for number in 0..2 * HISTORY {
            typed(&mut editor, &number.to_string());
            editor.take();
        }
        assert_eq!(editor.history.len(), HISTORY);
    }
}
