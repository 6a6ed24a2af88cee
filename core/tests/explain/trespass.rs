//! Tasks on GPUs that they were not given.

use asyncflow_core::{
    event::{RetryHint, Settle},
    explain::{Gpu, GpuState, Host, Kind, Process, Running},
    reason::FailureReason,
};

use crate::fixture::{ask, foreign, gpu, gpus, host, kinds, running, settled, task};

/// A GPU on which a task is seen that was not given it.
fn trespassed(index: i32, task_id: &str) -> Gpu {
    let process = Process {
        pid: 77,
        user: "asyncflow".into(),
        command: format!("task {task_id}, which was not given this GPU"),
        blocks: true,
        ..Process::default()
    };
    Gpu { state: GpuState::Foreign, processes: vec![process], ..gpu(index) }
}

fn trespasser(task_id: &str) -> Running {
    Running {
        task_id: task_id.into(),
        user: "bob".into(),
        gpus: vec!["GPU-0".into()],
        trespassed_gpus: vec!["GPU-1".into()],
        ..Running::default()
    }
}

fn place(task_id: &str) -> Host {
    host('a', vec![gpu(0), trespassed(1, task_id)], vec![trespasser(task_id)])
}

#[test]
fn who_waits_is_told_of_the_task_that_is_on_a_gpu_which_it_does_not_have() {
    let id = "train-1-0000000000009";
    let explained = ask(&task(gpus(1)), &[place(id)], 0);
    let wanted = "waiting for 1 GPU: host-a has none free, \
                  GPU 0 runs train-1-0000000000009 of bob, \
                  GPU 1 is used by train-1-0000000000009 of bob, which was not given it";
    assert_eq!(explained.summary, wanted);
    assert_eq!(kinds(&explained), [Kind::TooLittleFree, Kind::GpuInUse, Kind::Trespass]);
    let told = &explained.reasons[2];
    assert_eq!((told.task_id.as_str(), told.user.as_str()), (id, "bob"));
    assert_eq!((told.gpu.as_str(), told.process.as_ref().map(|it| it.pid)), ("GPU-1", Some(77)));
}

/// It has trespassed there, and has gone; who is there now is a stranger.
#[test]
fn a_stranger_is_not_taken_for_a_task_that_was_there_once() {
    let hosts = [host('a', vec![gpu(0), foreign(1)], vec![trespasser("train-1-0000000000009")])];
    let explained = ask(&task(gpus(1)), &hosts, 0);
    assert!(kinds(&explained).contains(&Kind::ForeignProcess), "{explained:?}");
    assert!(!kinds(&explained).contains(&Kind::Trespass), "{explained:?}");
}

#[test]
fn who_trespasses_is_told_so() {
    let task = running(gpus(1));
    let explained = ask(&task, &[place(&task.id.to_string())], 0);
    let wanted = "it runs on host-a (worker w-a), GPU 0, since 4 min; \
                  it was seen on GPU 1, which it was not given";
    assert_eq!(explained.summary, wanted);
    assert_eq!(kinds(&explained), [Kind::Running, Kind::Trespass]);
    let told = &explained.reasons[1];
    assert_eq!((told.host.as_str(), told.gpu.as_str()), ("host-a", "GPU-1"));
}

#[test]
fn who_was_stopped_for_it_is_told_so() {
    let (reason, message) = (FailureReason::Trespassed, "it used GPU 1, not its own".to_owned());
    let task = settled(Settle::Fail { reason, message, hint: RetryHint::Never });
    let explained = ask(&task, &[], 0);
    assert_eq!(explained.summary, "it failed 1 s ago: trespassed: it used GPU 1, not its own");
    assert_eq!(kinds(&explained), [Kind::Ended, Kind::Trespass]);
    assert_eq!(explained.reasons[1].message, "it used GPU 1, not its own");
}
