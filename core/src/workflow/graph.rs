//! What a workflow does: nodes, and which of them wait for which.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

/// When a node may start, by what has become of the nodes that it waits for. A node that waits for
/// nothing starts at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum When {
    /// All of them succeeded.
    #[default]
    AllSucceeded,
    /// All of them ended, however.
    AllDone,
    /// One of them succeeded; it does not wait for the others.
    AnySucceeded,
    /// One of them failed; it does not wait for the others.
    AnyFailed,
    /// One of them was cancelled; it does not wait for the others.
    AnyCancelled,
}

impl When {
    /// As people write it.
    pub const fn text(self) -> &'static str {
        match self {
            Self::AllSucceeded => "all_succeeded",
            Self::AllDone => "all_done",
            Self::AnySucceeded => "any_succeeded",
            Self::AnyFailed => "any_failed",
            Self::AnyCancelled => "any_cancelled",
        }
    }

    /// Whether a node that starts then deals with what went wrong. It starts also when the rest of
    /// the workflow was given up.
    pub const fn is_for_trouble(self) -> bool {
        matches!(self, Self::AllDone | Self::AnyFailed | Self::AnyCancelled)
    }
}

/// What becomes of the whole when a part of it does not succeed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Policy {
    /// The rest is cancelled at once, and the whole failed.
    #[default]
    FailFast,
    /// The rest goes on where it can; the whole failed when all has ended.
    Continue,
    /// The whole succeeded if so many parts did. As soon as that cannot be any more the rest is
    /// cancelled.
    AtLeast(u32),
}

/// A node of a graph.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Node<W> {
    /// Unique in its graph.
    pub name: String,
    /// The nodes that it waits for; indexes into the graph, ascending, none twice.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<u32>,
    #[serde(default)]
    pub when: When,
    /// What becomes of it when some of its items do not succeed.
    #[serde(default)]
    pub policy: Policy,
    /// Most of its items that run at once; 0 = any number.
    #[serde(default)]
    pub parallel_max: u32,
    /// What it does.
    pub work: W,
}

/// Nodes, and which of them wait for which. Never a cycle.
#[derive(Clone, Debug, PartialEq)]
pub struct Graph<W> {
    nodes: Vec<Node<W>>,
    successors: Vec<Vec<u32>>,
    order: Vec<u32>,
    depth: usize,
    policy: Policy,
}

/// Nodes that wait for each other in a ring: each for the one behind it, the last for the first.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Cycle(pub Vec<String>);

/// Names of a way that are told; of a longer one, the first ones and the last.
const WAY_NAMES_MAX: usize = 12;

impl fmt::Display for Cycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.0.iter().map(String::as_str).collect();
        write!(f, "these nodes wait for each other: {}", way(&names, 1))
    }
}

/// A way through a graph, for people; of a long one, so many of its last names.
fn way(names: &[&str], last: usize) -> String {
    if names.len() <= WAY_NAMES_MAX {
        return names.join(" → ");
    }
    let (first, rest) = names.split_at(WAY_NAMES_MAX - last);
    let (untold, last) = rest.split_at(rest.len() - last);
    format!("{} → … {} more … → {}", first.join(" → "), untold.len(), last.join(" → "))
}

impl<W> Graph<W> {
    /// The graph of these nodes.
    ///
    /// # Errors
    /// [`Cycle`], one of them, if there is any.
    ///
    /// # Panics
    /// If a node waits for one that is not there.
    pub fn new(nodes: Vec<Node<W>>, policy: Policy) -> Result<Self, Cycle> {
        let mut successors = vec![Vec::new(); nodes.len()];
        for (at, node) in numbered(&nodes) {
            node.needs.iter().for_each(|&need| successors[need as usize].push(at));
        }
        let mut waits: Vec<usize> = nodes.iter().map(|node| node.needs.len()).collect();
        let mut depths = vec![1_usize; nodes.len()];
        let mut ready: Vec<u32> =
            numbered(&nodes).filter(|(_, node)| node.needs.is_empty()).map(|(at, _)| at).collect();
        let mut order = Vec::with_capacity(nodes.len());
        while let Some(at) = ready.pop() {
            order.push(at);
            for &next in &successors[at as usize] {
                let depth = depths[at as usize] + 1;
                depths[next as usize] = depths[next as usize].max(depth);
                waits[next as usize] -= 1;
                if waits[next as usize] == 0 {
                    ready.push(next);
                }
            }
        }
        if order.len() < nodes.len() {
            return Err(cycle(&nodes, &waits));
        }
        let depth = depths.into_iter().max().unwrap_or(0);
        Ok(Self { nodes, successors, order, depth, policy })
    }

    /// Its nodes, in the order of their numbers.
    pub fn into_nodes(self) -> Vec<Node<W>> {
        self.nodes
    }

    /// The node with this number.
    pub fn node(&self, at: u32) -> &Node<W> {
        &self.nodes[at as usize]
    }

    /// All nodes, by their numbers.
    pub fn nodes(&self) -> impl Iterator<Item = (u32, &Node<W>)> {
        numbered(&self.nodes)
    }

    /// The numbers of all nodes, each behind those that it waits for.
    pub fn order(&self) -> &[u32] {
        &self.order
    }

