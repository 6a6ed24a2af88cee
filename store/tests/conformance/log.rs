//! Logs.

use asyncflow_store::{LogChunk, LogStream, Store};

use super::fixture::insert_one;

const CHUNK: usize = 16 * 1_024;

pub async fn chunks_are_idempotent_and_bounded(store: Store) {
    let id = insert_one(&store).await.id;
    let chunk = |n: usize| LogChunk {
        task_id: id.clone(),
        attempt: 1,
        stream: if n.is_multiple_of(2) { LogStream::Stdout } else { LogStream::Stderr },
        offset: (n * CHUNK) as i64,
        time_ms: n as i64,
        bytes: vec![n as u8; CHUNK],
    };
    store.append_log(&[chunk(0), chunk(1)]).await.unwrap();
    store.append_log(&[chunk(1), chunk(2), chunk(2)]).await.unwrap();
    let page = store.read_log(&id, 1, 0, usize::MAX).await.unwrap();
    assert_eq!(page.chunks, [chunk(0), chunk(1), chunk(2)]);
    assert_eq!(page.next_offset, 3 * CHUNK as i64);
    let cut = store.read_log(&id, 1, CHUNK as i64 + 10, CHUNK).await.unwrap();
    assert_eq!(cut.chunks.len(), 1);
    assert_eq!((cut.chunks[0].offset, cut.chunks[0].bytes.len()), (CHUNK as i64 + 10, CHUNK - 10));
    assert_eq!(cut.next_offset, 2 * CHUNK as i64);
    let end = store.read_log(&id, 1, page.next_offset, 10).await.unwrap();
    assert_eq!((end.chunks.len(), end.next_offset), (0, page.next_offset));
    assert!(store.read_log(&id, 2, 0, 10).await.unwrap().chunks.is_empty());
    for n in 3..100 {
        store.append_log(&[chunk(n)]).await.unwrap();
    }
    let page = store.read_log(&id, 1, 0, usize::MAX).await.unwrap();
    let starts: Vec<i64> = page.chunks.iter().map(|c| c.offset / CHUNK as i64).collect();
    assert_eq!(starts[..4], [0, 1, 2, 3]);
    assert_eq!(starts[4..], (36..100).collect::<Vec<_>>());
    assert!(store.purge_logs(50, 1_000, None).await.unwrap() > 0);
}
