//! Who waits for tasks, and which claim is under way for whom.
//!
//! A worker may wait for several types at once. Each type has its own claimer, so a waiter is
//! *reserved* by the one that claims for it; the others pass it over, note that they did, and are
//! told to look again if that claim brought it nothing. So nobody ever gets more than it asked for.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use asyncflow_core::{id::TypeName, placement::Host};
use asyncflow_store::Assigned;
use tokio::sync::oneshot;

use super::command_types::CommandTypes;

/// Which types a worker waits for.
#[derive(Clone, Debug)]
pub enum Types {
    /// Every type, also those that are created later.
    Every,
    These {
        names: HashSet<TypeName>,
        /// It also takes commands, and so looks at all types that have some.
        commands: Option<Arc<CommandTypes>>,
    },
}

impl Types {
    pub fn contain(&self, name: &TypeName) -> bool {
        let by_commands = match self {
            Self::Every | Self::These { commands: None, .. } => false,
            Self::These { commands: Some(commands), .. } => commands.contain(name),
        };
        by_commands || self.name(name)
    }

    /// Whether it takes whatever there is of the type, and not commands alone.
    pub fn name(&self, name: &TypeName) -> bool {
        match self {
            Self::Every => true,
            Self::These { names, .. } => names.contains(name),
        }
    }

    /// Whether types that are created later may be among them.
    pub fn grow(&self) -> bool {
        !matches!(self, Self::These { commands: None, .. })
    }
}

/// What somebody who waits asks for.
#[derive(Clone, Debug)]
pub struct Wish {
    pub worker_id: String,
    pub session_id: i64,
    pub acquire_id: String,
    /// Most tasks that it takes.
    pub want: u32,
    /// It begins at once what it gets.
    pub starts: bool,
    pub types: Types,
    /// Its host, and what is free there; without an offer nothing is.
    pub host: Arc<Host>,
    /// It said what is free.
    pub offers: bool,
}

/// A place in the lot; the tasks come out of `tasks`, at most once.
pub struct Ticket {
    pub number: u64,
    pub tasks: oneshot::Receiver<Vec<Assigned>>,
}

/// One for whom a claim is under way.
#[derive(Clone, Debug)]
pub struct Reserved {
    pub number: u64,
    pub wish: Wish,
}

/// What is to be done after a claim was dealt out.
#[derive(Debug, Default)]
pub struct Dealt {
    /// Tasks of waiters who had left: to be given back.
    pub orphans: Vec<Assigned>,
    /// Types whose claimers passed over somebody who still waits.
    pub look_again: HashSet<TypeName>,
    /// So did the placer.
    pub place_again: bool,
}

/// Who waits for a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    Nobody,
    /// Only those for whom a claim is under way.
    Reserved,
    /// At least one for whom none is.
    Free,
}

/// Everybody who waits, in the order in which they came.
#[derive(Default)]
pub struct Parking(Mutex<Lot>);

#[derive(Default)]
struct Lot {
    last_number: u64,
    waiters: BTreeMap<u64, Waiter>,
}

struct Waiter {
    wish: Wish,
    reserved: bool,
    passed_over: HashSet<TypeName>,
    /// By the placer.
    unplaced: bool,
    /// The placer is to look first.
    awaits_placer: bool,
    answer: oneshot::Sender<Vec<Assigned>>,
}

impl Waiter {
    /// It is not for a lane now.
    fn is_taken(&self) -> bool {
        self.reserved || self.awaits_placer
    }
}

impl Lot {
    /// Those of one kind who wait for a type, in the order in which they came.
    fn reserve(
        &mut self,
        name: &TypeName,
        most: u32,
        is_meant: impl Fn(&Types) -> bool,
    ) -> Vec<Reserved> {
        let mut reserved = Vec::new();
        let mut wanted = 0_u32;
        for (&number, waiter) in &mut self.waiters {
            if wanted >= most {
                break;
            }
            let types = &waiter.wish.types;
            if !types.contain(name) || !is_meant(types) {
                continue;
            }
            if waiter.is_taken() {
                waiter.passed_over.insert(name.clone());
                continue;
            }
            waiter.reserved = true;
            waiter.passed_over.remove(name);
            wanted = wanted.saturating_add(waiter.wish.want);
            reserved.push(Reserved { number, wish: waiter.wish.clone() });
        }
        reserved
    }
}

impl Parking {
    fn lock(&self) -> MutexGuard<'_, Lot> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to wait; the lanes pass it over until the placer has looked, if that `awaits_placer`.
    pub fn park(&self, wish: Wish, awaits_placer: bool) -> Ticket {
        let (answer, tasks) = oneshot::channel();
        let mut lot = self.lock();
        lot.last_number += 1;
        let number = lot.last_number;
        let passed_over = HashSet::new();
        let waiter =
            Waiter { wish, reserved: false, passed_over, unplaced: false, awaits_placer, answer };
        lot.waiters.insert(number, waiter);
        metrics::gauge!("asyncflow_acquirers_waiting").set(lot.waiters.len() as f64);
        Ticket { number, tasks }
    }

