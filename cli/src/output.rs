//! One way to print what a command found, in the four formats.

use crate::{clock, error::CliError, style::Palette};
use comfy_table::{Cell, ColumnConstraint, ContentArrangement, Table, Width, presets};
use futures::{Stream, StreamExt, TryStreamExt, stream::TryChunksError};
use serde::{Serialize, Serializer, ser::SerializeSeq};
use std::{
    io::{self, BufWriter, Write},
    pin::pin,
};

/// So many rows of a long table are put under each other at a time.
const ROWS: usize = 1_000;
/// Blanks between columns.
const GAP: u16 = 2;

/// `-o`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// Aligned columns for people; times are relative
    #[default]
    Table,
    /// One JSON value: an object, or an array for lists; times are RFC 3339
    Json,
    /// One JSON object per line
    Jsonl,
    /// Only the ids, one per line
    Id,
}

/// Flags of every command that prints.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct OutputArgs {
    /// How to print
    #[arg(short = 'o', long = "output", value_enum, default_value_t, global = true)]
    format: Format,
}

/// Something that can be printed in every format.
pub trait View: Serialize {
    /// Headings of the table.
    const COLUMNS: &'static [&'static str];
    /// What `-o id` prints.
    fn id(&self) -> String;
    /// One row under the headings.
    fn row(&self, look: Look) -> Vec<String>;
    /// What is shown of a single one, as (name, value); empty values are left out.
    fn details(&self, look: Look) -> Vec<(&'static str, String)>;
}

/// What tables need to know.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    pub palette: Palette,
    pub now_ms: i64,
}

/// Standard output with the chosen format.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    format: Format,
    palette: Palette,
}

impl OutputArgs {
    pub fn open(self) -> Output {
        Output { format: self.format, palette: Palette::stdout() }
    }
}

impl Output {
    pub fn is_table(&self) -> bool {
        self.format == Format::Table
    }

    pub fn is_ids(&self) -> bool {
        self.format == Format::Id
    }

    /// Looks at the clock each time: `task wait` prints hours after it was started.
    pub fn look(&self) -> Look {
        Look { palette: self.palette, now_ms: clock::now_ms() }
    }

    /// Prints one thing with all that is known of it.
    pub fn one<V: View>(&self, view: &V) -> Result<(), CliError> {
        match self.format {
            Format::Table => self.print_details(&view.details(self.look())),
            Format::Json => self.line(&pretty(view)?),
            Format::Jsonl => self.line(&compact(view)?),
            Format::Id => self.line(&view.id()),
        }
    }

    /// Prints a list; an empty table is its headings only.
    pub fn many<V: View>(&self, views: &[V]) -> Result<(), CliError> {
        match self.format {
            Format::Table => {
                let look = self.look();
                let rows = views.iter().map(|view| view.row(look)).collect();
                self.print_table(V::COLUMNS, rows)
            }
            Format::Json => self.line(&pretty(&views)?),
            Format::Jsonl => views.iter().try_for_each(|view| self.line(&compact(view)?)),
            Format::Id => views.iter().try_for_each(|view| self.line(&view.id())),
        }
    }

    /// Prints the first so many of a list (0 = all) and says when there are more.
    pub async fn each<V: View>(
        &self,
        views: impl Stream<Item = Result<V, CliError>>,
        limit: usize,
    ) -> Result<(), CliError> {
        let mut views = pin!(views);
        if limit == 0 {
            return self.every(views).await;
        }
        self.every(views.by_ref().take(limit)).await?;
        if views.try_next().await?.is_some() {
            crate::remark(&format!("there are more than these {limit}; --limit 0 shows all"));
        }
        Ok(())
    }

