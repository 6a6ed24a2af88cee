//! Placement never gives away what is not there, keeps what is held, and is fair.
#![allow(clippy::unwrap_used, reason = "tests")]

mod preempt;
mod waiting;

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use asyncflow_core::{
    placement::{
        Gpu, GpuUse, Host, Misfit, Placed, Plan, Scene, Standing, Waiting, misfits, place,
    },
    resources::Resources,
};
use proptest::prelude::*;

const GIB: i64 = 1 << 30;
const HOLD_MS: i64 = 300_000;
const NOW_MS: i64 = 10_000_000;

fn gpu(host: &str, number: usize, usage: GpuUse) -> Gpu {
    let free_bytes = if usage == GpuUse::Free { 24 * GIB } else { 0 };
    Gpu {
        uuid: format!("{host}-{number}"),
        model: "NVIDIA A100-SXM4-24GB".into(),
        memory_bytes: 24 * GIB,
        free_bytes,
        usage,
        free_time_ms: None,
    }
}

fn host(name: &str, gpus: usize) -> Host {
    Host {
        worker_id: name.into(),
        name: name.into(),
        labels: BTreeMap::new(),
        types: None,
        slots: 1_000,
        cpu_millis: 1_000_000,
        memory_bytes: 1_000 * GIB,
        cpu_millis_total: 0,
        memory_bytes_total: 0,
        load: 0.0,
        running: 0,
        gpus: (0..gpus).map(|number| gpu(name, number, GpuUse::Free)).collect(),
    }
}

fn gpus(count: i32) -> Resources {
    Resources { gpus: count, ..Resources::default() }
}

fn share(gib: i64) -> Resources {
    Resources { gpu_memory_bytes: gib * GIB, ..Resources::default() }
}

/// The `number`th task of somebody, ready that many milliseconds before now.
fn task(number: i64, user: &str, needs: Resources) -> Waiting {
    let mut id: asyncflow_core::id::TaskId = "train-1-0000000000001".parse().unwrap();
    id.key = number;
    Waiting {
        id,
        user: user.into(),
        order_time_ms: NOW_MS - 1_000 + number,
        ready_ms: NOW_MS - 1_000 + number,
        priority: 0,
        max_running_ms: 0,
        needs: Arc::new(needs),
    }
}

fn plan_with(hosts: &[Host], waiting: &[Waiting], users: &BTreeMap<String, Standing>) -> Plan {
    place(&scene(hosts, waiting, users))
}

fn scene<'a>(
    hosts: &'a [Host],
    waiting: &'a [Waiting],
    users: &'a BTreeMap<String, Standing>,
) -> Scene<'a> {
    Scene { now_ms: NOW_MS, hosts, waiting, users, hold_after_ms: HOLD_MS, promises: &[] }
}

fn plan(hosts: &[Host], waiting: &[Waiting]) -> Plan {
    plan_with(hosts, waiting, &BTreeMap::new())
}

#[test]
fn twenty_shares_of_ten_gib_on_one_card_are_two() {
    let waiting: Vec<_> = (0..20).map(|number| task(number, "ana", share(10))).collect();
    let plan = plan(&[host("a", 1)], &waiting);
    let placed: Vec<_> = plan.placements.iter().map(|one| one.task).collect();
    assert_eq!(placed, [0, 1]);
    assert_eq!(plan.hosts[0].gpus[0].free_bytes, 4 * GIB);
}

#[test]
fn shares_are_packed_and_whole_gpus_stay_free_for_those_who_need_several() {
    let mut shared = host("b", 4);
    shared.gpus[2] = Gpu { free_bytes: 12 * GIB, ..gpu("b", 2, GpuUse::Shared) };
    shared.gpus[3] = Gpu { free_bytes: 20 * GIB, ..gpu("b", 3, GpuUse::Shared) };
    let hosts = [host("a", 4), shared];
    let waiting = [task(0, "ana", share(10)), task(1, "bob", gpus(1)), task(2, "eve", gpus(4))];
    let plan = plan(&hosts, &waiting);
    let of = |number| plan.placements.iter().find(|one| one.task == number).unwrap();
    assert_eq!(of(0).placed, Placed { gpus: vec!["b-2".into()], gpu_memory_bytes: 10 * GIB });
    assert_eq!(of(1).placed.gpus, ["b-0"], "where fewer are free");
    assert_eq!(of(2).placed.gpus, ["a-0", "a-1", "a-2", "a-3"]);
}

