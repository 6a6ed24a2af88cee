//! Bugs that can be planted in what is played, to prove the judge.

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
    /// The next process of a worker tells again what the former one had told.
    TellsAgain,
}

impl Bug {
    /// Found by every third play or so.
    pub const PLAIN: [Self; 4] = [
        Self::LooksOnce,
        Self::WithholdsContext,
        Self::ForgetsRequests,
        Self::WritesWithoutCompare,
    ];
    /// These need a worker that is given up and comes back at the right moment.
    pub const RARE: [Self; 4] =
        [Self::CompletesById, Self::ForgetsEnds, Self::SavesByState, Self::TellsAgain];

    pub fn all() -> impl Iterator<Item = Self> {
        Self::PLAIN.into_iter().chain(Self::RARE)
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::all().find(|bug| bug.name() == name)
    }

    pub fn name(self) -> String {
        format!("{self:?}")
    }
}
