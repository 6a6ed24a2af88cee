//! The command as people and scripts meet it: real processes, real output, real exit codes.

mod archive;
mod dev;
mod dev_process;
mod governor;
mod gpu;
mod operation;
mod program;
mod resources;
mod run;
mod schedule;
mod settings;
mod shard;
mod task;
mod task_type;
mod usage;
mod worker;
mod workflow;
mod workflow_end;
