//! `asyncflow worker …`: a look at the workers that registered, and what is wanted of them.

mod change;
pub mod cordon;
pub mod detach;
pub mod drain;
pub mod list;
pub mod show;
pub mod uncordon;