    /// Prints a list while it comes, however long it is: nothing is kept but some rows of a table,
    /// whose columns grow wider when later rows need it.
    async fn every<V: View>(
        &self,
        views: impl Stream<Item = Result<V, CliError>>,
    ) -> Result<(), CliError> {
        let mut views = pin!(views);
        match self.format {
            Format::Table => {
                let mut portions = pin!(views.try_chunks(ROWS));
                let (look, mut widths) = (self.look(), None);
                while let Some(views) =
                    portions.try_next().await.map_err(|TryChunksError(_, e)| e)?
                {
                    let rows = views.iter().map(|view| view.row(look)).collect();
                    widths = Some(self.print_rows(V::COLUMNS, rows, widths.as_deref())?);
                }
                if widths.is_none() {
                    self.print_table(V::COLUMNS, Vec::new())?;
                }
                Ok(())
            }
            Format::Json => {
                let mut printer = serde_json::Serializer::pretty(BufWriter::new(io::stdout()));
                let mut list = printer.serialize_seq(None).map_err(unprintable)?;
                while let Some(view) = views.try_next().await? {
                    list.serialize_element(&view).map_err(unprintable)?;
                }
                list.end().map_err(unprintable)?;
                let mut out = printer.into_inner();
                writeln!(out)?;
                Ok(out.flush()?)
            }
            Format::Jsonl | Format::Id => {
                while let Some(view) = views.try_next().await? {
                    self.many(&[view])?;
                }
                Ok(())
            }
        }
    }

    /// Prints one of a stream: always one line, so that it can be read as it comes.
    pub fn next<V: View>(
        &self,
        view: &V,
        for_people: impl FnOnce() -> String,
    ) -> Result<(), CliError> {
        match self.format {
            Format::Table => self.line(&for_people()),
            Format::Json | Format::Jsonl => self.line(&compact(view)?),
            Format::Id => self.line(&view.id()),
        }
    }

    /// Prints one line.
    pub fn line(&self, text: &str) -> Result<(), CliError> {
        let mut out = io::stdout().lock();
        Ok(writeln!(out, "{text}")?)
    }

    /// Prints a table that is no list of views.
    pub fn print_table(&self, columns: &[&str], rows: Vec<Vec<String>>) -> Result<(), CliError> {
        self.print_rows(columns, rows, None).map(drop)
    }

    /// Prints rows, under rows whose columns are so wide, or else under headings; how wide they
    /// are now.
    fn print_rows(
        &self,
        columns: &[&str],
        rows: Vec<Vec<String>>,
        widths: Option<&[u16]>,
    ) -> Result<Vec<u16>, CliError> {
        let mut table = plain_table();
        match widths {
            None => {
                table.set_header(columns.iter().map(|name| Cell::new(self.palette.bold(name))));
                table.add_rows(rows);
            }
            Some(widths) => {
                table.add_rows(rows);
                let least = widths.iter().map(|width| Width::Fixed(width + GAP));
                table.set_constraints(least.map(ColumnConstraint::LowerBoundary));
            }
        }
        let widest = |(at, width): (usize, u16)| width.max(widths.map_or(0, |widths| widths[at]));
        let shown = table.column_max_content_widths().into_iter().enumerate().map(widest).collect();
        self.print_trimmed(table)?;
        Ok(shown)
    }

    fn print_details(&self, details: &[(&'static str, String)]) -> Result<(), CliError> {
        let mut table = plain_table();
        for (name, value) in details.iter().filter(|(_, value)| !value.is_empty()) {
            table.add_row([self.palette.faint(name), value.clone()]);
        }
        self.print_trimmed(table)
    }

    /// Trailing blanks would only be in the way of a copy or a diff.
    fn print_trimmed(&self, mut table: Table) -> Result<(), CliError> {
        for column in table.column_iter_mut() {
            column.set_padding((0, GAP));
        }
        table.lines().try_for_each(|line| self.line(line.trim_end()))
    }
}

fn plain_table() -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    // Never fitted to the terminal's width: half an id on each of two lines cannot be copied.
    table.set_content_arrangement(ContentArrangement::Disabled);
    table
}

fn pretty<T: Serialize + ?Sized>(value: &T) -> Result<String, CliError> {
    serde_json::to_string_pretty(value).map_err(unprintable)
}

fn compact<T: Serialize + ?Sized>(value: &T) -> Result<String, CliError> {
    serde_json::to_string(value).map_err(unprintable)
}

fn unprintable(error: serde_json::Error) -> CliError {
    if error.is_io() {
        return io::Error::from(error).into();
    }
    CliError::Failed(format!("cannot print the answer as JSON: {error}"))
}
