//! Walks a model to its end, and tells what was found.

use std::{
    collections::{HashMap, VecDeque},
    fmt::Debug,
    hash::Hash,
};

use stateright::{Checker, Expectation, Model, Property};

/// Whether larger bounds were asked for.
pub fn is_large() -> bool {
    std::env::var_os("ASYNCFLOW_TEST_MODELS").is_some_and(|size| size == "large")
}

/// Every state of the model: all that must always hold does, all that may happen happens, and
/// there are at least so many states, or the model has lost its meaning.
pub fn holds<M>(name: &str, model: M, states_min: usize)
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + Debug + Hash + PartialEq + Send + Sync + 'static,
    M::Action: Clone + Debug + PartialEq,
{
    let properties = model.properties();
    let checker = model.checker().spawn_bfs().join();
    let (unique, depth) = (checker.unique_state_count(), checker.max_depth());
    println!("{name}: {unique} states, {} steps, depth {depth}", checker.state_count());
    let found = checker.discoveries();
    for property in properties {
        let path = found.get(property.name);
        match (property.expectation, path) {
            (Expectation::Sometimes, None) => panic!("{name}: never: {}", property.name),
            (Expectation::Sometimes, Some(_)) | (_, None) => {}
            (_, Some(path)) => panic!("{name}: not always: {}\n{path}", property.name),
        }
    }
    assert!(checker.is_done(), "{name}: ended early");
    assert!(unique >= states_min, "{name}: {unique} states are too few");
}

/// A model with one property of its own, at which its walk ends.
struct Until<M: Model> {
    model: M,
    broken: Property<M>,
}

impl<M: Model> Model for Until<M> {
    type State = M::State;
    type Action = M::Action;

    fn init_states(&self) -> Vec<M::State> {
        self.model.init_states()
    }

    fn actions(&self, state: &M::State, actions: &mut Vec<M::Action>) {
        self.model.actions(state, actions);
    }

    fn next_state(&self, last: &M::State, action: M::Action) -> Option<M::State> {
        self.model.next_state(last, action)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let condition =
            |until: &Self, state: &M::State| (until.broken.condition)(&until.model, state);
        vec![Property::always(self.broken.name, condition)]
    }
}

/// Finds the shortest way to break the rule `broken`, and shows it.
pub fn breaks<M>(name: &str, model: M, broken: &'static str)
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + Debug + Hash + PartialEq + Send + Sync + 'static,
    M::Action: Clone + Debug + PartialEq,
{
    let broken = model.property(broken);
    let checker = Until { broken: broken.clone(), model }.checker().spawn_bfs().join();
    let path = checker.discovery(broken.name);
    let path = path.unwrap_or_else(|| panic!("{name}: nothing breaks the rule: {}", broken.name));
    println!("{name}: not always: {}", broken.name);
    for (_, action) in path.into_vec() {
        println!("  {}", action.map_or_else(String::new, |action| format!("{action:?}")));
    }
}

/// From every state the goal can still be reached: nothing that may happen ends in a place from
/// which there is no way on. Answers how many states there are, or one from which there is none.
pub fn can_always_reach<M>(
    model: &M,
    goal: impl Fn(&M::State) -> bool,
) -> Result<usize, Box<M::State>>
where
    M: Model,
    M::State: Clone + Eq + Hash,
{
    let mut numbers: HashMap<M::State, usize> = HashMap::new();
    let mut before: Vec<Vec<usize>> = Vec::new();
    let mut todo = VecDeque::from(model.init_states());
    for state in &todo {
        numbers.insert(state.clone(), before.len());
        before.push(Vec::new());
    }
    while let Some(state) = todo.pop_front() {
        let from = numbers[&state];
        for next in model.next_states(&state) {
            let to = *numbers.entry(next).or_insert_with_key(|next| {
                todo.push_back(next.clone());
                before.push(Vec::new());
                before.len() - 1
            });
            before[to].push(from);
        }
    }
    let mut reaches = vec![false; before.len()];
    let mut todo: Vec<usize> =
        numbers.iter().filter(|(state, _)| goal(state)).map(|(_, number)| *number).collect();
    while let Some(number) = todo.pop() {
        if !std::mem::replace(&mut reaches[number], true) {
            todo.extend(&before[number]);
        }
    }
    let count = numbers.len();
    match numbers.into_iter().find(|(_, number)| !reaches[*number]) {
        Some((state, _)) => Err(Box::new(state)),
        None => Ok(count),
    }
}
