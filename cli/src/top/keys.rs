//! Where one looks, and what keys do to it.

use super::board::{Board, Sort};
use ratatui::crossterm::event::{Event, KeyCode, KeyEventKind, KeyModifiers};

/// How many rows a page is.
const PAGE: usize = 10;

/// What keys change.
#[derive(Debug, Default)]
pub struct Position {
    /// The table that the arrows are for.
    pub pane: usize,
    /// The row that is marked in each table.
    pub selected: [usize; 4],
    pub sort: Sort,
    /// Why what is shown is old; `None` when all is well.
    pub trouble: Option<String>,
}

/// What is to be done after a key.
#[derive(Debug, PartialEq, Eq)]
pub enum Turn {
    Stay,
    Draw,
    Quit,
}

impl Position {
    /// Takes a key, or a terminal's new size.
    pub fn take(&mut self, event: &Event, board: &Board) -> Turn {
        let key = match event {
            Event::Resize(..) => return Turn::Draw,
            Event::Key(key) if key.kind != KeyEventKind::Release => key,
            _ => return Turn::Stay,
        };
        let panes = board.panes.len();
        match key.code {
            KeyCode::Char('q') | KeyCode::Esc => return Turn::Quit,
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => {
                return Turn::Quit;
            }
            KeyCode::Tab | KeyCode::Right => self.pane = (self.pane + 1) % panes,
            KeyCode::BackTab | KeyCode::Left => self.pane = (self.pane + panes - 1) % panes,
            KeyCode::Down | KeyCode::Char('j') => self.scroll(board, 1, true),
            KeyCode::Up | KeyCode::Char('k') => self.scroll(board, 1, false),
            KeyCode::PageDown => self.scroll(board, PAGE, true),
            KeyCode::PageUp => self.scroll(board, PAGE, false),
            KeyCode::Home => self.selected[self.pane] = 0,
            KeyCode::End => self.scroll(board, usize::MAX, true),
            KeyCode::Char('s') => self.sort = self.sort.next(),
            _ => return Turn::Stay,
        }
        Turn::Draw
    }

    fn scroll(&mut self, board: &Board, by: usize, down: bool) {
        let last = board.panes[self.pane].rows.len().saturating_sub(1);
        let at = self.selected[self.pane].min(last);
        self.selected[self.pane] =
            if down { at.saturating_add(by).min(last) } else { at.saturating_sub(by) };
    }
}
