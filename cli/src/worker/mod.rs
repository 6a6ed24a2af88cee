//! `asyncflow worker …`: a look at the workers that registered.

pub mod list;
