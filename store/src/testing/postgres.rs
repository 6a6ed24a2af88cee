//! PostgreSQL for tests. It refuses to run as root, so root starts it as `postgres`.

use std::{path::PathBuf, process::Command, sync::OnceLock};

use super::{
    server::{Durability, Recipe, Server, data_on, server_dir, set_up},
    small_disk::SmallDisk,
};

/// The PostgreSQL that all tests of this process share; started at the first call.
pub fn postgres() -> &'static Server {
    static SHARED: OnceLock<Server> = OnceLock::new();
    SHARED.get_or_init(|| start_postgres(Durability::Process))
}

/// A PostgreSQL of its own, to be killed, stopped or measured. Blocks for a few seconds.
pub fn start_postgres(durability: Durability) -> Server {
    start_postgres_with(durability, Vec::new())
}

/// The same with these variables in its environment.
pub fn start_postgres_with(durability: Durability, variables: Vec<(String, String)>) -> Server {
    start(server_dir("postgres"), durability, variables, &[])
}

/// A durable one with its data on this disk, and a log that is made in pieces of 1 MiB, not 16.
pub fn start_postgres_on(disk: &SmallDisk) -> Server {
    let dir = server_dir("postgres");
    let data = data_on(disk, &dir);
    if !unprivileged().is_empty() {
        set_up(Command::new("chown").arg("postgres").arg(data));
    }
    start(dir, Durability::Full, Vec::new(), &["--wal-segsize=1"])
}

fn start(
    dir: PathBuf,
    durability: Durability,
    variables: Vec<(String, String)>,
    initially: &[&str],
) -> Server {
    let as_user = unprivileged();
    if !as_user.is_empty() {
        set_up(Command::new("chown").arg("postgres").arg(&dir));
    }
    let [initdb, server] = ["initdb", "postgres"].map(program);
    let data = dir.join("data").display().to_string();
    let init = ["-D", data.as_str(), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync"];
    let words: Vec<&str> = as_user.iter().copied().chain([initdb.as_str()]).chain(init).collect();
    set_up(Command::new(words[0]).args(&words[1..]).args(initially).current_dir(&dir));

    let commit = if durability == Durability::Full { "on" } else { "off" };
    let mut command: Vec<String> = as_user.iter().map(ToString::to_string).collect();
    command.extend([server, "-D".into(), "{dir}/data".into(), "-p".into(), "{port}".into()]);
    let settings = [
        "listen_addresses=127.0.0.1".to_owned(),
        "unix_socket_directories={dir}".to_owned(),
        "max_connections=400".to_owned(),
        "shared_buffers=256MB".to_owned(),
        "max_wal_size=2GB".to_owned(),
        format!("synchronous_commit={commit}"),
    ];
    command.extend(settings.into_iter().flat_map(|setting| ["-c".to_owned(), setting]));
    let recipe = Recipe {
        program: "postgres",
        command,
        variables,
        url: "postgres://postgres@127.0.0.1:{port}/{db}",
        admin_database: "postgres",
    };
    Server::start(recipe, &dir)
}

/// What to put before a command so that it does not run as root.
fn unprivileged() -> &'static [&'static str] {
    let root = Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout == b"0\n");
    if root {
        &["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]
    } else {
        &[]
    }
}

/// The distribution keeps the programs of each version in a directory of its own.
fn program(name: &str) -> String {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    versions
        .map(|version| version.path().join("bin").join(name))
        .filter(|path| path.is_file())
        .max()
        .map_or_else(|| name.to_owned(), |path| path.display().to_string())
}
