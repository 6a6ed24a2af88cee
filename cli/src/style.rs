//! Colours: only on a terminal, and never with NO_COLOR.

use anstyle::{AnsiColor, Style};
use std::{ffi::OsStr, io::IsTerminal};

/// Whether one stream may be coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Palette {
    on: bool,
}

impl Palette {
    /// For what goes to standard output.
    pub fn stdout() -> Self {
        Self::decide(std::io::stdout().is_terminal(), std::env::var_os("NO_COLOR").as_deref())
    }

    /// For what goes to standard error.
    pub fn stderr() -> Self {
        Self::decide(std::io::stderr().is_terminal(), std::env::var_os("NO_COLOR").as_deref())
    }

    /// For cells that something else colours.
    pub fn plain() -> Self {
        Self { on: false }
    }

    /// For what is compared.
    #[cfg(test)]
    pub fn off() -> Self {
        Self { on: false }
    }

    /// <https://no-color.org>: NO_COLOR counts when it is set and not empty.
    fn decide(is_terminal: bool, no_color: Option<&OsStr>) -> Self {
        Self { on: is_terminal && no_color.is_none_or(OsStr::is_empty) }
    }

    pub fn is_on(self) -> bool {
        self.on
    }

    pub fn bold(self, text: &str) -> String {
        self.paint(Style::new().bold(), text)
    }

    pub fn error(self, text: &str) -> String {
        self.paint(AnsiColor::Red.on_default().bold(), text)
    }

    pub fn faint(self, text: &str) -> String {
        self.paint(Style::new().dimmed(), text)
    }

    /// A task's state or an attempt's outcome.
    pub fn state(self, name: &str) -> String {
        let style = match name {
            "SUCCEEDED" | "OPEN" => AnsiColor::Green.on_default(),
            "FAILED" | "LOST" | "QUARANTINED" | "BROKEN" => AnsiColor::Red.on_default(),
            "RUNNING" => AnsiColor::Cyan.on_default(),
            "CANCELLED" | "CANCELLING" | "PAUSED" | "FAILING" | "STOPPING" | "CORDONED"
            | "CORDONED (away)" | "DRAINING" | "DETACHING" | "FOREIGN" | "COOLING_DOWN" => {
                AnsiColor::Yellow.on_default()
            }
            "SKIPPED" | "WAITING" => Style::new().dimmed(),
            _ => Style::new(),
        };
        self.paint(style, name)
    }

    fn paint(self, style: Style, text: &str) -> String {
        if !self.on {
            return text.to_owned();
        }
        format!("{style}{text}{style:#}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_need_a_terminal_and_no_no_color() {
        assert!(Palette::decide(true, None).is_on());
        assert!(Palette::decide(true, Some(OsStr::new(""))).is_on());
        assert!(!Palette::decide(true, Some(OsStr::new("1"))).is_on());
        assert!(!Palette::decide(false, None).is_on());
        assert_eq!(Palette::decide(false, None).state("FAILED"), "FAILED");
        assert!(Palette::decide(true, None).state("FAILED").contains('\u{1b}'));
    }
}
