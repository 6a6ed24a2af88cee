//! Histories that are spoilt in one way each, by the check that has to catch it.

mod attempts;
mod budgets;
mod contexts;
mod creates;
mod edges;
mod ends;
mod processes;
mod record;
