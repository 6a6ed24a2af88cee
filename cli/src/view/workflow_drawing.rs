//! A workflow's graph, drawn as lines of text.
//!
//! A node stands below the last of those that it waits for, so all of them are above it; where it
//! waits for several, it names them. What follows alone goes on in the same column, so that a chain
//! of hundreds stays on the screen.
//!
//! ```text
//!  prepare  SUCCEEDED
//!  ├─ left  RUNNING
//!  └─ right  RUNNING
//!     ↓ both  WAITING  after all succeeded of left, right
//! ```

use super::workflow_graph::NodeView;
use crate::output::Look;
use console::{measure_text_width, truncate_str};
use std::collections::HashMap;

/// What goes deeper than this is drawn no deeper; on a narrow screen, than a third of it.
const INDENT_MAX: usize = 48;
/// How many names a node tells of those that it waits for, so that people can read a large graph.
const NAMES_MAX: usize = 5;

/// What is drawn of one node.
#[derive(Debug, PartialEq, Eq)]
pub struct Drawn {
    pub lines: Vec<String>,
    /// It runs, or failed.
    pub is_live: bool,
}

/// A node whose turn to be drawn will come.
struct Next {
    node: usize,
    /// What stands before its name.
    head: String,
    /// What stands before that of those that follow it.
    below: String,
}

/// Draws nodes in an order in which they can run, no line wider than `columns`.
pub fn draw(nodes: &[NodeView], look: Look, columns: Option<usize>) -> Vec<Drawn> {
    let numbers: HashMap<&str, usize> =
        nodes.iter().enumerate().map(|(at, node)| (node.name.as_str(), at)).collect();
    let mut followers: Vec<Vec<usize>> = vec![Vec::new(); nodes.len()];
    let mut missing = vec![0_usize; nodes.len()];
    for (at, node) in nodes.iter().enumerate() {
        for before in node.depends_on.iter().filter_map(|name| numbers.get(name.as_str())) {
            followers[*before].push(at);
            missing[at] += 1;
        }
    }
    let indent_max = columns.map_or(INDENT_MAX, |columns| INDENT_MAX.min(columns / 3));
    let first = |node: usize| Next { node, head: String::new(), below: String::new() };
    let mut stack: Vec<Next> =
        (0..nodes.len()).rev().filter(|node| missing[*node] == 0).map(first).collect();
    let mut drawn = Vec::with_capacity(nodes.len());
    while let Some(next) = stack.pop() {
        let ready: Vec<usize> = (followers[next.node].iter().copied())
            .filter(|follower| {
                missing[*follower] -= 1;
                missing[*follower] == 0
            })
            .collect();
        let branches = ready.len() > 1;
        drawn.push(node(&nodes[next.node], &next, branches, look, columns));
        let deep = next.below.chars().count() + 3 > indent_max;
        for (nth, follower) in ready.iter().enumerate().rev() {
            let is_last = nth + 1 == ready.len();
            let (glyph, bar) = match (branches, is_last) {
                (false, _) => ("↓ ", ""),
                (true, true) => ("└─ ", "   "),
                (true, false) => ("├─ ", "│  "),
            };
            let head = format!("{}{glyph}", next.below);
            let bar = if deep { "" } else { bar };
            stack.push(Next { node: *follower, head, below: format!("{}{bar}", next.below) });
        }
    }
    drawn
}

fn node(node: &NodeView, next: &Next, branches: bool, look: Look, columns: Option<usize>) -> Drawn {
    let mut lines = vec![format!("{}{}", next.head, node.told(look))];
    let indent = format!("{}{}   ", next.below, if branches { "│" } else { "" });
    let after = after(node);
    let parts = [look.palette.faint(&after), node.message.replace('\n', " ")];
    for part in parts.into_iter().filter(|part| measure_text_width(part) > 0) {
        let Some(line) = lines.last_mut() else { continue };
        let together = format!("{line}  {part}");
        if columns.is_none_or(|columns| measure_text_width(&together) <= columns) {
            *line = together;
        } else {
            lines.push(format!("{indent}{part}"));
        }
    }
    if let Some(columns) = columns {
        lines.iter_mut().for_each(|line| *line = truncate_str(line, columns, "…").into_owned());
    }
    Drawn { lines, is_live: node.is_live() }
}

