//! Which command comes next.

use std::collections::BTreeMap;

use asyncflow_core::{
    create::NewTask,
    event::Event,
    id::{TaskId, TypeName},
    limits::{NAME_BYTES_MAX, USER_BYTES_MAX},
    task::Task,
};
use asyncflow_store::{ClaimRequest, Departure, Taker, testing::Dice};

use super::{
    command::Command,
    events::{LEASES_MS, by_owner, by_worker, content, labels, not_before_ms},
    model::{Model, TYPES, WORKERS, type_name, worker_id},
};

const USERS: [&str; 2] = ["ann", "bob"];
/// Every shard costs tables.
const SHARDS_MAX: i32 = 3;

/// The next command. `sent` are events that were sent before, some of which are sent again.
pub fn command(dice: &mut Dice, model: &Model, sent: &[(TaskId, Event)], now_ms: i64) -> Command {
    let task_type = type_name(TYPES[usize::from(dice.one_in(4))]);
    match dice.roll(100) {
        0..18 => create(dice, now_ms),
        18..38 => claim(dice, model, task_type),
        38..41 => acquired(dice, model),
        41..78 => apply(dice, model, sent, now_ms),
        78..81 => delete(dice, model).unwrap_or(Command::Promote { task_type, limit: 1 }),
        81..84 => register(dice),
        84..86 => leave(dice),
        86..93 => Command::Promote { task_type, limit: [1, 3, 100][dice.roll(3)] },
        93..97 => Command::Reap { task_type, renews: dice.one_in(2) },
        97..99 => {
            let paused = !model.paused.contains(&task_type);
            Command::PauseType { task_type, paused }
        }
        _ if model.shards[&task_type] < SHARDS_MAX => Command::Roll(task_type),
        _ => register(dice),
    }
}

fn new_task(dice: &mut Dice, now_ms: i64) -> NewTask {
    let task_type = type_name(TYPES[usize::from(dice.one_in(4))]);
    let user = USERS[dice.roll(2)];
    // The same number asks for the same again, now and then for something else.
    if dice.one_in(3) {
        let number = dice.roll(12);
        let mut new = NewTask::new(type_name(TYPES[number % 2]), user);
        new.request_id = Some(format!("request {number}"));
        new.priority = number.is_multiple_of(3).then_some(2);
        new.name = if dice.one_in(6) { "another".into() } else { "requested".into() };
        return new;
    }
    NewTask {
        name: format!("task {}", dice.roll(1_000)),
        priority: dice.one_in(2).then(|| dice.roll(7) - 3),
        labels: labels(dice),
        payload: content(dice),
        context: content(dice),
        not_before_ms: dice.one_in(4).then(|| not_before_ms(dice, now_ms)),
        success_if: if dice.one_in(8) { "result.at == 7".into() } else { String::new() },
        trace_id: "4bf92f3577b34da6a3ce929d0e0e4736".into(),
        ..NewTask::new(task_type, user)
    }
}

fn create(dice: &mut Dice, now_ms: i64) -> Command {
    let count = 1 + dice.roll(4);
    let mut batch: Vec<NewTask> = (0..count).map(|_| new_task(dice, now_ms)).collect();
    // Validation would have refused it; the servers refuse it as well, SQLite knows no lengths.
    if dice.one_in(8) {
        let at = dice.roll(count);
        match dice.one_in(2) {
            true => batch[at].name = "x".repeat(NAME_BYTES_MAX + 1),
            false => batch[at].user = "u".repeat(USER_BYTES_MAX + 1),
        }
    }
    Command::Create { process: dice.roll(2), batch }
}

fn claim(dice: &mut Dice, model: &Model, task_type: TypeName) -> Command {
    let mut takers = Vec::new();
    let first = dice.roll(WORKERS);
    for at in 0..=dice.roll(2) {
        let number = (first + at) % WORKERS;
        let Some(worker) = model.workers.get(&number) else { continue };
        let acquire_id = match dice.roll(3) {
            0 => String::new(),
            _ => format!("acquire {}", dice.roll(25)),
        };
        takers.push(Taker {
            worker_id: worker_id(number),
            session_id: worker.session_id,
            acquire_id,
            want: dice.roll(4) as u32,
            lease_ttl_ms: dice.one_in(2).then(|| dice.of_these(&LEASES_MS)),
            takes_only_commands: false,
        });
    }
    Command::Claim(ClaimRequest {
        task_type,
        limit: [1, 2, 1_000, 1_000][dice.roll(4)],
        takers,
        is_alone: dice.one_in(2),
        bytes_max: usize::MAX,
        after: BTreeMap::new(),
        handout_ttl_ms: dice.of_these(&LEASES_MS),
    })
}

fn acquired(dice: &mut Dice, model: &Model) -> Command {
    let known: Vec<_> = model.acquires.keys().cloned().collect();
    let unknown = || (1, "acquire 0".to_owned());
    let (session_id, acquire_id) = dice.pick(&known).cloned().unwrap_or_else(unknown);
    Command::Acquired { session_id, acquire_id }
}

fn apply(dice: &mut Dice, model: &Model, sent: &[(TaskId, Event)], now_ms: i64) -> Command {
    let mut events = Vec::new();
    for _ in 0..=[0, 0, 1, 3][dice.roll(4)] {
        if dice.one_in(10) {
            events.extend(dice.pick(sent).cloned());
            continue;
        }
        if dice.one_in(25) {
            // Which may be gone.
            events.extend(dice.pick(&model.made).map(|id| (id.clone(), Event::Pause)));
            continue;
        }
        let leased = |task: &&Task| task.state.is_leased();
        let tasks = model.made.iter().filter_map(|id| Some(&model.rows.get(id)?.task));
        let is_worker = dice.one_in(2);
        let tasks: Vec<&Task> = match is_worker {
            true => tasks.filter(leased).collect(),
            false => tasks.collect(),
        };
        let Some(task) = dice.pick(&tasks) else { continue };
        let event = match is_worker {
            true => by_worker(dice, task, &model.sessions),
            false => by_owner(dice, task, now_ms),
        };
        // Often once more about the same task.
        if is_worker && dice.one_in(4) {
            events.push((task.id.clone(), event));
            events.push((task.id.clone(), by_worker(dice, task, &model.sessions)));
        } else {
            events.push((task.id.clone(), event));
        }
    }
    Command::Apply { process: dice.roll(2), events }
}

fn delete(dice: &mut Dice, model: &Model) -> Option<Command> {
    dice.pick(&model.made).cloned().map(Command::Delete)
}

fn register(dice: &mut Dice) -> Command {
    let (worker, is_new) = (dice.roll(WORKERS), !dice.one_in(4));
    Command::Register { worker, is_new, adopts: dice.roll(3), keeps: dice.roll(2) }
}

fn leave(dice: &mut Dice) -> Command {
    let departure = dice.of_these(&[Departure::Left, Departure::Restarted]);
    Command::Leave { worker: dice.roll(WORKERS), departure }
}
