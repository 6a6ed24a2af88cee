//! Inserts many rows with few texts.
//!
//! A text that a server has not seen costs it more than the rows that come with it: it is parsed
//! and planned, and takes memory for every value (`docs/adr/0012-few-texts.md`). So rows that lack
//! the same columns go together, and
//!
//! - on PostgreSQL as one array a column: one text for any number of rows but one, which is planned
//!   faster by itself. What many rows have in common, such as their user, is bound once,
//! - elsewhere as `VALUES` of 256, 128, 64 … 1 rows: nine texts for any number of rows.

use std::collections::BTreeMap;

use sea_orm::{DatabaseTransaction, Value};

use super::{Sql, arrays::Arrays};
use crate::{Store, backend::Backend, error::StoreError};

/// Most rows of a statement with `VALUES`; the others are its halves.
const WIDTH_MAX: usize = 256;
/// Most rows of a statement with arrays.
const ARRAY_MAX: usize = 1_000;

/// Fewer rows have nothing bound once: what they have in common changes from batch to batch, and
/// each choice is a text.
const SHARED_ROWS_MIN: usize = 32;

/// Rows that are NULL in the same columns.
type Alike = Vec<Vec<Value>>;

/// Where rows go. Names and text come from this crate or from checked ids.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InsertInto<'a> {
    pub table: &'a str,
    pub columns: &'a [&'a str],
    /// What happens to a row whose key is there, or nothing: it is an error.
    pub or: &'a str,
}

/// Inserts rows, which are in the order in which the database is to meet their keys; those that are
/// NULL in other columns come one kind after the other.
///
/// # Errors
/// Those of the database.
pub(crate) async fn insert_rows(
    store: &Store,
    tx: &DatabaseTransaction,
    into: InsertInto<'_>,
    rows: impl IntoIterator<Item = Vec<Value>>,
) -> Result<(), StoreError> {
    let mut kinds: BTreeMap<Vec<bool>, Alike> = BTreeMap::new();
    for row in rows {
        let nulls = row.iter().map(|value| *value == value.as_null()).collect();
        kinds.entry(nulls).or_default().push(row);
    }
    for (nulls, rows) in kinds {
        insert_alike(store, tx, into, &nulls, rows).await?;
    }
    Ok(())
}

async fn insert_alike(
    store: &Store,
    tx: &DatabaseTransaction,
    InsertInto { table, columns, or }: InsertInto<'_>,
    nulls: &[bool],
    rows: Alike,
) -> Result<(), StoreError> {
    let mut fills: Vec<Fill> = (0..columns.len())
        .map(|at| if nulls[at] { Fill::Omitted } else { Fill::of(store.backend(), &rows, at) })
        .collect();
    // Something has to tell how many rows there are.
    if !fills.contains(&Fill::Bound)
        && let Some(shared) = fills.iter_mut().find(|fill| matches!(fill, Fill::Shared(_)))
    {
        *shared = Fill::Bound;
    }
    let named = columns.iter().zip(&fills).filter(|(_, fill)| **fill != Fill::Omitted);
    let names: Vec<&str> = named.map(|(name, _)| *name).collect();
    let head = format!("INSERT INTO {table} ({}) ", names.join(", "));
    let mut rows = rows.into_iter();
    while rows.len() > 0 {
        let mut sql = store.sql(&head);
        if store.backend() == Backend::Postgres && rows.len() > 1 {
            push_arrays(&mut sql, &fills, rows.by_ref().take(ARRAY_MAX))?;
        } else {
            push_values(&mut sql, &fills, width(rows.len()), &mut rows);
        }
        sql.push(or).run(tx).await?;
    }
    Ok(())
}

/// The greatest power of two that is not above `count`, which is not 0.
fn width(count: usize) -> usize {
    (1 << count.ilog2()).min(WIDTH_MAX)
}

/// How the values of a column are written.
#[derive(Clone, Debug, PartialEq)]
enum Fill {
    /// NULL everywhere.
    Omitted,
    /// The same everywhere, a part of the text.
    Literal(&'static str),
    /// The same everywhere, bound once; only on PostgreSQL.
    Shared(Value),
    Bound,
}

impl Fill {
    /// A column without a NULL.
    fn of(backend: Backend, rows: &[Vec<Value>], at: usize) -> Self {
        let Some(first) = rows.first().map(|row| &row[at]) else { return Self::Bound };
        if rows.iter().any(|row| row[at] != *first) {
            return Self::Bound;
        }
        let is_many = rows.len() >= SHARED_ROWS_MIN;
        match literal(first, if is_many { 9 } else { 0 }) {
            Some(text) => Self::Literal(text),
            None if is_many && backend == Backend::Postgres => Self::Shared(first.clone()),
            None => Self::Bound,
        }
    }
}

/// The text of an empty string, and of an integer from 0 to `most`, at most 9.
fn literal(value: &Value, most: usize) -> Option<&'static str> {
    const DIGITS: [&str; 10] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];
    let number = match value {
        Value::SmallInt(Some(number)) => i64::from(*number),
        Value::Int(Some(number)) => i64::from(*number),
        Value::BigInt(Some(number)) => *number,
        Value::String(Some(text)) if text.is_empty() => return Some("''"),
        _ => return None,
    };
    DIGITS[..=most].get(usize::try_from(number).ok()?).copied()
}

