//! Random inputs: bytes, printable text, and what damage makes of the corpus.

use proptest::{collection::vec, prelude::*, sample::Index};

const BYTES_MAX: usize = 256;
const MUTATIONS_MAX: usize = 4;

/// One thing that happens to an input.
#[derive(Clone, Debug)]
enum Mutation {
    Flip(Index, u8),
    Set(Index, u8),
    Cut(Index),
    Remove(Index, Index),
    Repeat(Index, Index),
    Insert(Index, Vec<u8>),
    /// Goes on as another input from somewhere in it.
    Splice(Index, Index, Index),
}

/// What a target is given.
pub fn inputs(corpus: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let bytes = vec(any::<u8>(), 0..BYTES_MAX);
    let text = "\\PC{0,80}".prop_map(String::into_bytes);
    let mutated =
        (any::<Index>(), vec(mutation(), 1..=MUTATIONS_MAX)).prop_map(move |(at, all)| {
            let entry = corpus.get(at.index(corpus.len().max(1))).cloned().unwrap_or_default();
            all.iter().fold(entry, |data, mutation| mutation.apply(data, &corpus))
        });
    prop_oneof![1 => bytes, 1 => text, 6 => mutated]
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let at = any::<Index>;
    prop_oneof![
        (at(), 0..8_u8).prop_map(|(at, bit)| Mutation::Flip(at, bit)),
        (at(), any::<u8>()).prop_map(|(at, byte)| Mutation::Set(at, byte)),
        at().prop_map(Mutation::Cut),
        (at(), at()).prop_map(|(from, to)| Mutation::Remove(from, to)),
        (at(), at()).prop_map(|(from, to)| Mutation::Repeat(from, to)),
        (at(), vec(any::<u8>(), 1..8)).prop_map(|(at, bytes)| Mutation::Insert(at, bytes)),
        (at(), at(), at()).prop_map(|(at, other, from)| Mutation::Splice(at, other, from)),
    ]
}

impl Mutation {
    fn apply(&self, mut data: Vec<u8>, corpus: &[Vec<u8>]) -> Vec<u8> {
        if data.is_empty() {
            return data;
        }
        let len = data.len();
        let place = |at: &Index| at.index(len);
        let range = |from: &Index, to: &Index| {
            let (from, to) = (place(from), place(to));
            from.min(to)..from.max(to) + 1
        };
        match self {
            Self::Flip(at, bit) => {
                let at = place(at);
                data[at] ^= 1 << bit;
            }
            Self::Set(at, byte) => {
                let at = place(at);
                data[at] = *byte;
            }
            Self::Cut(at) => data.truncate(place(at)),
            Self::Remove(from, to) => drop(data.drain(range(from, to))),
            Self::Repeat(from, to) => {
                let range = range(from, to);
                let (end, part) = (range.end, data[range].to_vec());
                data.splice(end..end, part);
            }
            Self::Insert(at, bytes) => {
                let at = place(at);
                data.splice(at..at, bytes.iter().copied());
            }
            Self::Splice(at, other, from) => {
                data.truncate(place(at));
                if let Some(other) = corpus.get(other.index(corpus.len().max(1)))
                    && !other.is_empty()
                {
                    data.extend(&other[from.index(other.len())..]);
                }
            }
        }
        data
    }
}