/// What it waits for, where the drawing does not show it.
fn after(node: &NodeView) -> String {
    if node.depends_on.len() < 2 && node.when == "ALL_SUCCEEDED" {
        return String::new();
    }
    let when = node.when.to_lowercase().replace('_', " ");
    let (names, more) = node.depends_on.split_at(node.depends_on.len().min(NAMES_MAX));
    let more = match more.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("after {when} of {}{more}", names.join(", "))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::{
        style::Palette,
        view::{workflow::WorkflowView, workflow_graph::GraphView},
    };
    use asyncflow_proto::v1::{Workflow, WorkflowNodeState, WorkflowNodeStatus, WorkflowTally};

    fn waits(name: &str, depends_on: &[&str]) -> WorkflowNodeStatus {
        let mut node = WorkflowNodeStatus {
            name: name.to_owned(),
            depends_on: depends_on.iter().map(|name| (*name).to_owned()).collect(),
            when: 1,
            ..Default::default()
        };
        node.set_state(WorkflowNodeState::Waiting);
        node
    }

    fn lines(nodes: Vec<WorkflowNodeStatus>, columns: Option<usize>) -> Vec<String> {
        let look = Look { palette: Palette::off(), now_ms: 0 };
        let graph = GraphView::new(WorkflowView::from(Workflow::default()), nodes);
        graph.drawn(look, columns).into_iter().flat_map(|drawn| drawn.lines).collect()
    }

    #[test]
    fn a_diamond_has_both_its_sides_above_its_end() {
        let nodes = vec![
            waits("a", &[]),
            waits("b", &["a"]),
            waits("c", &["a"]),
            waits("b2", &["b"]),
            waits("d", &["b2", "c"]),
            waits("e", &["d"]),
        ];
        let expected = [
            "a  WAITING",
            "├─ b  WAITING",
            "│  ↓ b2  WAITING",
            "└─ c  WAITING",
            "   ↓ d  WAITING  after all succeeded of b2, c",
            "   ↓ e  WAITING",
        ];
        assert_eq!(lines(nodes, None), expected);
    }

    #[test]
    fn a_chord_tells_how_many_members_have_ended() {
        let mut members = waits("train/members", &["prepare"]);
        members.set_state(WorkflowNodeState::Running);
        members.item_count = 3;
        members.ended = Some(WorkflowTally { succeeded: 2, ..Default::default() });
        let mut mourn = waits("mourn", &["train"]);
        mourn.when = 4;
        let nodes = vec![
            waits("prepare", &[]),
            members,
            waits("train", &["train/members"]),
            waits("report", &["train"]),
            mourn,
        ];
        let expected = [
            "prepare  WAITING",
            "↓ train/members  RUNNING  2/3",
            "↓ train  WAITING",
            "├─ report  WAITING",
            "└─ mourn  WAITING  after any failed of train",
        ];
        assert_eq!(lines(nodes, None), expected);
    }

    #[test]
    fn a_narrow_screen_gets_more_lines_and_none_that_is_too_wide() {
        let mut last = waits("a-rather-long-name-of-a-node", &["left", "right"]);
        last.message = "the task command-1-0000000000000 said that\nall is lost, äöü".to_owned();
        let nodes = vec![waits("a", &[]), waits("left", &["a"]), waits("right", &["a"]), last];
        for columns in [10, 20, 36, 80] {
            let drawn = lines(nodes.clone(), Some(columns));
            assert!(drawn.iter().all(|line| measure_text_width(line) <= columns), "{drawn:#?}");
            assert_eq!(drawn[2], if columns == 10 { "└─ right …" } else { "└─ right  WAITING" });
        }
        let drawn = lines(nodes, Some(36));
        assert_eq!(drawn.len(), 6, "what it waits for and why it failed: {drawn:#?}");
    }

    #[test]
    fn a_chain_of_a_thousand_stays_in_its_column_and_a_comb_has_an_end() {
        let name = |at: usize| format!("n{at}");
        let chain = (0..1_000).map(|at| match at {
            0 => waits("n0", &[]),
            _ => waits(&name(at), &[&name(at - 1)]),
        });
        let drawn = lines(chain.collect(), None);
        assert_eq!((drawn.len(), drawn[999].as_str()), (1_000, "↓ n999  WAITING"));
        let comb = (0..300).map(|at| match at {
            0 => waits("n0", &[]),
            _ => waits(&name(at), &[&name((at - 1) / 2 * 2)]),
        });
        let drawn = lines(comb.collect(), None);
        assert_eq!(drawn.len(), 300);
        assert!(drawn.iter().all(|line| measure_text_width(line) < INDENT_MAX + 30));
    }

    #[test]
    fn thirty_side_by_side_are_thirty_lines_between_two() {
        let names: Vec<String> = (0..30).map(|at| format!("n{at}")).collect();
        let mut nodes = vec![waits("first", &[])];
        nodes.extend(names.iter().map(|name| waits(name, &["first"])));
        let all: Vec<&str> = names.iter().map(String::as_str).collect();
        nodes.push(waits("last", &all));
        let drawn = lines(nodes, Some(80));
        assert_eq!((drawn.len(), drawn[1].as_str()), (32, "├─ n0  WAITING"));
        let last = "   ↓ last  WAITING  after all succeeded of n0, n1, n2, n3, n4 and 25 more";
        assert_eq!(drawn[31], last);
    }
}
