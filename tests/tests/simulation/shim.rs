//! Programs that live on without their worker, as the commands of the real one do: what they have
//! done is kept beside them, and so is how much of it was told. The next process of the worker
//! adopts their attempts and goes on from there.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use asyncflow_sdk::{
    v1::{FailureReason, Lease, LeasedTask},
    worker::{AttemptHandle, Executor, Outcome, StopReason},
};
use asyncflow_store::testing::Dice;

use super::{
    bug::Bug,
    history::Fact,
    scene::Scene,
    worker::{begin, content},
};

#[derive(Clone, Copy)]
enum Step {
    /// It saves that so many stages are done.
    Saves(u32),
    Succeeds(u32),
    Fails,
    FailsForGood,
}

/// What a program does and when, whether or not anybody looks.
struct Program {
    leased: LeasedTask,
    steps: Vec<(i64, Step)>,
    /// How many of them the broker was told of.
    told: usize,
}

impl Program {
    fn of(leased: LeasedTask, (done, all): (u32, u32), mut at_ms: i64, dice: &mut Dice) -> Self {
        let mut steps = Vec::new();
        for stage in done + 1..=all + 1 {
            at_ms += dice.between(20, 2_500) as i64;
            let step = match dice.roll(40) {
                0..3 => Step::Fails,
                3 => Step::FailsForGood,
                _ if stage > all => Step::Succeeds(all),
                _ => Step::Saves(stage),
            };
            steps.push((at_ms, step));
            if !matches!(step, Step::Saves(_)) {
                break;
            }
        }
        Self { leased, steps, told: 0 }
    }
}

type Key = (String, i32);

fn key(lease: &Lease) -> Key {
    (lease.task_id.clone(), lease.attempt)
}

/// The programs of a host. They and what is known of them outlive its worker.
#[derive(Clone, Default)]
pub struct Programs(Arc<Mutex<BTreeMap<Key, Program>>>);

impl Programs {
    fn with<T>(&self, run: impl FnOnce(&mut BTreeMap<Key, Program>) -> T) -> T {
        run(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What a program does, and how much of it was told.
    fn steps(&self, key: &Key) -> (Vec<(i64, Step)>, usize) {
        let found =
            self.with(|programs| programs.get(key).map(|one| (one.steps.clone(), one.told)));
        found.unwrap_or_default()
    }

    fn change(&self, key: &Key, change: impl FnOnce(&mut Program)) {
        self.with(|programs| programs.get_mut(key).map(change));
    }

    /// It does nothing more, and its end is that it was killed.
    fn kill(&self, key: &Key, told: usize) {
        self.change(key, |program| {
            program.steps.truncate(told);
            program.steps.push((0, Step::Fails));
        });
    }
}

/// Starts programs, and tells brokers what they do.
pub struct Supervisor {
    pub scene: Arc<Scene>,
    pub process: u32,
    pub programs: Programs,
}

impl Supervisor {
    async fn tell(&self, attempt: &AttemptHandle) -> Outcome {
        let key = key(&attempt.lease());
        let (steps, told) = self.programs.steps(&key);
        for (index, (at_ms, step)) in steps.into_iter().enumerate().skip(told) {
            let left_ms = (at_ms - self.scene.database.now_ms()).max(0);
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(left_ms.unsigned_abs())) => {}
                reason = attempt.cancelled() => {
                    self.programs.kill(&key, index);
                    return Outcome::stopped(reason);
                }
            }
            match step {
                Step::Saves(done) => {
                    if let Err(outcome) = self.save(attempt, done).await {
                        self.programs.kill(&key, index);
                        return outcome;
                    }
                    if self.scene.database.bug != Some(Bug::TellsAgain) {
                        self.programs.change(&key, |program| program.told = index + 1);
                    }
                }
                Step::Succeeds(done) => {
                    let (number, process) = (attempt.task().attempt, self.process);
                    let result = format!("{done} by attempt {number} in process {process}");
                    return Outcome::Succeeded {
                        result: Some(content(result)),
                        exit_code: Some(0),
                    };
                }
                Step::Fails => return Outcome::failed(FailureReason::Error, "as it was rolled"),
                Step::FailsForGood => {
                    return Outcome::failed_for_good(FailureReason::Permanent, "as it was rolled");
                }
            }
        }
        Outcome::Abandoned
    }

    async fn save(&self, attempt: &AttemptHandle, done: u32) -> Result<(), Outcome> {
        let stage = format!("stage {done}");
        match attempt.save_context(Some(&stage), Some(content(done.to_string()))).await {
            Ok(_) => {
                let (task, number) = (attempt.task().id.clone(), attempt.task().attempt);
                self.scene.database.note(Fact::Saved { task, attempt: number, done });
                Ok(())
            }
            Err(error) => Err(match attempt.should_stop() {
                Some(StopReason::LeaseLost) => Outcome::Abandoned,
                _ => Outcome::failed(FailureReason::Error, error.to_string()),
            }),
        }
    }
}

#[async_trait]
impl Executor for Supervisor {
    async fn execute(&self, attempt: AttemptHandle) -> Outcome {
        let Ok(stages) = begin(&self.scene, self.process, attempt.task()) else {
            return Outcome::failed_for_good(FailureReason::BadContext, "no number");
        };
        let (now_ms, leased) = (self.scene.database.now_ms(), attempt.leased().clone());
        let program = self.scene.dice.with(|dice| Program::of(leased, stages, now_ms, dice));
        self.programs.with(|programs| programs.insert(key(&attempt.lease()), program));
        self.tell(&attempt).await
    }

    fn adoptable(&self) -> Vec<LeasedTask> {
        self.programs.with(|programs| programs.values().map(|one| one.leased.clone()).collect())
    }

    async fn adopt(&self, attempt: AttemptHandle) -> Outcome {
        self.tell(&attempt).await
    }

    fn recorded(&self, lease: &Lease) {
        self.programs.with(|programs| programs.remove(&key(lease)));
    }
}
