//! Where in a request a value stands. Costs nothing until a violation has to be described.

use std::fmt;

/// A path such as `requests[3].task.name`, as a chain on the stack.
#[derive(Clone, Copy, Debug)]
pub struct At<'a> {
    parent: Option<&'a At<'a>>,
    segment: Segment<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Segment<'a> {
    /// The request itself.
    Request,
    Field(&'a str),
    Item(usize),
}

impl At<'static> {
    /// The request itself.
    pub const REQUEST: At<'static> = At { parent: None, segment: Segment::Request };
}

impl<'a> At<'a> {
    /// A field of the message here.
    pub const fn field(&'a self, name: &'a str) -> At<'a> {
        At { parent: Some(self), segment: Segment::Field(name) }
    }

    /// An item of the list here, from 0.
    pub const fn item(&'a self, index: usize) -> At<'a> {
        At { parent: Some(self), segment: Segment::Item(index) }
    }
}

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            parent.fmt(f)?;
        }
        let below_request =
            self.parent.is_none_or(|parent| matches!(parent.segment, Segment::Request));
        match self.segment {
            Segment::Request => Ok(()),
            Segment::Field(name) if below_request => f.write_str(name),
            Segment::Field(name) => write!(f, ".{name}"),
            Segment::Item(index) => write!(f, "[{index}]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_like_a_path_of_the_request() {
        let requests = At::REQUEST.field("requests");
        let request = requests.item(3);
        let task = request.field("task");
        let labels = task.field("labels");
        assert_eq!(labels.item(2).field("key").to_string(), "requests[3].task.labels[2].key");
        assert_eq!(At::REQUEST.field("page_size").to_string(), "page_size");
    }
}
