//! Who makes room for whom, and that the room is his for whom it was made.

use asyncflow_core::placement::{Preemption, Promise, Running, preemptions};

use super::*;

/// A task that runs on the host `a` for long, and may be asked to stop.
fn runs(of: &Waiting, gpus: &[&str]) -> Running {
    Running {
        id: of.id.clone(),
        attempt: 1,
        user: of.user.clone(),
        priority: of.priority,
        start_ms: 0,
        preemptible: true,
        leaving: false,
        worker_id: "a".into(),
        placed: Placed {
            gpus: gpus.iter().map(|uuid| (*uuid).to_owned()).collect(),
            gpu_memory_bytes: of.needs.gpu_memory_bytes,
        },
    }
}

/// The host `a`, with GPUs that are in use.
fn full(gpus: usize) -> Host {
    let mut full = host("a", gpus);
    for gpu in &mut full.gpus {
        (gpu.usage, gpu.free_bytes) = (GpuUse::Exclusive, 0);
    }
    full
}

fn has(all: &[(&str, i64, f64)]) -> BTreeMap<String, Standing> {
    let of = |(user, gpu_millis, usage): &(&str, i64, f64)| {
        ((*user).to_owned(), Standing { gpu_millis: *gpu_millis, usage: *usage })
    };
    all.iter().map(of).collect()
}

fn late(task: Waiting) -> Waiting {
    Waiting { ready_ms: NOW_MS - 60_000, ..task }
}

fn asked(scene: &Scene<'_>, running: &[Running]) -> Vec<Preemption> {
    preemptions(scene, &place(scene), running, 1)
}

/// Room is made for `task`, by those who run one after the other. Each waits again as soon as it
/// has left, as `returning`. Gives the plans after each has left, without what was promised and
/// with it; nobody but the task may get anything by the last.
fn make_room(
    mut at: Host,
    task: &Waiting,
    running: &[Running],
    returning: &[Waiting],
    mut users: BTreeMap<String, Standing>,
) {
    let waiting = std::slice::from_ref(task);
    let hosts = [at.clone()];
    let found = asked(&scene(&hosts, waiting, &users), running);
    let [Preemption { victims, gpus, .. }] = &found[..] else { panic!("{found:?}") };
    assert_eq!(victims.len(), running.len());
    let promises = [Promise { task: 0, host: 0, gpus: gpus.clone() }];
    let mut waiting = waiting.to_vec();
    let mut would_go_back = false;
    for (number, victim) in victims.iter().enumerate() {
        let (left, back) = (&running[*victim], &returning[*victim]);
        for gpu in at.gpus.iter_mut().filter(|gpu| left.placed.gpus.contains(&gpu.uuid)) {
            let bytes = left.placed.gpu_memory_bytes;
            gpu.free_bytes = if bytes == 0 { 24 * GIB } else { gpu.free_bytes + bytes };
            gpu.usage = if gpu.free_bytes == 24 * GIB { GpuUse::Free } else { GpuUse::Shared };
        }
        users.get_mut(&left.user).unwrap().gpu_millis -= left.placed.gpu_millis(24 * GIB);
        waiting.push(back.clone());
        let hosts = [at.clone()];
        let scene = scene(&hosts, &waiting, &users);
        would_go_back |= place(&scene).placements.first().is_some_and(|one| one.task > 0);
        let kept = place(&Scene { promises: &promises, ..scene });
        let placed: Vec<usize> = kept.placements.iter().map(|one| one.task).collect();
        let is_last = number + 1 == victims.len();
        assert_eq!(placed, if is_last { vec![0] } else { vec![] }, "{number} of {victims:?} left");
        let holds = kept.holds.iter().filter(|hold| hold.task == 0);
        assert_eq!(holds.count(), usize::from(!is_last));
    }
    assert!(would_go_back, "this shows nothing");
}

#[test]
fn one_that_is_overdue_as_soon_as_it_is_back_does_not_take_what_it_has_left() {
    let victim = Waiting { ready_ms: NOW_MS - 2 * HOLD_MS, ..task(1, "ana", gpus(2)) };
    let wants = late(task(9, "bob", gpus(2)));
    let running = [runs(&victim, &["a-0", "a-1"])];
    make_room(full(2), &wants, &running, &[victim], has(&[("ana", 2_000, 0.0)]));
}

#[test]
fn one_of_lower_priority_does_not_take_it_back_when_its_user_has_less() {
    let victim = task(1, "ana", gpus(1));
    let wants = Waiting { priority: 1, ..late(task(9, "bob", gpus(1))) };
    let users = has(&[("ana", 1_000, 0.0), ("bob", 3_000, 0.0)]);
    make_room(full(1), &wants, &[runs(&victim, &["a-0"])], &[victim], users);
}

#[test]
fn those_who_leave_first_do_not_come_back_before_the_last_has_left() {
    let victims = [task(1, "ana", gpus(1)), task(2, "ana", gpus(1))];
    let running = [runs(&victims[0], &["a-0"]), runs(&victims[1], &["a-1"])];
    let wants = late(task(9, "bob", gpus(2)));
    make_room(full(2), &wants, &running, &victims, has(&[("ana", 2_000, 0.0)]));

    let victims = [task(1, "ana", share(10)), task(2, "ana", share(12))];
    let running = [runs(&victims[0], &["a-0"]), runs(&victims[1], &["a-0"])];
    let mut shared = full(1);
    (shared.gpus[0].usage, shared.gpus[0].free_bytes) = (GpuUse::Shared, 2 * GIB);
    let wants = late(task(9, "bob", gpus(1)));
    make_room(shared, &wants, &running, &victims, has(&[("ana", 916, 0.0)]));
}

