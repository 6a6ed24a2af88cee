//! What to do when a database cannot be opened.

use crate::error::StoreError;

/// Words of the databases, the first that fits counts, and what to do about it.
const BY_WORDS: [(&[&str], &str); 7] = [
    (
        &["not a database", "disk image is malformed"],
        "the file is damaged, or none of SQLite: put a backup in its place, or move it away to \
         begin with an empty one",
    ),
    (&["igration file"], "a newer version wrote it: use that version, or another database"),
    (
        &["--read-only option", "read-only transaction"],
        "it is a replica, or set to be read only: take the server that is written to",
    ),
    (
        &["Too many connections", "too many clients", "remaining connection slots"],
        "the server has no connection left: raise its limit, or lower database.max_connections",
    ),
    (
        &["readonly", "read-only", "Permission denied", "unable to open", "Not a directory"],
        "give this user the right to write there, or take another place",
    ),
    (&["is full", "No space left"], "make room on its disk"),
    (
        &[
            "Access denied",
            "authentication failed",
            "nknown database",
            "no pg_hba.conf entry",
            "database: database",
        ],
        "are user, password and the name of the database in database.url right?",
    ),
];

impl StoreError {
    /// What a person can do who wanted to open the database, by what it said.
    pub fn advice(&self) -> &'static str {
        let said = self.to_string();
        let fits = |words: &[&str]| words.iter().any(|word| said.contains(word));
        let found = BY_WORDS.iter().find(|(words, _)| fits(words)).map(|(_, advice)| *advice);
        match self {
            Self::Options(_) => "see what is set for it",
            Self::Unavailable { .. } => found
                .unwrap_or("is the server running, and are host and port in database.url right?"),
            _ => found.unwrap_or("the log of the database may say more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_fits_what_the_database_said() {
        let away = |said: &str| StoreError::unavailable(std::io::Error::other(said.to_owned()));
        let pool = "pool timed out while waiting for an open connection";
        for (said, part) in [
            ("(code: 26) file is not a database", "put a backup in its place"),
            ("(code: 11) database disk image is malformed", "put a backup in its place"),
            ("Migration file of version 'm9' is missing", "a newer version"),
            ("attempt to write a readonly database", "the right to write there"),
            ("database or disk is full", "make room"),
            ("1045 (28000): Access denied for user 'root'", "password"),
            (pool, "is the server running"),
            ("1290 (HY000): running with the --read-only option", "replica"),
            ("cannot execute INSERT in a read-only transaction", "replica"),
            ("1040 (08004): Too many connections", "max_connections"),
            ("error returned from database: database \"a\" does not exist", "database.url right"),
            ("error returned from database: relation \"a\" does not exist", "is the server"),
        ] {
            let advice = away(said).advice();
            assert!(advice.contains(part), "{said}: {advice}");
        }
    }
}
