//! Notes that a type has commands.

use asyncflow_core::id::TypeName;

use super::TOPIC;
use crate::{Store, error::StoreError};

impl Store {
    /// A task of this type is about to come with a command: the workers that take nothing else are
    /// to look at the type from now on. Idempotent; no change of the type's revision.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn note_commands(&self, name: &TypeName) -> Result<(), StoreError> {
        let changed = self
            .transact(name, |store, tx, name| {
                Box::pin(async move {
                    let mut sql = store.sql("UPDATE task_types SET has_commands = 1 WHERE name = ");
                    sql.bind(name.as_str()).push(" AND has_commands = 0").run(tx).await
                })
            })
            .await?;
        self.type_cache().forget(name);
        if changed > 0 {
            self.wake().ring([TOPIC]);
        }
        Ok(())
    }
}