fn push_values(
    sql: &mut Sql,
    fills: &[Fill],
    width: usize,
    rows: &mut impl Iterator<Item = Vec<Value>>,
) {
    sql.push("VALUES ");
    for at in 0..width {
        let Some(row) = rows.next() else { break };
        let mut before = if at > 0 { ", (" } else { "(" };
        for (value, fill) in row.into_iter().zip(fills) {
            match fill {
                Fill::Omitted => continue,
                Fill::Literal(text) => sql.push(before).push(text),
                Fill::Shared(_) | Fill::Bound => sql.push(before).bind(value),
            };
            before = ", ";
        }
        sql.push(")");
    }
}

fn push_arrays(
    sql: &mut Sql,
    fills: &[Fill],
    rows: impl Iterator<Item = Vec<Value>>,
) -> Result<(), StoreError> {
    let bound: Vec<bool> = fills.iter().map(|fill| *fill == Fill::Bound).collect();
    let mut arrays = Arrays::new(bound.iter().filter(|bound| **bound).count());
    for row in rows {
        let kept = row.into_iter().zip(&bound).filter(|(_, bound)| **bound);
        arrays.push(kept.map(|(value, _)| value));
    }
    let (mut before, mut column) = ("SELECT ", 0);
    for fill in fills {
        match fill {
            Fill::Omitted => continue,
            Fill::Literal(text) => {
                sql.push(before).push(text);
            }
            Fill::Shared(value) => {
                sql.push(before).bind(value.clone());
            }
            Fill::Bound => {
                sql.push(before).push("v.").push(&Arrays::name(column));
                column += 1;
            }
        }
        before = ", ";
    }
    sql.push(" FROM ");
    arrays.push_to(sql)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn rows() -> Vec<Vec<Value>> {
        vec![
            vec![1_i64.into(), "".into(), 0_i16.into(), None::<i64>.into()],
            vec![2_i64.into(), "x".into(), 0_i16.into(), None::<i64>.into()],
        ]
    }

    fn fills(rows: &[Vec<Value>]) -> Vec<Fill> {
        let fill = |at| Fill::of(Backend::Postgres, rows, at);
        (0..3).map(fill).chain([Fill::Omitted]).collect()
    }

    #[test]
    fn nulls_are_left_out_and_zeros_are_part_of_the_text() {
        let mut sql = Sql::new(Backend::Mysql, "", Duration::ZERO);
        let rows = rows();
        push_values(&mut sql, &fills(&rows), 2, &mut rows.into_iter());
        assert_eq!(sql.text(), "VALUES (?, ?, 0), (?, ?, 0)");
    }

    #[test]
    fn arrays_have_one_text_for_any_number_of_rows() {
        let mut sql = Sql::new(Backend::Postgres, "", Duration::ZERO);
        let rows = rows();
        let made = push_arrays(&mut sql, &fills(&rows), rows.into_iter());
        assert!(made.is_ok());
        assert_eq!(
            sql.text(),
            "SELECT v.c0, v.c1, 0 FROM UNNEST($1::BIGINT[], $2::TEXT[]) AS v (c0, c1)"
        );
    }

    #[test]
    fn what_many_rows_have_in_common_is_bound_once() {
        let row = |n: i64| vec![n.into(), "ana".into(), 9_i16.into(), None::<i64>.into()];
        let rows: Vec<Vec<Value>> = (0..SHARED_ROWS_MIN as i64).map(row).collect();
        let shared = fills(&rows);
        let mut sql = Sql::new(Backend::Postgres, "", Duration::ZERO);
        assert!(push_arrays(&mut sql, &shared, rows.clone().into_iter()).is_ok());
        assert_eq!(sql.text(), "SELECT v.c0, $1, 9 FROM UNNEST($2::BIGINT[]) AS v (c0)");
        // Elsewhere small numbers only. Few rows have one text whatever they have in common.
        assert_eq!(Fill::of(Backend::Mysql, &rows, 1), Fill::Bound);
        assert_eq!(Fill::of(Backend::Mysql, &rows, 2), Fill::Literal("9"));
        assert_eq!(Fill::of(Backend::Mysql, &rows[1..], 2), Fill::Bound);
        assert_eq!(Fill::of(Backend::Postgres, &rows[1..], 1), Fill::Bound);
    }

    #[test]
    fn any_number_of_rows_is_a_sum_of_few_widths() {
        let widths = |mut count: usize| {
            let mut widths = Vec::new();
            while count > 0 {
                widths.push(width(count));
                count -= width(count);
            }
            widths
        };
        assert_eq!(widths(1), [1]);
        assert_eq!(widths(100), [64, 32, 4]);
        assert_eq!(widths(515), [256, 256, 2, 1]);
    }
}