    /// Ends the waiting. What a claim under way brings for it becomes an orphan.
    pub fn leave(&self, number: u64) {
        let mut lot = self.lock();
        lot.waiters.remove(&number);
        metrics::gauge!("asyncflow_acquirers_waiting").set(lot.waiters.len() as f64);
    }

    /// Who waits for this type. Unless somebody is free, all are passed over.
    pub fn waiting(&self, name: &TypeName) -> Waiting {
        let mut lot = self.lock();
        let waiting = lot.waiters.values_mut().filter(|one| one.wish.types.contain(name));
        let waiting: Vec<_> = waiting.collect();
        if waiting.is_empty() {
            return Waiting::Nobody;
        }
        if waiting.iter().any(|waiter| !waiter.is_taken()) {
            return Waiting::Free;
        }
        for waiter in waiting {
            waiter.passed_over.insert(name.clone());
        }
        Waiting::Reserved
    }

    /// Takes those who wait for this type and for whom no claim is under way, until they want
    /// `most` tasks together.
    pub fn reserve(&self, name: &TypeName, most: u32) -> Vec<Reserved> {
        self.lock().reserve(name, most, |_| true)
    }

    /// The same for so many tasks of each kind: those who take only commands for commands, the
    /// others for the rest.
    pub fn reserve_for(&self, name: &TypeName, commands: u32, payloads: u32) -> Vec<Reserved> {
        let mut lot = self.lock();
        let mut reserved = lot.reserve(name, commands, |types| !types.name(name));
        let places = reserved.iter().map(|one| one.wish.want).fold(0, u32::saturating_add);
        let most = payloads.saturating_add(commands.saturating_sub(places));
        reserved.extend(lot.reserve(name, most, |types| types.name(name)));
        reserved
    }

    /// All for whom no claim is under way; the others are passed over.
    pub fn free(&self) -> Vec<Reserved> {
        let mut free = Vec::new();
        for (&number, waiter) in &mut self.lock().waiters {
            if waiter.reserved {
                waiter.unplaced = true;
            } else {
                free.push(Reserved { number, wish: waiter.wish.clone() });
            }
        }
        free
    }

    /// The placer has looked for these: they are the lanes' too. The types whose lanes passed over
    /// one of them.
    pub fn end_look(&self, numbers: &[u64]) -> HashSet<TypeName> {
        let mut lot = self.lock();
        let mut look_again = HashSet::new();
        for number in numbers {
            let Some(waiter) = lot.waiters.get_mut(number) else { continue };
            if std::mem::take(&mut waiter.awaits_placer) && !waiter.reserved {
                look_again.extend(waiter.passed_over.drain());
            }
        }
        look_again
    }

    /// Takes those of these for whom no claim is under way; the others are passed over.
    pub fn reserve_these(&self, numbers: &[u64]) -> Vec<Reserved> {
        let mut lot = self.lock();
        let mut reserved = Vec::new();
        for &number in numbers {
            let Some(waiter) = lot.waiters.get_mut(&number) else { continue };
            if waiter.reserved {
                waiter.unplaced = true;
            } else {
                waiter.reserved = true;
                reserved.push(Reserved { number, wish: waiter.wish.clone() });
            }
        }
        reserved
    }

