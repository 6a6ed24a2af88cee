//! The only place of this crate where types of the core become messages.

use asyncflow_core::shard::Shard;
use asyncflow_proto::{time::timestamp, v1};
use asyncflow_store::ShardCount;

/// A shard with the rows that `counts` has of it, and `size_bytes` on disk (0 = not known).
///
/// The numbers of the states are those of the protocol; a test keeps them equal.
pub(crate) fn shard(shard: &Shard, counts: &[ShardCount], size_bytes: i64) -> v1::Shard {
    let counts: Vec<_> = counts.iter().filter(|count| count.shard == shard.id).collect();
    let live = counts.iter().filter(|count| !count.state.is_terminal());
    v1::Shard {
        task_type: shard.id.task_type.as_str().to_owned(),
        number: shard.id.number,
        state: shard.state.code().into(),
        rows: counts.iter().map(|count| count.tasks).sum(),
        live_rows: live.map(|count| count.tasks).sum(),
        create_time: Some(timestamp(shard.create_time_ms)),
        counts: counts
            .iter()
            .map(|count| v1::ShardStateCount {
                state: count.state.code().into(),
                rows: count.tasks,
            })
            .collect(),
        size_bytes,
        close_time: shard.close_time_ms.map(timestamp),
        drain_time: shard.drain_time_ms.map(timestamp),
        archive: shard.archive.clone(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use asyncflow_core::{
        id::{ShardId, TypeName},
        shard::ShardState,
        state::TaskState,
    };

    #[test]
    fn states_have_the_numbers_of_the_protocol() {
        for state in ShardState::ALL {
            let known = v1::ShardState::try_from(i32::from(state.code())).unwrap();
            let name = format!("SHARD_STATE_{state:?}").to_uppercase();
            assert_eq!(known.as_str_name(), name);
        }
        for state in TaskState::ALL {
            let known = v1::TaskState::try_from(i32::from(state.code())).unwrap();
            let name = format!("TASK_STATE_{state:?}").to_uppercase();
            assert_eq!(known.as_str_name(), name);
        }
    }

    #[test]
    fn rows_are_those_of_the_shard_and_live_ones_those_that_are_not_terminal() {
        let id = |number| ShardId { task_type: TypeName::new("train").unwrap(), number };
        let count = |number, state, tasks| ShardCount { shard: id(number), state, tasks };
        let counts = [
            count(1, TaskState::Running, 100),
            count(2, TaskState::Succeeded, 3),
            count(2, TaskState::Pending, 4),
        ];
        let of = Shard {
            id: id(2),
            state: ShardState::Closed,
            version: 3,
            create_time_ms: 1_000,
            update_time_ms: 2_000,
            close_time_ms: Some(2_000),
            drain_time_ms: None,
            archive: String::new(),
        };
        let shown = shard(&of, &counts, 4_096);
        assert_eq!((shown.rows, shown.live_rows, shown.size_bytes), (7, 4, 4_096));
        assert_eq!(shown.counts.len(), 2);
        assert_eq!(shown.state(), v1::ShardState::Closed);
        assert_eq!((shown.close_time, shown.drain_time), (Some(timestamp(2_000)), None));
    }
}
