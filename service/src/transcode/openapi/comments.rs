//! The comments of the .proto files.

use prost_reflect::FileDescriptor;
use std::collections::HashMap;

/// The comments of some files, by file and path; each file is read once.
#[derive(Default)]
pub(super) struct Comments {
    files: HashMap<String, HashMap<Vec<i32>, String>>,
}

impl Comments {
    /// What stands above the thing at `path`; empty if nothing does.
    pub(super) fn of(&mut self, file: &FileDescriptor, path: &[i32]) -> String {
        let known = self.files.entry(file.name().to_owned()).or_insert_with(|| read(file));
        known.get(path).cloned().unwrap_or_default()
    }
}

fn read(file: &FileDescriptor) -> HashMap<Vec<i32>, String> {
    let Some(info) = &file.file_descriptor_proto().source_code_info else {
        return HashMap::new();
    };
    let comments = info.location.iter().filter_map(|location| {
        Some((location.path.clone(), unwrapped(location.leading_comments.as_deref()?)))
    });
    comments.collect()
}

/// Without the line breaks that only keep lines short.
fn unwrapped(comment: &str) -> String {
    let mut text = String::new();
    for line in comment.lines().map(str::trim) {
        let begins = line.is_empty() || line.starts_with("- ");
        match text.chars().last() {
            None => {}
            Some('\n') if !begins => {}
            Some(_) => text.push(if begins { '\n' } else { ' ' }),
        }
        text.push_str(line);
    }
    text.trim().to_owned()
}

/// The first sentence.
pub(super) fn summary(comment: &str) -> &str {
    let end = comment.find(['.', ':', ';', '\n']).unwrap_or(comment.len());
    comment[..end].trim()
}
