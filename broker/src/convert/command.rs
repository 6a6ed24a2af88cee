//! Programs to execute.

use asyncflow_core::command::{CodeSnapshot, Command, Container};
use asyncflow_proto::v1;

pub fn from_proto(command: v1::Command) -> Command {
    Command {
        program: command.program,
        args: command.args,
        working_directory: command.working_directory,
        environment: command.environment,
        python_environment: command.python_environment,
        container: command
            .container
            .map(|v1::Container { image, volumes }| Container { image, volumes }),
        code: command.code.map(|code| CodeSnapshot {
            directory: code.directory,
            commit: code.commit,
            diff: code.diff,
            diff_sha256: code.diff_sha256,
        }),
    }
}

pub fn to_proto(command: Command) -> v1::Command {
    v1::Command {
        program: command.program,
        args: command.args,
        working_directory: command.working_directory,
        environment: command.environment,
        python_environment: command.python_environment,
        container: command
            .container
            .map(|Container { image, volumes }| v1::Container { image, volumes }),
        code: command.code.map(|code| v1::CodeSnapshot {
            directory: code.directory,
            commit: code.commit,
            diff: code.diff,
            diff_sha256: code.diff_sha256,
        }),
    }
}
