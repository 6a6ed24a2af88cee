//! Task types.

use asyncflow_core::task_type::TaskType;
use asyncflow_store::{Store, StoreError};

use super::fixture::type_name;

pub async fn types_are_ensured_once_and_changed_by_revision(store: Store) {
    let name = type_name("train");
    assert_eq!(store.get_type(&name).await.unwrap(), None);
    let ensured = (0..6).map(|_| {
        let (store, name) = (store.clone(), name.clone());
        tokio::spawn(async move { store.ensure_type(&name).await.unwrap() })
    });
    for ensured in ensured.collect::<Vec<_>>() {
        assert_eq!(ensured.await.unwrap().revision, 1);
    }
    let mut given = TaskType::with_defaults(type_name("given"), 0);
    given.description = "by hand".into();
    assert!(store.create_type(given.clone()).await.unwrap());
    assert!(!store.create_type(given).await.unwrap());
    let changed = store
        .update_type(&name, Some(1), |task_type| {
            task_type.priority = 7;
            task_type.name = type_name("other");
        })
        .await
        .unwrap();
    assert_eq!((changed.name.as_str(), changed.priority, changed.revision), ("train", 7, 2));
    assert_eq!(store.get_type(&name).await.unwrap(), Some(changed));
    let stale = store.update_type(&name, Some(1), |task_type| task_type.priority = 8).await;
    assert!(matches!(stale, Err(StoreError::Conflict { current: 2 })));
    let missing = store.update_type(&type_name("none"), None, |_| {}).await;
    assert!(matches!(missing, Err(StoreError::NotFound)));
    let names: Vec<_> =
        store.list_types(None, 10).await.unwrap().into_iter().map(|t| t.name.to_string()).collect();
    assert_eq!(names, ["given", "train"]);
    assert_eq!(store.list_types(Some("given"), 10).await.unwrap().len(), 1);
}
