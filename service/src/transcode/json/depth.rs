//! How deep JSON that is passed on unread is nested: its readers may follow it by recursion.

/// What common readers follow, those of Python and of Rust's serde among them.
pub(super) const DEPTH_MAX: usize = 128;

/// Whether arrays and objects stand within each other no deeper than [`DEPTH_MAX`]; of valid JSON.
pub(super) fn is_readable(json: &[u8]) -> bool {
    let (mut depth, mut in_text, mut is_escaped) = (0_usize, false, false);
    for byte in json {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if in_text => is_escaped = true,
            b'"' => in_text = !in_text,
            _ if in_text => {}
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEPTH_MAX {
            return false;
        }
    }
    true
}