#[test]
fn requirements_decide_where_a_task_may_go() {
    let mut big = host("big", 1);
    big.gpus[0].model = "NVIDIA H100 80GB HBM3".into();
    (big.gpus[0].memory_bytes, big.gpus[0].free_bytes) = (80 * GIB, 80 * GIB);
    big.labels.insert("room".into(), "2".into());
    let mut lesser = host("lesser", 1);
    lesser.cpu_millis = 500;
    let hosts = [lesser, big];
    let room = BTreeMap::from([("room".to_owned(), "2".to_owned())]);
    for needs in [
        Resources { gpu_model: "h100".into(), ..gpus(1) },
        Resources { gpu_memory_min_bytes: 40 * GIB, ..gpus(1) },
        Resources { host: "big".into(), ..gpus(1) },
        Resources { worker_labels: room, ..gpus(1) },
        Resources { cpu_millis: 501, ..gpus(1) },
        Resources { avoid_host: "lesser".into(), ..gpus(1) },
    ] {
        let plan = plan(&hosts, &[task(0, "ana", needs.clone())]);
        assert_eq!(plan.placements.first().map(|one| one.host), Some(1), "{needs:?}");
    }
    let needs = Resources { avoid_host: "lesser".into(), ..Resources::default() };
    let plan = plan(&hosts[..1], &[task(0, "ana", needs)]);
    assert_eq!(plan.placements.len(), 1, "there is no other host");
}

#[test]
fn one_task_of_somebody_comes_before_the_next_of_two_hundred_of_another() {
    let mut waiting: Vec<_> = (0..200).map(|number| task(number, "ana", gpus(1))).collect();
    waiting.push(task(500, "bob", gpus(1)));
    let ana = Standing { gpu_millis: 3_000, usage: 0.0 };
    let mut one_free = host("a", 4);
    one_free.gpus[..3].iter_mut().for_each(|gpu| gpu.usage = GpuUse::Exclusive);
    let plan = plan_with(&[one_free], &waiting, &BTreeMap::from([("ana".into(), ana)]));
    assert_eq!(plan.placements.iter().map(|one| one.task).collect::<Vec<_>>(), [200]);
}

#[test]
fn users_alternate_and_the_one_who_had_less_begins() {
    let mut waiting: Vec<_> = (0..10).map(|number| task(number, "ana", gpus(1))).collect();
    waiting.extend((10..20).map(|number| task(number, "bob", gpus(1))));
    let ana = Standing { gpu_millis: 0, usage: 7.0 };
    let plan = plan_with(&[host("a", 6)], &waiting, &BTreeMap::from([("ana".into(), ana)]));
    let users: Vec<_> = plan.placements.iter().map(|one| waiting[one.task].user.as_str()).collect();
    assert_eq!(users, ["bob", "ana", "bob", "ana", "bob", "ana"]);
}

/// A host with four GPUs of which one is free, and a task for all of them that waits for so long.
fn held(waited_ms: i64, others: Vec<Waiting>) -> (Vec<Host>, Vec<Waiting>) {
    let mut crowded = host("a", 4);
    for gpu in &mut crowded.gpus[1..] {
        (gpu.usage, gpu.free_bytes) = (GpuUse::Exclusive, 0);
        gpu.free_time_ms = Some(NOW_MS + 60_000);
    }
    let mut large = task(900, "ana", gpus(4));
    large.ready_ms = NOW_MS - waited_ms;
    (vec![crowded], [vec![large], others].concat())
}

