//! Tables as data, and their SQL for each backend.
//!
//! The three backends differ in the names of types, in where an index may be declared and in
//! partial indexes; everything else of our schema is the same text.

use sea_orm_migration::sea_orm::DbBackend;

/// The families of databases that asyncflow runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    Sqlite,
    Mysql,
    Postgres,
}

impl From<DbBackend> for Backend {
    fn from(backend: DbBackend) -> Self {
        match backend {
            DbBackend::MySql => Self::Mysql,
            DbBackend::Postgres => Self::Postgres,
            _ => Self::Sqlite,
        }
    }
}

/// What a column holds.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A 64-bit number that the database counts up; the primary key.
    Serial,
    Big,
    Int,
    Small,
    /// At most so many characters; can be indexed.
    Chars(u16),
    /// At most so many ASCII characters without spaces at their end, which always take their full
    /// room on MySQL: a value that comes later finds it in the row.
    Room(u16),
    /// Up to 64 KiB of text.
    Text,
    /// Bytes, up to a gigabyte.
    Blob,
}

impl Kind {
    fn sql(self, backend: Backend) -> String {
        use Backend::{Mysql, Postgres, Sqlite};
        match (self, backend) {
            (Self::Serial, Sqlite) => "INTEGER PRIMARY KEY AUTOINCREMENT".into(),
            (Self::Serial, Mysql) => "BIGINT AUTO_INCREMENT PRIMARY KEY".into(),
            (Self::Serial, Postgres) => "BIGSERIAL PRIMARY KEY".into(),
            (Self::Big | Self::Int | Self::Small, Sqlite) => "INTEGER".into(),
            (Self::Big, _) => "BIGINT".into(),
            (Self::Int, Mysql) => "INT".into(),
            (Self::Int, Postgres) => "INTEGER".into(),
            (Self::Small, _) => "SMALLINT".into(),
            (Self::Chars(length), Mysql | Postgres) => format!("VARCHAR({length})"),
            (Self::Room(length), Mysql) => {
                format!("CHAR({length}) CHARACTER SET ascii COLLATE ascii_bin")
            }
            (Self::Room(length), Postgres) => format!("VARCHAR({length})"),
            (Self::Chars(_) | Self::Room(_), Sqlite) | (Self::Text, _) => "TEXT".into(),
            (Self::Blob, Sqlite) => "BLOB".into(),
            (Self::Blob, Mysql) => "LONGBLOB".into(),
            (Self::Blob, Postgres) => "BYTEA".into(),
        }
    }
}

/// A column: name, kind, and what it holds when nobody says.
#[derive(Clone, Copy, Debug)]
pub struct Column(pub &'static str, pub Kind, pub Unset);

/// What a column holds that an INSERT does not name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unset {
    /// It has to be named.
    Refused,
    Null,
    /// 0: for a number that is added to a table with rows.
    Zero,
}

/// A column that always has a value.
pub const fn not_null(name: &'static str, kind: Kind) -> Column {
    Column(name, kind, Unset::Refused)
}

/// A column that may be NULL.
pub const fn null(name: &'static str, kind: Kind) -> Column {
    Column(name, kind, Unset::Null)
}

/// A number that always has a value, 0 in the rows that are there already.
pub const fn with_default(name: &'static str, kind: Kind) -> Column {
    Column(name, kind, Unset::Zero)
}

/// The statement that adds a column to a table.
pub fn add_column(table: &str, column: &Column, backend: Backend) -> String {
    format!("ALTER TABLE {table} ADD COLUMN {}", column_sql(column, backend))
}

/// An index, on all backends or some, whole or for the rows of a condition.
#[derive(Clone, Debug)]
pub struct Index {
    pub name: String,
    pub columns: &'static str,
    pub unique: bool,
    /// `WHERE …`; only for backends that have partial indexes.
    pub condition: Option<String>,
    pub backends: &'static [Backend],
}

/// Every backend.
pub const EVERYWHERE: &[Backend] = &[Backend::Sqlite, Backend::Mysql, Backend::Postgres];

/// Texts are compared byte by byte, trailing spaces included. That collation has another name on
/// MariaDB than on MySQL, and each of them skips the other's comment.
const MYSQL_SUFFIX: &str = " ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 \
     /*M! COLLATE=utf8mb4_nopad_bin */ /*!80017 COLLATE=utf8mb4_0900_bin */";

/// A table with its indexes.
#[derive(Clone, Debug)]
pub struct Table {
    pub name: String,
    pub columns: Vec<Column>,
    /// Empty when a column is [`Kind::Serial`].
    pub primary_key: &'static str,
    pub indexes: Vec<Index>,
    /// PostgreSQL's storage parameters, e.g. `fillfactor = 70`; empty = the server's.
    pub postgres_storage: &'static str,
}

impl Table {
    /// The statements that make it; each can be repeated.
    pub fn statements(&self, backend: Backend) -> Vec<String> {
        let indexes = || self.indexes.iter().filter(|index| index.backends.contains(&backend));
        let mut lines: Vec<String> =
            self.columns.iter().map(|column| column_sql(column, backend)).collect();
        if !self.primary_key.is_empty() {
            lines.push(format!("PRIMARY KEY ({})", self.primary_key));
        }
        // MySQL has no CREATE INDEX IF NOT EXISTS, the others have no index inside CREATE TABLE.
        if backend == Backend::Mysql {
            lines.extend(indexes().map(|index| {
                let unique = if index.unique { "UNIQUE " } else { "" };
                format!("{unique}KEY {} ({})", index.name, index.columns)
            }));
        }
        let mut statements = vec![format!(
            "CREATE TABLE IF NOT EXISTS {} (\n  {}\n){}",
            self.name,
            lines.join(",\n  "),
            self.suffix(backend)
        )];
        if backend != Backend::Mysql {
            statements.extend(indexes().map(|index| {
                let unique = if index.unique { "UNIQUE " } else { "" };
                let condition = index.condition.as_deref().unwrap_or_default();
                let Index { name, columns, .. } = index;
                format!(
                    "CREATE {unique}INDEX IF NOT EXISTS {name} ON {} ({columns}){condition}",
                    self.name
                )
            }));
        }
        statements
    }

    fn suffix(&self, backend: Backend) -> String {
        let wide = self.columns.iter().any(|column| matches!(column.1, Kind::Blob));
        let composite = self.primary_key.contains(',');
        match backend {
            Backend::Mysql => MYSQL_SUFFIX.to_owned(),
            Backend::Sqlite if composite && !wide => " WITHOUT ROWID".to_owned(),
            Backend::Postgres if !self.postgres_storage.is_empty() => {
                format!(" WITH ({})", self.postgres_storage)
            }
            Backend::Sqlite | Backend::Postgres => String::new(),
        }
    }
}

fn column_sql(column: &Column, backend: Backend) -> String {
    let Column(name, kind, unset) = column;
    let null = match unset {
        _ if matches!(kind, Kind::Serial) => "",
        Unset::Refused => " NOT NULL",
        Unset::Null => "",
        Unset::Zero => " NOT NULL DEFAULT 0",
    };
    format!("{name} {}{null}", kind.sql(backend))
}
