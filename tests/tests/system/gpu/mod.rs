//! GPU hosts: what crosses worker and broker, with GPUs out of files. What a worker does by itself
//! is tested in its own package, what a broker does in its own.

mod adopted;
mod cordon;
mod detach;
mod drain;
mod evict;
mod explain;
mod fault;
mod hand_over;
mod hold;
mod hundred_tasks;
mod late_stranger;
mod leftovers;
mod scene;
mod shares;
mod stranger;