    /// The nodes that wait for this one.
    pub fn successors(&self, at: u32) -> &[u32] {
        &self.successors[at as usize]
    }

    /// How many nodes there are.
    pub fn len(&self) -> u32 {
        self.nodes.len() as u32
    }

    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Nodes on the longest way through it.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// The longest way through it, for people, from a node that waits for none.
    pub fn longest_way(&self) -> String {
        let mut depths = vec![0_usize; self.nodes.len()];
        let deepest = |among: &[u32], depths: &[usize]| {
            among.iter().copied().max_by_key(|&at| depths[at as usize])
        };
        for &at in &self.order {
            let before = deepest(&self.node(at).needs, &depths);
            depths[at as usize] = 1 + before.map_or(0, |before| depths[before as usize]);
        }
        let mut names = Vec::with_capacity(self.depth);
        let mut here = deepest(&self.order, &depths);
        while let Some(at) = here {
            names.push(self.node(at).name.as_str());
            here = deepest(&self.node(at).needs, &depths);
        }
        names.reverse();
        way(&names, WAY_NAMES_MAX / 3)
    }

    /// What becomes of it when some of its nodes do not succeed.
    pub fn policy(&self) -> Policy {
        self.policy
    }

    /// Numbers by names.
    pub fn by_name(&self) -> BTreeMap<&str, u32> {
        self.nodes().map(|(at, node)| (node.name.as_str(), at)).collect()
    }
}

fn numbered<W>(nodes: &[Node<W>]) -> impl Iterator<Item = (u32, &Node<W>)> {
    (0_u32..).zip(nodes)
}

/// A ring among the nodes that still wait when all others are sorted: whoever goes from one of them
/// to one that it waits for, and on, comes back to where it was.
fn cycle<W>(nodes: &[Node<W>], waits: &[usize]) -> Cycle {
    let is_stuck = |at: &u32| waits[*at as usize] > 0;
    let mut path: Vec<u32> = Vec::new();
    let mut seen = vec![None; nodes.len()];
    let mut at = (0..nodes.len() as u32).find(is_stuck);
    while let Some(here) = at {
        if let Some(first) = seen[here as usize] {
            path.drain(..first);
            break;
        }
        seen[here as usize] = Some(path.len());
        path.push(here);
        at = nodes[here as usize].needs.iter().copied().find(is_stuck);
    }
    let mut names: Vec<String> = path.iter().map(|&at| nodes[at as usize].name.clone()).collect();
    names.extend(names.first().cloned());
    Cycle(names)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn nodes(needs: &[&[u32]]) -> Vec<Node<()>> {
        let node = |(at, needs): (usize, &&[u32])| Node {
            name: format!("n{at}"),
            needs: needs.to_vec(),
            when: When::default(),
            policy: Policy::default(),
            parallel_max: 0,
            work: (),
        };
        needs.iter().enumerate().map(node).collect()
    }

    #[test]
    fn knows_its_depth_and_who_waits_for_whom() {
        let graph = Graph::new(nodes(&[&[], &[0], &[0], &[1, 2], &[]]), Policy::FailFast).unwrap();
        assert_eq!(graph.depth(), 3);
        assert_eq!(graph.successors(0), [1, 2]);
        assert_eq!(graph.successors(2), [3]);
        assert!(graph.successors(4).is_empty());
    }

    #[test]
    fn the_longest_way_is_told_from_its_first_node() {
        let graph = nodes(&[&[], &[0], &[], &[1, 2], &[2]]);
        let graph = Graph::new(graph, Policy::FailFast).unwrap();
        assert_eq!(graph.longest_way(), "n0 → n1 → n3");
    }

    #[test]
    fn a_cycle_is_told_from_its_first_node_to_its_first_node() {
        let ring = Graph::new(nodes(&[&[], &[0, 3], &[1], &[2], &[3]]), Policy::FailFast);
        assert_eq!(
            ring.unwrap_err().to_string(),
            "these nodes wait for each other: n1 → n3 → n2 → n1"
        );
        let selfish = Graph::new(nodes(&[&[0]]), Policy::FailFast);
        assert_eq!(selfish.unwrap_err().0, ["n0", "n0"]);
    }

    #[test]
    fn a_large_ring_is_told_in_part() {
        let needs: Vec<[u32; 1]> = (0..900_u32).map(|at| [(at + 899) % 900]).collect();
        let needs: Vec<&[u32]> = needs.iter().map(|need| &need[..]).collect();
        let told = Graph::new(nodes(&needs), Policy::FailFast).unwrap_err().to_string();
        assert!(told.contains("n0 → n899 → ") && told.ends_with("… 889 more … → n0"), "{told}");
        assert!(told.len() < 200, "{told}");
    }

    #[test]
    fn a_chain_of_ten_thousand_is_no_recursion() {
        let needs: Vec<Vec<u32>> =
            (0..10_000_u32).map(|at| at.checked_sub(1).into_iter().collect()).collect();
        let needs: Vec<&[u32]> = needs.iter().map(Vec::as_slice).collect();
        assert_eq!(Graph::new(nodes(&needs), Policy::FailFast).unwrap().depth(), 10_000);
    }
}
