//! Why a task waits, in one sentence: who holds the GPU that it could have.

use asyncflow_proto::v1::{ExplanationKind, GpuState, Resources};
use asyncflow_tests::{Backend, Cluster};

use super::scene::{on, on_one_gpu, shape, until_started, until_state};

async fn the_stranger_is_named(backend: Backend) {
    let cluster = Cluster::start(backend, shape(2)).await;
    let client = cluster.client(0);
    cluster.gpus(0).stranger(1, 4_000_242, "bob", 20 << 10);
    until_state(&client, 0, 1, GpuState::Foreign).await;
    let both = Resources { gpus: 2, ..Resources::default() };
    let created = client.create(on(both, "true")).await.unwrap();
    let why = client.explain(&created.id).await.unwrap();
    for part in ["2 GPUs", "host-0", "4000242", "bob"] {
        assert!(why.summary.contains(part), "{part} is not in {}", why.summary);
    }
    let process = why.explanations.iter().find_map(|part| part.process.clone()).unwrap();
    assert_eq!((process.pid, process.user.as_str()), (4_000_242, "bob"));

    let never = Resources { gpus: 3, ..Resources::default() };
    let created = client.create(on(never, "true")).await.unwrap();
    let why = client.explain(&created.id).await.unwrap();
    let kinds: Vec<_> = why.explanations.iter().map(|part| part.kind()).collect();
    assert!(kinds.contains(&ExplanationKind::NeverFits), "{} {kinds:?}", why.summary);

    let created = client.create(on_one_gpu("sleep 300")).await.unwrap();
    until_started(&client, &created.id).await;
    let why = client.explain(&created.id).await.unwrap();
    assert_eq!(why.explanations[0].kind(), ExplanationKind::Running, "{}", why.summary);
}
on_each_database!(the_stranger_is_named: sqlite Sqlite);
