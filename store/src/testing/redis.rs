//! Redis for tests.

use super::server::{Recipe, Server, find_program, server_dir};

/// A Redis of its own, without persistence, to be stopped, flushed or killed.
pub fn start_redis() -> Server {
    let dir = server_dir("redis");
    let program = find_program(&["/usr/bin/redis-server", "redis-server"]);
    let command = [
        program.as_str(),
        "--port",
        "{port}",
        "--bind",
        "127.0.0.1",
        "--dir",
        "{dir}",
        "--save",
        "",
        "--appendonly",
        "no",
    ];
    let recipe = Recipe {
        program: "redis-server",
        command: command.map(String::from).to_vec(),
        variables: Vec::new(),
        url: "redis://127.0.0.1:{port}/{db}",
        admin_database: "0",
    };
    Server::start(recipe, &dir)
}