#[test]
fn one_whose_user_had_less_lately_does_not_take_it_back() {
    let victim = task(1, "ana", gpus(1));
    let wants = late(task(9, "bob", gpus(1)));
    let users = has(&[("ana", 1_000, 1.0), ("bob", 0, 9.0)]);
    make_room(full(1), &wants, &[runs(&victim, &["a-0"])], &[victim], users);
}

#[test]
fn what_was_promised_comes_before_what_is_held() {
    let mut at = full(2);
    at.gpus[0] = gpu("a", 0, GpuUse::Free);
    let overdue = Waiting { ready_ms: NOW_MS - 9 * HOLD_MS, ..task(1, "ana", gpus(2)) };
    let waiting = [overdue, task(2, "bob", gpus(1)), task(3, "eve", gpus(1))];
    let (hosts, users) = ([at], BTreeMap::new());
    let promises = [Promise { task: 1, host: 0, gpus: vec!["a-0".into()] }];
    let plan = place(&Scene { promises: &promises, ..scene(&hosts, &waiting, &users) });
    assert_eq!(plan.placements.iter().map(|one| one.task).collect::<Vec<_>>(), [1]);
    assert_eq!(plan.holds.iter().map(|hold| hold.task).collect::<Vec<_>>(), [0]);
}

#[test]
fn nobody_is_asked_for_what_is_free_or_was_asked_for_before() {
    let victim = task(1, "bob", gpus(1));
    let (hosts, running) = ([full(1)], [runs(&victim, &["a-0"])]);
    let users = has(&[("bob", 5_000, 0.0)]);
    let waiting = [late(task(9, "ana", gpus(1)))];
    let full_one = scene(&hosts, &waiting, &users);
    assert_eq!(asked(&full_one, &running).len(), 1);
    let promises = [Promise { task: 0, host: 0, gpus: vec!["a-0".into()] }];
    assert!(asked(&Scene { promises: &promises, ..full_one }, &running).is_empty());
    let leaving = [Running { leaving: true, ..running[0].clone() }];
    assert!(asked(&full_one, &leaving).is_empty());

    let mut crowded = host("b", 1);
    for slots in [1, 0] {
        crowded.slots = slots;
        let hosts = [full(1), crowded.clone()];
        assert!(asked(&scene(&hosts, &waiting, &users), &running).is_empty(), "{slots} slots");
    }
}

#[test]
fn room_is_made_until_both_have_as_much() {
    let mut running: Vec<Running> = (0..4)
        .map(|number| runs(&task(number, "bob", gpus(1)), &[&format!("a-{number}")]))
        .collect();
    let waiting: Vec<Waiting> =
        (0..4).map(|number| late(task(10 + number, "ana", gpus(1)))).collect();
    let (hosts, users) = ([full(4)], has(&[("bob", 4_000, 0.0)]));
    let mut promises: Vec<Promise> = Vec::new();
    for _ in 0..4 {
        let found =
            asked(&Scene { promises: &promises, ..scene(&hosts, &waiting, &users) }, &running);
        for Preemption { task, host, victims, gpus } in found {
            victims.iter().for_each(|at| running[*at].leaving = true);
            promises.push(Promise { task, host, gpus });
        }
    }
    assert_eq!(promises.len(), 2);
}

#[test]
fn two_who_want_one_gpu_do_not_take_turns_all_the_time() {
    let (hosts, users) = ([full(1)], has(&[("bob", 1_000, 0.0)]));
    let waiting = [late(task(9, "ana", gpus(1)))];
    for (has_run_ms, count) in [(HOLD_MS - 1, 0), (HOLD_MS, 1)] {
        let one = runs(&task(1, "bob", gpus(1)), &["a-0"]);
        let running = [Running { start_ms: NOW_MS - has_run_ms, ..one }];
        assert_eq!(asked(&scene(&hosts, &waiting, &users), &running).len(), count);
    }
}

#[test]
fn the_fewest_tasks_that_may_be_asked_make_room() {
    let of = |number, gpus: &[&str]| runs(&task(number, "bob", Resources::default()), gpus);
    let stays = Running { preemptible: false, ..of(2, &["a-1"]) };
    let running = [of(1, &["a-0"]), stays, of(3, &["a-2", "a-3"])];
    let users = has(&[("bob", 4_000, 0.0)]);
    let waiting = [late(task(9, "ana", gpus(2)))];
    let hosts = [full(4)];
    let scene = scene(&hosts, &waiting, &users);
    let plan = place(&scene);
    let asked = |after_ms| preemptions(&scene, &plan, &running, after_ms);
    assert_eq!(asked(60_000).iter().map(|one| one.victims.clone()).collect::<Vec<_>>(), [[2]]);
    assert!(asked(60_001).is_empty() && asked(0).is_empty());
    let three = [Waiting { needs: Arc::new(gpus(4)), ..waiting[0].clone() }];
    let scene = Scene { waiting: &three, ..scene };
    assert!(preemptions(&scene, &place(&scene), &running, 1).is_empty(), "one may not be asked");
}

#[test]
fn nobody_makes_room_for_a_user_who_has_more() {
    let running = [runs(&task(1, "bob", gpus(1)), &["a-0"])];
    let users = has(&[("bob", 1_000, 0.0), ("ana", 1_000, 0.0)]);
    let mut waiting = [task(9, "ana", gpus(1))];
    let hosts = [full(1)];
    let look = |waiting: &[Waiting]| {
        let scene = scene(&hosts, waiting, &users);
        preemptions(&scene, &place(&scene), &running, 1).len()
    };
    assert_eq!(look(&waiting), 0);
    waiting[0].priority = 1;
    assert_eq!(look(&waiting), 1, "the other has a lower priority");
}
