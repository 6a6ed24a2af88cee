//! Who of those who wait gets which task.

use std::collections::VecDeque;

use super::Taker;

/// The places of takers, served in the order in which they came: commands go first to those who
/// take nothing else, and what is none goes to the others.
#[derive(Default)]
pub(super) struct Places {
    for_all: VecDeque<(usize, u32)>,
    for_commands: VecDeque<(usize, u32)>,
}

impl Places {
    /// A taker, by its index.
    pub fn add(&mut self, at: usize, taker: &Taker) {
        let queue = match taker.takes_only_commands {
            true => &mut self.for_commands,
            false => &mut self.for_all,
        };
        queue.push_back((at, taker.want));
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        let all = self.for_all.iter().chain(&self.for_commands);
        all.map(|(_, want)| *want as usize).sum()
    }

    /// Who is next for a task; `None` if nobody is.
    pub fn next(&mut self, is_command: bool) -> Option<usize> {
        let by_commands = is_command.then_some(&mut self.for_commands);
        by_commands.and_then(first).or_else(|| first(&mut self.for_all))
    }

    /// Whoever is next, though it has no use for the task: it gives it back.
    pub fn next_of_any(&mut self, is_command: bool) -> Option<usize> {
        self.next(is_command).or_else(|| first(&mut self.for_commands))
    }
}

fn first(queue: &mut VecDeque<(usize, u32)>) -> Option<usize> {
    while let Some((at, want)) = queue.front_mut() {
        if *want > 0 {
            *want -= 1;
            return Some(*at);
        }
        queue.pop_front();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_task_goes_to_who_can_run_it() {
        let taker = |takes_only_commands, want| Taker {
            worker_id: "w".into(),
            session_id: 1,
            acquire_id: String::new(),
            want,
            lease_ttl_ms: None,
            takes_only_commands,
        };
        let mut places = Places::default();
        places.add(0, &taker(true, 1));
        places.add(1, &taker(false, 0));
        places.add(2, &taker(false, 2));
        assert_eq!(places.count(), 3);
        assert_eq!(places.next(false), Some(2));
        assert_eq!((places.next(true), places.next(true)), (Some(0), Some(2)));
        assert_eq!(places.next(true), None);
        places.add(3, &taker(true, 1));
        assert_eq!((places.next(false), places.next_of_any(false)), (None, Some(3)));
    }
}
