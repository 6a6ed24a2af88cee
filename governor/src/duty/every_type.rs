//! Every task type, page by page: no duty may stop at the first table.

use asyncflow_core::task_type::TaskType;
use asyncflow_store::{Store, StoreError};

const PAGE: u32 = 500;

/// All task types, in order of their names.
///
/// # Errors
/// Those of the database.
pub(super) async fn all_types(store: &Store) -> Result<Vec<TaskType>, StoreError> {
    let mut all: Vec<TaskType> = Vec::new();
    loop {
        let after = all.last().map(|task_type| task_type.name.as_str().to_owned());
        let page = store.list_types(after.as_deref(), PAGE).await?;
        let last = page.len() < PAGE as usize;
        all.extend(page);
        if last {
            return Ok(all);
        }
    }
}