#[test]
fn what_is_freed_is_kept_for_a_task_that_waits_for_too_long() {
    let short = Waiting { max_running_ms: 60_000, ..task(2, "bob", gpus(1)) };
    let long = Waiting { max_running_ms: 60_001, ..task(3, "eve", gpus(1)) };
    let endless = task(4, "ida", share(1));
    let (hosts, waiting) = held(HOLD_MS - 1, vec![endless.clone()]);
    assert_eq!(plan(&hosts, &waiting).placements.len(), 1, "not long enough");

    let (hosts, waiting) = held(HOLD_MS, vec![endless, long]);
    let kept = plan(&hosts, &waiting);
    assert_eq!((kept.placements.len(), kept.holds.len()), (0, 1));
    assert_eq!((kept.holds[0].task, kept.holds[0].start_ms), (0, Some(NOW_MS + 60_000)));
    let users = BTreeMap::new();
    let why = misfits(&scene(&hosts, &waiting, &users), &kept, 2);
    assert!(matches!(&why[0][..], [Misfit::Gpus { free: 0, kept, .. }] if kept == &["a-0"]));

    let (mut hosts, waiting) = held(HOLD_MS, vec![short]);
    let filled = plan(&hosts, &waiting);
    assert_eq!(filled.placements.len(), 1, "it has ended when the others are free");
    hosts[0].gpus[2].free_time_ms = None;
    assert_eq!(plan(&hosts, &waiting).placements.len(), 0, "nobody knows when they are free");
}

#[test]
fn gpus_are_kept_only_where_the_task_can_ever_have_its_cores_and_memory() {
    let mut large = task(0, "ana", Resources { cpu_millis: 16_000, ..gpus(2) });
    large.ready_ms = NOW_MS - HOLD_MS;
    let mut small = host("a", 2);
    small.cpu_millis = 8_000;
    let mut busy = host("b", 2);
    busy.gpus.iter_mut().for_each(|gpu| gpu.usage = GpuUse::Exclusive);
    for total in [0, 8_000] {
        small.cpu_millis_total = total;
        let plan = plan(&[small.clone(), busy.clone()], std::slice::from_ref(&large));
        assert_eq!(plan.holds.iter().map(|hold| hold.host).collect::<Vec<_>>(), [1], "{total}");
    }
    // Also while its own GPUs are in use, if it says what it has in all.
    small.gpus[0].usage = GpuUse::Exclusive;
    assert!(plan(&[small.clone()], std::slice::from_ref(&large)).holds.is_empty());
    small.cpu_millis_total = 16_000;
    assert_eq!(plan(&[small], &[large]).holds.len(), 1, "others use its cores");
}

#[test]
fn a_host_is_avoided_only_for_one_that_can_ever_take_the_task() {
    let needs = Resources { avoid_host: "a".into(), cpu_millis: 16_000, ..gpus(1) };
    let waiting = [task(0, "ana", needs)];
    let mut small = host("b", 1);
    (small.cpu_millis, small.cpu_millis_total) = (8_000, 8_000);
    let placed = plan(&[host("a", 1), small.clone()], &waiting).placements;
    assert_eq!(placed.iter().map(|one| one.host).collect::<Vec<_>>(), [0]);
    small.cpu_millis_total = 16_000;
    assert!(plan(&[host("a", 1), small.clone()], &waiting).placements.is_empty());
    // Better there than nowhere.
    let [mut one] = waiting;
    one.ready_ms = NOW_MS - 10 * 60_000;
    assert_eq!(plan(&[host("a", 1), small], &[one]).placements[0].host, 0);
}

#[test]
fn why_a_task_waits_is_told_for_each_host() {
    let waiting = [task(0, "ana", Resources { host: "b".into(), cpu_millis: 9, ..gpus(5) })];
    let mut full = host("a", 4);
    (full.slots, full.cpu_millis) = (0, 8);
    full.gpus[1].usage = GpuUse::Unavailable;
    let hosts = [full];
    let users = BTreeMap::new();
    let scene = scene(&hosts, &waiting, &users);
    let why = misfits(&scene, &place(&scene), 0).remove(0);
    let wanted = [
        Misfit::Host { wanted: "b".into() },
        Misfit::Slots,
        Misfit::Cpus { wanted: 9, free: 8 },
        Misfit::Gpus { wanted: 5, suitable: 4, free: 3, kept: vec![], busy: vec!["a-1".into()] },
    ];
    assert_eq!(why, wanted);
}

