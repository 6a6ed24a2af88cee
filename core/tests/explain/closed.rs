//! Hosts that take nothing: those that cannot, those that may not, those that are away.

use asyncflow_core::{
    explain::{Host, Kind, Report, is_impossible},
    resources::Resources,
};

use crate::fixture::{MINUTE_MS, NOW_MS, ask, busy, gpu, gpus, host, kinds, task, type_name};

fn full_disk(letter: char) -> Host {
    let host = host(letter, vec![gpu(0)], vec![]);
    let takes_nothing = "No space left on device".to_owned();
    let report = host.report.clone().map(|report| Report { takes_nothing, ..report });
    Host { report, ..host }
}

/// A worker that has left its orders behind.
fn absent(worker_id: &str) -> Host {
    Host {
        worker_id: worker_id.into(),
        name: worker_id.into(),
        is_cordoned: true,
        is_unknown: true,
        heard_ms: Some(NOW_MS - 5 * MINUTE_MS),
        ..Host::default()
    }
}

#[test]
fn a_host_that_cannot_start_tasks_gives_nothing() {
    let why = "host-b cannot start tasks: No space left on device";
    for needs in [gpus(1), Resources::default()] {
        let with = if needs.gpus > 0 { "1 GPU" } else { "a slot" };
        let explained = ask(&task(needs), &[full_disk('b')], 0);
        let wanted = format!("no host with {with} takes tasks now: {why}");
        assert_eq!(explained.summary, wanted);
        assert_eq!(kinds(&explained), [Kind::NoWorkerReady; 2]);
        let told = &explained.reasons[1];
        assert_eq!((told.message.as_str(), told.worker_id.as_str()), (why, "w-b"));
    }
    // Another one can, and it is not the better one that it seems to be.
    let busy = host('a', vec![gpu(0)], vec![busy(0, None)]);
    let explained = ask(&task(gpus(1)), &[busy, full_disk('b')], 0);
    let wanted = "waiting for 1 GPU: host-a has none free, GPU 0 runs train-1-0000000000000";
    assert_eq!(explained.summary, wanted);
    let free = host('a', vec![gpu(0)], vec![]);
    let explained = ask(&task(gpus(1)), &[full_disk('b'), free], 0);
    assert_eq!(explained.summary, "it is next, host-a has room for it");
}

#[test]
fn a_host_that_is_away_might_have_what_others_lack() {
    let name = type_name("train");
    let small = || host('b', vec![gpu(0)], vec![]);
    let hosts = [small(), absent("anna")];
    let explained = ask(&task(gpus(4)), &hosts, 0);
    let wanted = "no host with 4 GPUs on one host takes tasks now: anna is cordoned and away since \
                  5 min and host-b has 1 GPU (NVIDIA A100, 40 GiB)";
    assert_eq!(explained.summary, wanted);
    assert_eq!(explained.reasons[1].worker_id, "anna");
    assert!(!is_impossible(&name, &gpus(4), &hosts));
    let named = Resources { host: "host-z".into(), ..Resources::default() };
    assert!(!is_impossible(&name, &named, &hosts), "that may be what the host is called");
    assert!(is_impossible(&name, &gpus(4), &hosts[..1]), "nobody is away");
    let alone = ask(&task(Resources::default()), &hosts[1..], 0);
    let wanted = "no host with a slot takes tasks now: anna is cordoned and away since 5 min";
    assert_eq!(alone.summary, wanted);
    // Where another host has room it does not matter.
    let explained = ask(&task(gpus(1)), &hosts, 0);
    assert_eq!(explained.summary, "it is next, host-b has room for it");
    // A task is given back to the host that gave it away where there is no other.
    let needs = Resources { avoid_host: "host-b".into(), ..gpus(1) };
    let explained = ask(&task(needs), &hosts, 0);
    assert_eq!(explained.summary, "it is next, host-b has room for it");
}

#[test]
fn a_host_that_is_lost_is_told_with_what_is_known_of_it() {
    let heard_ms = Some(NOW_MS - 90_000);
    let lost = |host: Host| Host { is_alive: false, heard_ms, ..host };
    let big = lost(host('a', (0..4).map(gpu).collect(), vec![]));
    let told = |host: &Host| ask(&task(gpus(4)), std::slice::from_ref(host), 0).summary;
    let head = "no host with 4 GPUs on one host takes tasks now: host-a";
    assert_eq!(told(&big), format!("{head} is away since 90 s"));
    let draining = Host { is_draining: true, ..big.clone() };
    assert_eq!(told(&draining), format!("{head} is draining and away since 90 s"));
    let silent = Host { report: None, ..big };
    assert_eq!(told(&silent), format!("{head} is away since 90 s"), "it has never told");
    let small = told(&lost(host('a', vec![gpu(0)], vec![])));
    assert!(small.starts_with("no host can ever run it"), "what it has is known: {small}");
}
