//! 100 tasks on 4 GPUs: never two on one, each sees exactly one, and all four are used.

use std::collections::{BTreeMap, BTreeSet};

use asyncflow_tests::{Backend, Cluster};

use super::scene::{all_succeed, create_many, on_one_gpu, shape};

async fn never_two_on_one_gpu(backend: Backend) {
    let cluster = Cluster::start(backend, shape(4)).await;
    let client = cluster.client(0);
    let file = cluster.scratch().join("marks");
    // One write of one short line each: they never mix.
    let script = format!(
        r#"echo "begin $CUDA_VISIBLE_DEVICES $CUDA_DEVICE_ORDER $ASYNCFLOW_TASK_ID" >> {0}
        sleep 0.05
        echo "end $CUDA_VISIBLE_DEVICES $CUDA_DEVICE_ORDER $ASYNCFLOW_TASK_ID" >> {0}"#,
        file.display()
    );
    let ids = create_many(&client, 100, on_one_gpu(&script)).await;
    let ended = all_succeed(&cluster, &ids).await;
    assert!(ended.iter().all(|task| task.failures == 0));

    let marks = std::fs::read_to_string(&file).unwrap();
    let mut users: BTreeMap<&str, &str> = BTreeMap::new();
    let (mut used, mut begun) = (BTreeSet::new(), BTreeSet::new());
    for line in marks.lines() {
        let [mark, gpu, order, task] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{line:?} is no mark")
        };
        assert_eq!(order, "PCI_BUS_ID");
        assert!(gpu.parse::<u32>().is_ok_and(|index| index < 4), "one of four, not {gpu:?}");
        if mark == "begin" {
            let other = users.insert(gpu, task);
            assert_eq!(other, None, "GPU {gpu} is given to {task} while {other:?} has it");
            assert!(begun.insert(task), "{task} runs once");
            used.insert(gpu);
        } else {
            assert_eq!(users.remove(gpu), Some(task));
        }
    }
    assert_eq!((begun.len(), used.len(), users.len()), (100, 4, 0));
}
on_each_database!(never_two_on_one_gpu);
