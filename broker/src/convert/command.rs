//! Programs to execute.

use asyncflow_core::command::Command;
use asyncflow_proto::v1;

pub fn from_proto(command: v1::Command) -> Command {
    Command {
        program: command.program,
        args: command.args,
        working_directory: command.working_directory,
        environment: command.environment,
    }
}

pub fn to_proto(command: Command) -> v1::Command {
    v1::Command {
        program: command.program,
        args: command.args,
        working_directory: command.working_directory,
        environment: command.environment,
        ..v1::Command::default()
    }
}