/// What `docs/adr/0022-placement.md` tells: run with `--release --nocapture`.
#[test]
#[expect(clippy::disallowed_methods, reason = "it measures")]
fn ten_thousand_tasks_over_twenty_hosts() {
    let hosts: Vec<Host> = (0..20).map(|number| host(&format!("h{number}"), 8)).collect();
    let mut waiting = Vec::new();
    for number in 0..10_000 {
        let needs = match number % 4 {
            0 => gpus(1),
            1 => gpus(4),
            2 => share(10),
            _ => Resources { gpu_memory_min_bytes: number * 1_000, ..gpus(2) },
        };
        waiting.push(task(number, &format!("user{}", number % 50), needs));
    }
    let begun = Instant::now();
    let plan = plan(&hosts, &waiting);
    println!("10,000 tasks over 20 hosts: {:?}", begun.elapsed());
    check(&hosts, &waiting, &plan).unwrap();
    assert!(plan.placements.len() > 40);
}

/// Everything that must hold of any plan.
fn check(hosts: &[Host], waiting: &[Waiting], plan: &Plan) -> Result<(), TestCaseError> {
    let mut seen = std::collections::BTreeSet::new();
    for one in &plan.placements {
        prop_assert!(seen.insert(one.task), "placed twice");
        let (needs, host) = (&waiting[one.task].needs, &hosts[one.host]);
        prop_assert!(needs.host.is_empty() || needs.host == host.name);
        let chosen: Vec<_> =
            host.gpus.iter().filter(|gpu| one.placed.gpus.contains(&gpu.uuid)).collect();
        let wanted = if needs.gpu_memory_bytes > 0 { 1 } else { needs.gpus as usize };
        prop_assert_eq!(chosen.len(), wanted);
        prop_assert_eq!(one.placed.gpus.len(), wanted);
        prop_assert_eq!(one.placed.gpu_memory_bytes, needs.gpu_memory_bytes);
        for gpu in chosen {
            prop_assert!(gpu.memory_bytes >= needs.gpu_memory_min_bytes);
            prop_assert!(gpu.model.to_lowercase().contains(&needs.gpu_model.to_lowercase()));
        }
    }
    for (at, host) in hosts.iter().enumerate() {
        let here: Vec<_> = plan.placements.iter().filter(|one| one.host == at).collect();
        let sum = |of: fn(&Resources) -> i64| -> i64 {
            here.iter().map(|one| of(&waiting[one.task].needs)).sum()
        };
        prop_assert!(here.len() <= host.slots as usize);
        prop_assert!(sum(|needs| needs.cpu_millis) <= host.cpu_millis.max(0));
        prop_assert!(sum(|needs| needs.memory_bytes) <= host.memory_bytes.max(0));
        for gpu in &host.gpus {
            let on_it = || here.iter().filter(|one| one.placed.gpus.contains(&gpu.uuid));
            let whole = on_it().filter(|one| one.placed.gpu_memory_bytes == 0).count();
            let shares: i64 = on_it().map(|one| one.placed.gpu_memory_bytes).sum();
            prop_assert!(whole == 0 || (whole == 1 && on_it().count() == 1));
            prop_assert!(whole == 0 || gpu.usage == GpuUse::Free);
            prop_assert!(shares <= gpu.free_bytes);
            let is_shared = matches!(gpu.usage, GpuUse::Free | GpuUse::Shared);
            prop_assert!(shares == 0 || is_shared);
        }
        for hold in plan.holds.iter().filter(|hold| hold.host == at) {
            for one in here.iter().filter(|one| one.task != hold.task) {
                let is_on_it = one.placed.gpus.iter().any(|uuid| hold.gpus.contains(uuid));
                let task = &waiting[one.task];
                let ends_ms = NOW_MS + task.max_running_ms;
                let fills = task.max_running_ms > 0
                    && hold.start_ms.is_some_and(|start_ms| ends_ms <= start_ms);
                // Who is as overdue came before it in the same plan, if he has waited longer.
                let turn = |task: &Waiting| (task.ready_ms, task.id.clone());
                let is_overdue = task.needs.gpus > 1 && NOW_MS - task.ready_ms >= HOLD_MS;
                let is_before = is_overdue && turn(task) < turn(&waiting[hold.task]);
                prop_assert!(!is_on_it || fills || is_before, "a hold is not kept");
            }
        }
    }
    Ok(())
}