    /// Ends a claim: `brought` has an entry for each of `reserved`, in their order. Whoever has an
    /// answer there, even an empty one, gets it; the others go on waiting.
    pub fn deal(&self, reserved: &[Reserved], brought: Vec<Option<Vec<Assigned>>>) -> Dealt {
        let mut dealt = Dealt::default();
        let mut lot = self.lock();
        let mut brought = brought.into_iter();
        for Reserved { number, .. } in reserved {
            let Some(tasks) = brought.next().flatten() else {
                if let Some(waiter) = lot.waiters.get_mut(number) {
                    (waiter.reserved, waiter.awaits_placer) = (false, false);
                    dealt.look_again.extend(waiter.passed_over.drain());
                    dealt.place_again |= std::mem::take(&mut waiter.unplaced);
                }
                continue;
            };
            match lot.waiters.remove(number) {
                Some(waiter) => {
                    if let Err(tasks) = waiter.answer.send(tasks) {
                        dealt.orphans.extend(tasks);
                    }
                }
                None => dealt.orphans.extend(tasks),
            }
        }
        metrics::gauge!("asyncflow_acquirers_waiting").set(lot.waiters.len() as f64);
        dealt
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use asyncflow_core::{create::NewTask, task_type::TaskType};

    use super::*;

    fn name(name: &str) -> TypeName {
        name.parse().unwrap()
    }

    fn wish(types: &[&str], want: u32) -> Wish {
        let types = match types {
            ["*"] => Types::Every,
            names => {
                let names = names.iter().map(|text| name(text)).collect();
                Types::These { names, commands: None }
            }
        };
        let (worker_id, acquire_id) = ("w".to_owned(), "a".to_owned());
        let host = Arc::new(Host::without_offer("w", "host", &BTreeMap::new()));
        let (session_id, starts, offers) = (1, false, false);
        Wish { worker_id, session_id, acquire_id, want, starts, types, host, offers }
    }

    fn task() -> Assigned {
        let new = NewTask::new(name("train"), "ana");
        let task_type = TaskType::with_defaults(name("train"), 0);
        let id = "train-1-0000000000001".parse().unwrap();
        Assigned::from(new.into_task(&task_type, id, 0))
    }

    #[test]
    fn one_claimer_at_a_time_reserves_a_waiter() {
        let parking = Parking::default();
        let mut ticket = parking.park(wish(&["train", "render"], 2), false);
        let by_train = parking.reserve(&name("train"), u32::MAX);
        assert_eq!(by_train.len(), 1);
        assert_eq!(parking.waiting(&name("render")), Waiting::Reserved);
        assert!(parking.reserve(&name("render"), u32::MAX).is_empty());

        let dealt = parking.deal(&by_train, vec![None]);
        assert_eq!(dealt.look_again, HashSet::from([name("render")]));
        let by_render = parking.reserve(&name("render"), u32::MAX);
        assert_eq!(by_render.len(), 1);
        let dealt = parking.deal(&by_render, vec![Some(vec![task()])]);
        assert!(dealt.look_again.is_empty() && dealt.orphans.is_empty());
        assert_eq!(ticket.tasks.try_recv().unwrap().len(), 1);
        assert_eq!(parking.waiting(&name("train")), Waiting::Nobody);
    }

    #[test]
    fn the_placer_takes_whom_no_lane_has_and_is_told_of_the_others() {
        let parking = Parking::default();
        let (first, _second) =
            (parking.park(wish(&["train"], 1), false), parking.park(wish(&["b"], 1), false));
        let by_lane = parking.reserve(&name("train"), u32::MAX);
        assert_eq!(parking.free().len(), 1);
        assert!(parking.reserve_these(&[first.number, 99]).is_empty());
        assert!(parking.deal(&by_lane, vec![None]).place_again);
        let placed = parking.reserve_these(&[first.number]);
        assert_eq!(placed.len(), 1);
        assert!(parking.reserve(&name("train"), u32::MAX).is_empty());
        let dealt = parking.deal(&placed, vec![None]);
        assert_eq!((dealt.look_again, dealt.place_again), (HashSet::from([name("train")]), false));
    }

    #[test]
    fn a_waiter_is_the_placers_before_it_is_the_lanes() {
        let parking = Parking::default();
        let one = parking.park(wish(&["train"], 1), true);
        assert_eq!(parking.waiting(&name("train")), Waiting::Reserved);
        assert!(parking.reserve(&name("train"), u32::MAX).is_empty());
        assert_eq!(parking.free().len(), 1);
        assert_eq!(parking.end_look(&[one.number]), HashSet::from([name("train")]));
        assert_eq!(parking.reserve(&name("train"), u32::MAX).len(), 1);
        assert!(parking.end_look(&[one.number, 99]).is_empty());
    }

    #[test]
    fn who_takes_only_commands_is_reserved_for_those() {
        let commands = Arc::new(CommandTypes::default());
        let only_commands =
            Types::These { names: HashSet::new(), commands: Some(Arc::clone(&commands)) };
        let parking = Parking::default();
        let by_commands = parking.park(Wish { types: only_commands, ..wish(&[], 1) }, false);
        let train = name("train");
        assert_eq!(parking.waiting(&train), Waiting::Nobody, "a type that has no commands");

        let has_commands = true;
        let task_type = TaskType { has_commands, ..TaskType::with_defaults(train.clone(), 0) };
        commands.see(&task_type);
        assert_eq!(parking.waiting(&train), Waiting::Free);
        assert!(parking.reserve_for(&train, 0, 1).is_empty());
        let by_name = parking.park(wish(&["train"], 1), false);
        let numbers =
            |reserved: &[Reserved]| -> Vec<u64> { reserved.iter().map(|one| one.number).collect() };
        let reserved = parking.reserve_for(&train, 1, 0);
        assert_eq!(numbers(&reserved), [by_commands.number]);
        assert!(parking.deal(&reserved, vec![None]).orphans.is_empty());
        let reserved = parking.reserve_for(&train, 2, 0);
        assert_eq!(numbers(&reserved), [by_commands.number, by_name.number]);
    }

    #[test]
    fn tasks_for_somebody_who_left_are_orphans() {
        let parking = Parking::default();
        let left = parking.park(wish(&["*"], 1), false);
        let dropped = parking.park(wish(&["train"], 1), false);
        let reserved = parking.reserve(&name("train"), u32::MAX);
        parking.leave(left.number);
        drop(dropped);
        let dealt = parking.deal(&reserved, vec![Some(vec![task()]), Some(vec![task()])]);
        assert_eq!(dealt.orphans.len(), 2);
    }
}
