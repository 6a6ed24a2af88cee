//! MariaDB for tests.

use std::{path::PathBuf, process::Command, sync::OnceLock};

use super::{
    server::{Durability, Recipe, Server, data_on, find_program, server_dir, set_up},
    small_disk::SmallDisk,
};

const LOG_BYTES: u32 = 256 << 20;
/// So that it fits on a [`SmallDisk`].
const SMALL_LOG_BYTES: u32 = 8 << 20;

/// The MariaDB that all tests of this process share; started at the first call.
pub fn mariadb() -> &'static Server {
    static SHARED: OnceLock<Server> = OnceLock::new();
    SHARED.get_or_init(|| start_mariadb(Durability::Process))
}

/// A MariaDB of its own, to be killed, stopped or measured. Blocks for a few seconds.
///
/// It has a `tmpdir` of its own too: a MariaDB that starts removes every `#sql*` file from its
/// `tmpdir`, also those that a neighbour in the same folder uses.
pub fn start_mariadb(durability: Durability) -> Server {
    start_mariadb_with(durability, Vec::new())
}

/// The same with these variables in its environment.
pub fn start_mariadb_with(durability: Durability, variables: Vec<(String, String)>) -> Server {
    start(server_dir("mariadb"), durability, variables, LOG_BYTES)
}

/// A durable one with its data on this disk.
pub fn start_mariadb_on(disk: &SmallDisk) -> Server {
    let dir = server_dir("mariadb");
    data_on(disk, &dir);
    start(dir, Durability::Full, Vec::new(), SMALL_LOG_BYTES)
}

fn start(
    dir: PathBuf,
    durability: Durability,
    variables: Vec<(String, String)>,
    log_bytes: u32,
) -> Server {
    let (data, temporary) = (dir.join("data"), dir.join("tmp"));
    let log_size = format!("--innodb-log-file-size={log_bytes}");
    let made = std::fs::create_dir(&temporary);
    assert!(made.is_ok(), "cannot make {}: {made:?}", temporary.display());
    set_up(
        Command::new("mariadb-install-db")
            .arg("--no-defaults")
            .arg(format!("--datadir={}", data.display()))
            .arg(format!("--tmpdir={}", temporary.display()))
            .arg("--auth-root-authentication-method=normal")
            .args(["--user=root", "--skip-test-db", &log_size]),
    );
    let flush = if durability == Durability::Full { 1 } else { 2 };
    let program = find_program(&["/usr/sbin/mariadbd", "/usr/local/sbin/mariadbd", "mariadbd"]);
    let command = [
        program.as_str(),
        "--no-defaults",
        "--user=root",
        "--datadir={dir}/data",
        "--tmpdir={dir}/tmp",
        "--socket={dir}/socket",
        "--pid-file={dir}/pid",
        "--port={port}",
        "--bind-address=127.0.0.1",
        "--max-connections=400",
        "--innodb-buffer-pool-size=268435456",
        &log_size,
        "--character-set-server=utf8mb4",
        &format!("--innodb-flush-log-at-trx-commit={flush}"),
    ];
    let recipe = Recipe {
        program: "mariadbd",
        command: command.map(String::from).to_vec(),
        variables,
        url: "mysql://root@127.0.0.1:{port}/{db}",
        admin_database: "mysql",
    };
    Server::start(recipe, &dir)
}
