//! What the families of databases do differently, as fragments of SQL.

pub use asyncflow_migrations::ddl::Backend;

/// The current Unix time in milliseconds, as an expression.
pub(crate) const fn now_sql(backend: Backend) -> &'static str {
    match backend {
        Backend::Sqlite => "CAST(ROUND((julianday('now') - 2440587.5) * 86400000) AS INTEGER)",
        Backend::Mysql => "CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED)",
        Backend::Postgres => "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)",
    }
}

/// Locks the selected rows. SQLite's transactions are the only writer anyway.
pub(crate) const fn for_update(backend: Backend) -> &'static str {
    match backend {
        Backend::Sqlite => "",
        Backend::Mysql | Backend::Postgres => " FOR UPDATE",
    }
}

/// Locks the selected rows and passes over those that somebody else has locked.
pub(crate) const fn for_update_skip(backend: Backend) -> &'static str {
    match backend {
        Backend::Sqlite => "",
        Backend::Mysql | Backend::Postgres => " FOR UPDATE SKIP LOCKED",
    }
}

/// Makes an INSERT leave an existing row alone. `column` is any column of the key.
pub(crate) fn or_ignore(backend: Backend, key: &str, column: &str) -> String {
    match backend {
        Backend::Mysql => format!(" ON DUPLICATE KEY UPDATE {column} = {column}"),
        Backend::Sqlite | Backend::Postgres => format!(" ON CONFLICT ({key}) DO NOTHING"),
    }
}

/// Makes an INSERT replace columns of an existing row.
pub(crate) fn or_replace(backend: Backend, key: &str, columns: &[&str]) -> String {
    match backend {
        Backend::Mysql => {
            let each = columns.iter().map(|column| format!("{column} = VALUES({column})"));
            format!(" ON DUPLICATE KEY UPDATE {}", each.collect::<Vec<_>>().join(", "))
        }
        Backend::Sqlite | Backend::Postgres => {
            let each = columns.iter().map(|column| format!("{column} = excluded.{column}"));
            let each = each.collect::<Vec<_>>().join(", ");
            format!(" ON CONFLICT ({key}) DO UPDATE SET {each}")
        }
    }
}

/// Adds the new row's `columns` to those of an existing row.
pub(crate) fn or_add_each(backend: Backend, table: &str, key: &str, columns: &[&str]) -> String {
    match backend {
        Backend::Mysql => {
            let each =
                columns.iter().map(|column| format!("{column} = {column} + VALUES({column})"));
            format!(" ON DUPLICATE KEY UPDATE {}", each.collect::<Vec<_>>().join(", "))
        }
        Backend::Sqlite | Backend::Postgres => {
            let each = columns
                .iter()
                .map(|column| format!("{column} = {table}.{column} + excluded.{column}"));
            let each = each.collect::<Vec<_>>().join(", ");
            format!(" ON CONFLICT ({key}) DO UPDATE SET {each}")
        }
    }
}

/// Adds the new row's `column` to that of an existing row.
pub(crate) fn or_add(backend: Backend, table: &str, key: &str, column: &str) -> String {
    or_add_each(backend, table, key, &[column])
}

/// A sum of integers as a 64-bit integer; MySQL and PostgreSQL sum to decimals.
pub(crate) fn sum(backend: Backend, column: &str) -> String {
    to_bigint(backend, &format!("SUM({column})"))
}

/// An expression as a 64-bit integer.
pub(crate) fn to_bigint(backend: Backend, expression: &str) -> String {
    let kind = match backend {
        Backend::Mysql => "SIGNED",
        Backend::Sqlite => "INTEGER",
        Backend::Postgres => "BIGINT",
    };
    format!("CAST({expression} AS {kind})")
}
