//! A picture on a terminal that is drawn anew in its place.

use console::Term;
use std::io;

/// A terminal on standard output.
pub struct Screen {
    term: Term,
    /// How many lines of it are the picture that stands there.
    drawn: usize,
}

impl Screen {
    /// `None` when standard output is no terminal.
    pub fn open() -> Option<Self> {
        let term = Term::stdout();
        term.is_term().then_some(Self { term, drawn: 0 })
    }

    /// Lines and columns, as they are now: people drag windows about.
    pub fn size(&self) -> (usize, usize) {
        let (lines, columns) = self.term.size();
        (usize::from(lines), usize::from(columns))
    }

    /// Draws lines, none wider than the screen, in the place of those that were drawn before. Those
    /// that scrolled away are let go.
    pub fn draw(&mut self, lines: &[String]) -> io::Result<()> {
        self.term.clear_last_lines(self.drawn.min(self.size().0.saturating_sub(1)))?;
        let mut text = lines.join("\n");
        text.push('\n');
        self.term.write_str(&text)?;
        self.term.flush()?;
        self.drawn = lines.len();
        Ok(())
    }
}
