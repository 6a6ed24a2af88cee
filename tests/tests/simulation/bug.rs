//! Bugs that can be planted in the simulated brokers, database and governor, to prove the judge.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// CompleteTask asks neither for the attempt nor for the session.
    CompletesById,
    /// SaveContext asks for the state alone.
    SavesByState,
    /// A lease that has run out is taken back at the first look.
    LooksOnce,
    /// An attempt does not get the context that was saved.
    WithholdsContext,
    /// Request ids are not noted.
    ForgetsRequests,
    /// What was read is not compared when it is written.
    WritesWithoutCompare,
    /// That an end was recorded is not told to who repeats it.
    ForgetsEnds,
}

impl Bug {
    pub const ALL: [Self; 7] = [
        Self::CompletesById,
        Self::SavesByState,
        Self::LooksOnce,
        Self::WithholdsContext,
        Self::ForgetsRequests,
        Self::WritesWithoutCompare,
        Self::ForgetsEnds,
    ];

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|bug| bug.name() == name)
    }

    pub fn name(self) -> String {
        format!("{self:?}")
    }
}
