//! A list of entries of which the newest comes last, as far as one can be chosen and scrolled to.

use crate::tui::action::Direction;

/// What is shown of a list. Entries are named by their numbers, so that what is chosen stays so
/// while others come and go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ListView {
    /// What is chosen; `None`: the list follows its newest entry.
    pub(crate) selected: Option<u64>,
    /// The first one shown, unless the list follows.
    top: u64,
    /// Shown is what holds this text.
    pub(crate) filter: String,
}

impl ListView {
    /// Moves the choice among the entries that are shown, of which so many fit.
    pub(crate) fn go(&mut self, direction: Direction, numbers: &[u64], height: usize) {
        let Some(last) = numbers.len().checked_sub(1) else {
            self.selected = None;
            return;
        };
        let at = self.selected_index(numbers);
        let page = height.saturating_sub(1).max(1);
        let to = match (direction, at) {
            (Direction::First, _) => Some(0),
            (Direction::Last, _) => None,
            (Direction::Up, None) => Some(last),
            (Direction::Up, Some(at)) => Some(at.saturating_sub(1)),
            (Direction::PageUp, at) => Some(at.unwrap_or(last).saturating_sub(page)),
            (Direction::Down, Some(at)) => Some(at + 1).filter(|to| *to <= last),
            (Direction::PageDown, Some(at)) => Some(at + page).filter(|to| *to <= last),
            (_, at) => at,
        };
        self.choose(to, numbers, height);
    }

    /// Chooses the entry in a row of those shown.
    pub(crate) fn click(&mut self, row: usize, numbers: &[u64], height: usize) {
        let index = self.first(numbers, height) + row;
        if index < numbers.len() {
            self.choose(Some(index), numbers, height);
        }
    }

    /// Follows the newest again.
    pub(crate) fn follow(&mut self) {
        self.selected = None;
    }

    /// The index of the first entry shown.
    pub(crate) fn first(&self, numbers: &[u64], height: usize) -> usize {
        let last_first = numbers.len().saturating_sub(height);
        match self.selected_index(numbers) {
            None => last_first,
            Some(selected) => {
                let top = numbers.partition_point(|number| *number < self.top);
                let lowest = (selected + 1).saturating_sub(height);
                top.clamp(lowest, selected.max(lowest)).min(last_first)
            }
        }
    }

    /// The index of what is chosen, or of what came after it when it is gone.
    pub(crate) fn selected_index(&self, numbers: &[u64]) -> Option<usize> {
        let selected = self.selected?;
        let index = numbers.partition_point(|number| *number < selected);
        Some(index.min(numbers.len().checked_sub(1)?))
    }

    fn choose(&mut self, index: Option<usize>, numbers: &[u64], height: usize) {
        let first = self.first(numbers, height);
        self.top = numbers.get(first).copied().unwrap_or(0);
        self.selected = index.and_then(|index| numbers.get(index)).copied();
        let first = self.first(numbers, height);
        self.top = numbers.get(first).copied().unwrap_or(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_follows_until_something_is_chosen() {
        let mut view = ListView::default();
        let numbers: Vec<u64> = (10..20).collect();
        assert_eq!(view.first(&numbers, 4), 6);
        view.go(Direction::Up, &numbers, 4);
        assert_eq!((view.selected, view.first(&numbers, 4)), (Some(19), 6));
        for _ in 0..4 {
            view.go(Direction::Up, &numbers, 4);
        }
        assert_eq!((view.selected, view.first(&numbers, 4)), (Some(15), 5));
        // New entries move nothing.
        let more: Vec<u64> = (12..40).collect();
        assert_eq!(view.first(&more, 4), 3);
        assert_eq!(view.selected_index(&more), Some(3));
        view.go(Direction::Down, &more, 4);
        assert_eq!((view.selected, view.first(&more, 4)), (Some(16), 3));
        // What is chosen went: the oldest takes its place.
        let late: Vec<u64> = (30..50).collect();
        assert_eq!(view.selected_index(&late), Some(0));
        assert_eq!(view.first(&late, 4), 0);
        view.go(Direction::Last, &late, 4);
        assert_eq!((view.selected, view.first(&late, 4)), (None, 16));
    }

    #[test]
    fn the_last_step_down_follows_again() {
        let mut view = ListView::default();
        let numbers = [1, 2, 3];
        view.go(Direction::First, &numbers, 10);
        assert_eq!(view.selected, Some(1));
        view.go(Direction::PageDown, &numbers, 2);
        view.go(Direction::Down, &numbers, 2);
        view.go(Direction::Down, &numbers, 2);
        assert_eq!(view.selected, None);
        view.go(Direction::Up, &[], 2);
        assert_eq!((view.selected, view.first(&[], 2)), (None, 0));
    }

    #[test]
    fn a_click_chooses_what_is_under_it() {
        let mut view = ListView::default();
        let numbers: Vec<u64> = (0..10).collect();
        view.click(1, &numbers, 4);
        assert_eq!((view.selected, view.first(&numbers, 4)), (Some(7), 6));
        view.click(9, &numbers, 4);
        assert_eq!(view.selected, Some(7));
    }
}