fn any_gpu(host: usize, number: usize) -> impl Strategy<Value = Gpu> {
    let usage = prop_oneof![
        4 => Just(GpuUse::Free),
        2 => Just(GpuUse::Shared),
        2 => Just(GpuUse::Exclusive),
        1 => Just(GpuUse::Unavailable)
    ];
    let memory = prop_oneof![Just(24), Just(80)];
    let free_time = proptest::option::of(0..600_000_i64);
    (usage, memory, 0..=24_i64, free_time, any::<bool>()).prop_map(
        move |(usage, memory, free, free_time, is_a)| Gpu {
            uuid: format!("h{host}-{number}"),
            model: if is_a { "NVIDIA A100".into() } else { "NVIDIA H100".into() },
            memory_bytes: memory * GIB,
            free_bytes: match usage {
                GpuUse::Free => memory * GIB - free * GIB / 24,
                GpuUse::Shared => free * GIB,
                _ => 0,
            },
            usage,
            free_time_ms: free_time.map(|after_ms| NOW_MS + after_ms),
        },
    )
}

fn any_host(at: usize) -> impl Strategy<Value = Host> {
    let gpus: Vec<_> = (0..4).map(|number| any_gpu(at, number)).collect();
    let sizes = (0..6_u32, 0..8_000_i64, 0..64_i64, 0.0..3.0_f64, 0..5_u32, 0..=4_usize);
    (gpus, sizes).prop_map(move |(mut gpus, (slots, cpu_millis, memory, load, running, count))| {
        gpus.truncate(count);
        let memory_bytes = memory * GIB;
        let name = format!("h{at}");
        Host { slots, cpu_millis, memory_bytes, load, running, gpus, ..host(&name, 0) }
    })
}

fn any_needs() -> impl Strategy<Value = Resources> {
    let gpu = prop_oneof![(0..5_i32).prop_map(gpus), (1..30_i64).prop_map(share),];
    let model = prop_oneof![3 => Just(""), 1 => Just("a100")];
    let host = prop_oneof![5 => Just(""), 1 => Just("h1")];
    let avoid = prop_oneof![5 => Just(""), 1 => Just("h0")];
    let least = prop_oneof![3 => Just(0), 1 => Just(40 * GIB)];
    (gpu, model, host, avoid, least, 0..3_000_i64, 0..20_i64).prop_map(
        |(gpu, model, host, avoid, least, cpu_millis, memory)| Resources {
            gpu_model: model.into(),
            host: host.into(),
            avoid_host: avoid.into(),
            gpu_memory_min_bytes: least,
            cpu_millis,
            memory_bytes: memory * GIB,
            ..gpu
        },
    )
}

fn any_tasks() -> impl Strategy<Value = Vec<Waiting>> {
    let task_of = (0..4_usize, any_needs(), 0..900_000_i64, 0..2_i64, 0..600_000_i64);
    proptest::collection::vec(task_of, 0..30).prop_map(|tasks| {
        let each = tasks.into_iter().enumerate();
        each.map(|(at, (user, needs, waited_ms, limited, running_ms))| Waiting {
            ready_ms: NOW_MS - waited_ms,
            order_time_ms: NOW_MS - waited_ms,
            max_running_ms: limited * running_ms,
            ..task(at as i64, ["ana", "bob", "eve", "ida"][user], needs)
        })
        .collect()
    })
}

proptest! {
    #[test]
    fn nothing_is_given_away_that_is_not_there(
        hosts in (0..4_usize).prop_flat_map(|count| (0..count).map(any_host).collect::<Vec<_>>()),
        waiting in any_tasks(),
        has in 0..9_000_i64,
    ) {
        let ana = Standing { gpu_millis: has, usage: 1.0 };
        let users = BTreeMap::from([("ana".to_owned(), ana)]);
        let plan = plan_with(&hosts, &waiting, &users);
        check(&hosts, &waiting, &plan)?;
        prop_assert_eq!(&plan, &plan_with(&hosts, &waiting, &users), "the same again");
        // What was not placed does not fit, and it is told why.
        let scene = scene(&hosts, &waiting, &users);
        let placed: Vec<_> = plan.placements.iter().map(|one| one.task).collect();
        for task in (0..waiting.len()).filter(|task| !placed.contains(task)) {
            let why = misfits(&scene, &plan, task);
            prop_assert!(why.iter().all(|host| !host.is_empty()), "{why:?}");
        }
    }
}
