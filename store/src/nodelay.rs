//! Switches Nagle's algorithm off, which sqlx 0.9.0 leaves on.
//!
//! With it, what follows a message that the server does not answer, as the end of a statement that
//! left the cache, is held back until the server's delayed acknowledgement: 20 to 40 ms each time.
//! sqlx has it mended after 0.9.0 (its pull request 4336), but gives no way to its sockets; with
//! the release that has it this file goes.

use std::os::fd::{BorrowedFd, RawFd};

use nix::sys::socket::{SockaddrStorage, getpeername, setsockopt, sockopt::TcpNoDelay};

/// For every TCP connection that this process has now: none of its programs wants it otherwise.
/// Where descriptors cannot be listed, nothing happens.
pub(crate) fn switch_on() {
    let Ok(descriptors) = std::fs::read_dir("/dev/fd") else { return };
    for descriptor in descriptors.flatten() {
        let number = descriptor.file_name().to_str().and_then(|name| name.parse::<RawFd>().ok());
        let Some(number) = number else { continue };
        let is_tcp = |address: SockaddrStorage| {
            address.as_sockaddr_in().is_some() || address.as_sockaddr_in6().is_some()
        };
        if getpeername(number).is_ok_and(is_tcp) {
            set(number);
        }
    }
}

#[expect(unsafe_code, reason = "a descriptor of a socket that sqlx keeps to itself")]
fn set(number: RawFd) {
    // SAFETY: it is not -1 and is used for one system call. Should it have been closed meanwhile,
    // the call fails, or sets the same on another socket, where it does no harm.
    let socket = unsafe { BorrowedFd::borrow_raw(number) };
    let _ = setsockopt(&socket, TcpNoDelay, &true);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::net::{TcpListener, TcpStream};

    #[test]
    fn connections_do_not_wait_for_acknowledgements() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        super::switch_on();
        assert!(stream.nodelay().unwrap());
    }
}
