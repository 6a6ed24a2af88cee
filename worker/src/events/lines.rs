//! Bytes → lines, in bounded memory.

/// Longest line, without its end.
pub const LINE_BYTES_MAX: usize = 64 * 1024;

/// A line.
#[derive(Debug, PartialEq, Eq)]
pub struct Line {
    /// From 1.
    pub number: u64,
    /// `None` when it is too long.
    pub bytes: Option<Vec<u8>>,
    /// Where the next one begins.
    pub end: u64,
}

/// Puts lines together.
#[derive(Debug, Default)]
pub struct LineSplitter {
    begun: Vec<u8>,
    is_too_long: bool,
    number: u64,
    position: u64,
}

impl LineSplitter {
    /// Takes bytes and gives the lines that they end.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Line> {
        let mut lines = Vec::new();
        let mut parts = bytes.split(|byte| *byte == b'\n').peekable();
        while let Some(part) = parts.next() {
            self.begin(part);
            if parts.peek().is_some() {
                self.position += 1;
                lines.push(self.end());
            }
        }
        lines
    }

    /// The last line, if it has no end.
    pub fn finish(&mut self) -> Option<Line> {
        (!self.begun.is_empty() || self.is_too_long).then(|| self.end())
    }

    fn begin(&mut self, part: &[u8]) {
        self.position += u64::try_from(part.len()).unwrap_or_default();
        if self.begun.len() + part.len() > LINE_BYTES_MAX {
            self.is_too_long = true;
            self.begun.clear();
        }
        if !self.is_too_long {
            self.begun.extend_from_slice(part);
        }
    }

    fn end(&mut self) -> Line {
        self.number += 1;
        let bytes = std::mem::take(&mut self.begun);
        let is_too_long = std::mem::take(&mut self.is_too_long);
        let bytes = (!is_too_long).then_some(bytes);
        Line { number: self.number, bytes, end: self.position }
    }
}

#[cfg(test)]
mod tests {
    use super::{LINE_BYTES_MAX, Line, LineSplitter};

    fn line(number: u64, text: &str, end: u64) -> Line {
        Line { number, bytes: Some(text.as_bytes().to_vec()), end }
    }

    #[test]
    fn lines_come_whole_however_the_bytes_come() {
        for step in 1..9 {
            let mut splitter = LineSplitter::default();
            let mut lines = Vec::new();
            for part in b"one\ntwo\n\nhalf".chunks(step) {
                lines.extend(splitter.push(part));
            }
            lines.extend(splitter.finish());
            let expected =
                [line(1, "one", 4), line(2, "two", 8), line(3, "", 9), line(4, "half", 13)];
            assert_eq!(lines, expected);
            assert_eq!(splitter.finish(), None);
        }
    }

    #[test]
    fn a_line_over_the_limit_is_dropped_and_the_next_one_counts() {
        let mut splitter = LineSplitter::default();
        let longest = "x".repeat(LINE_BYTES_MAX);
        let first = splitter.push(format!("{longest}\n").as_bytes());
        assert_eq!(first, [line(1, &longest, 65_537)]);
        let mut lines = splitter.push(longest.as_bytes());
        lines.extend(splitter.push(b"x\ngood\n"));
        let expected = [Line { number: 2, bytes: None, end: 131_075 }, line(3, "good", 131_080)];
        assert_eq!(lines, expected);
        splitter.push(&vec![b'y'; 10 * LINE_BYTES_MAX]);
        assert!(splitter.begun.capacity() <= 2 * LINE_BYTES_MAX);
    }
}
