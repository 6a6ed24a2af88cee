//! Workflows: tasks that wait for each other.
//!
//! [`graph`] says what is to be done in which order, [`definition`] what each node does,
//! [`progress`] how far it is, and [`run`] what follows when something has ended. A node of the
//! graph is one task, or *items*: many of a kind that are one step of the whole, e.g. the members
//! of a group.

pub mod callbacks;
pub mod content;
pub mod definition;
pub mod graph;
pub mod input;
pub mod progress;
pub mod run;
