//! Redis, as an administrator talks to it.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
};

use asyncflow_store::testing::Server;

/// What it answers to a command, all of it.
///
/// # Panics
/// When it refuses, or cannot be reached.
pub fn told(redis: &Server, command: &str) -> String {
    let ask = || -> io::Result<String> {
        let mut connection = TcpStream::connect(("127.0.0.1", redis.port()))?;
        connection.write_all(format!("{command}\r\nQUIT\r\n").as_bytes())?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = ask().unwrap_or_else(|error| panic!("{command}: {error}"));
    assert!(!answer.starts_with('-'), "{command}: {answer}");
    answer
}
