//! Lines come whole however the bytes come, in bounded memory; each is an event, nothing, or a
//! short line that says what is wrong with it.

use asyncflow_worker::testing::{
    LINE_BYTES_MAX, Line, LineSplitter, PROBLEM_BYTES_MAX, is_about_waiting, parse,
};

const STEPS: [usize; 3] = [1, 7, 4_096];

/// Reads the bytes as the events file of a program.
pub fn check(data: &[u8]) {
    let lines = split(data, data.len().max(1));
    for step in STEPS {
        assert!(split(data, step) == lines, "in steps of {step} bytes there are other lines");
    }
    let mut begin = 0;
    for (index, line) in lines.iter().enumerate() {
        assert_eq!(usize::try_from(line.number).ok(), Some(index + 1));
        let end = usize::try_from(line.end).unwrap_or(usize::MAX);
        let whole = &data[begin..end];
        let whole = whole.strip_suffix(b"\n").unwrap_or(whole);
        assert_eq!(line.bytes.is_none(), whole.len() > LINE_BYTES_MAX);
        if let Some(bytes) = &line.bytes {
            assert_eq!(bytes, whole);
            read(bytes);
        }
        begin = end;
    }
    assert_eq!(begin, data.len(), "something is left over");
}

fn split(data: &[u8], step: usize) -> Vec<Line> {
    let mut splitter = LineSplitter::default();
    let mut lines: Vec<_> = data.chunks(step).flat_map(|part| splitter.push(part)).collect();
    lines.extend(splitter.finish());
    lines
}

fn read(line: &[u8]) {
    let _ = is_about_waiting(line);
    match parse(line) {
        Ok(None) => assert!(line.trim_ascii().is_empty()),
        Ok(Some(_)) => {}
        Err(problem) => {
            assert!(!problem.is_empty() && problem.len() <= PROBLEM_BYTES_MAX, "{problem}");
            assert!(!problem.contains(char::is_control), "{problem:?}");
        }
    }
}
