//! Whether the server keeps what it has acknowledged.

use crate::{Store, backend::Backend, error::StoreError};

impl Store {
    /// What can make a power cut take acknowledged tasks with it, a sentence each that names the
    /// setting; none when a commit is on disk before it is answered.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn durability_gaps(&self) -> Result<Vec<String>, StoreError> {
        match self.backend() {
            Backend::Sqlite => self.sqlite_gaps().await,
            Backend::Mysql => self.mysql_gaps().await,
            Backend::Postgres => self.postgres_gaps().await,
        }
    }

    async fn sqlite_gaps(&self) -> Result<Vec<String>, StoreError> {
        let row = self.sql("PRAGMA synchronous").one(self.writer()).await?;
        let synchronous: i64 = row.map(|row| row.try_get_by_index(0)).transpose()?.unwrap_or(0);
        // 2 is FULL, 3 is EXTRA.
        let gap = format!("PRAGMA synchronous is {synchronous}: the log is not synced at COMMIT");
        Ok((synchronous < 2).then_some(gap).into_iter().collect())
    }

    async fn mysql_gaps(&self) -> Result<Vec<String>, StoreError> {
        let mut sql = self.sql(
            "SELECT CAST(@@innodb_flush_log_at_trx_commit AS SIGNED), CAST(@@log_bin AS SIGNED), \
             CAST(@@sync_binlog AS SIGNED), CAST(@@innodb_doublewrite AS CHAR)",
        );
        let Some(row) = sql.one(self.reader()).await? else { return Ok(Vec::new()) };
        let (flush, binlog, sync): (i64, i64, i64) =
            (row.try_get_by_index(0)?, row.try_get_by_index(1)?, row.try_get_by_index(2)?);
        let doublewrite: String = row.try_get_by_index(3)?;
        let mut gaps = Vec::new();
        // 3 is MariaDB's: it syncs twice.
        if ![1, 3].contains(&flush) {
            gaps.push(format!(
                "innodb_flush_log_at_trx_commit is {flush}: a power cut takes up to a second of \
                 acknowledged tasks; 1 keeps them"
            ));
        }
        if binlog != 0 && sync != 1 {
            gaps.push(format!(
                "sync_binlog is {sync} with a binary log: recovery rolls back what that log lost; \
                 1 keeps it"
            ));
        }
        if ["OFF", "0", "DETECT_ONLY"].contains(&doublewrite.as_str()) {
            gaps.push(format!(
                "innodb_doublewrite is {doublewrite}: a power cut can leave half-written pages; ON \
                 repairs them"
            ));
        }
        Ok(gaps)
    }

    async fn postgres_gaps(&self) -> Result<Vec<String>, StoreError> {
        let mut sql = self.sql(
            "SELECT name, setting FROM pg_settings WHERE setting = 'off' \
             AND name IN ('fsync', 'full_page_writes', 'synchronous_commit') ORDER BY name",
        );
        let mut gaps = Vec::new();
        for row in sql.all(self.reader()).await? {
            let name: String = row.try_get_by_index(0)?;
            let harm = match name.as_str() {
                "synchronous_commit" => "a power cut takes the last acknowledged tasks",
                "fsync" => "a power cut can take any task, and the database with them",
                _ => "a power cut can leave half-written pages",
            };
            gaps.push(format!("{name} is off: {harm}; on keeps them"));
        }
        Ok(gaps)
    }
}
