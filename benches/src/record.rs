//! Figures: a line of JSON each, and a table of all of them.

use crate::{error::BenchError, machine::Machine};
use serde::Serialize;
use std::{
    fmt::Write as _,
    fs::{self, File, OpenOptions},
    io::Write as _,
    path::Path,
};

/// One figure, as it is written.
#[derive(Serialize)]
struct Line<'a> {
    measure: &'a str,
    database: &'a str,
    value: f64,
    unit: &'a str,
    durability: &'a str,
    machine: &'a Machine,
}

struct Figure {
    measure: String,
    unit: String,
    database: &'static str,
    value: f64,
}

/// Where figures are collected.
pub struct Records {
    file: File,
    machine: Machine,
    database: &'static str,
    durability: &'static str,
    databases: Vec<&'static str>,
    figures: Vec<Figure>,
}

impl Records {
    /// Adds lines to a file, which is made with its folder if it is not there.
    pub fn create(path: &Path) -> Result<Self, BenchError> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        Ok(Self {
            file: OpenOptions::new().create(true).append(true).open(path)?,
            machine: Machine::this(),
            database: "",
            durability: "",
            databases: Vec::new(),
            figures: Vec::new(),
        })
    }

    /// On what the figures are made.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// The figures that follow are of this database.
    pub fn begin(&mut self, database: &'static str, durability: &'static str) {
        self.database = database;
        self.durability = durability;
        self.databases.push(database);
    }

    /// Notes a figure and says it to whoever watches.
    pub fn add(&mut self, measure: &str, unit: &str, value: f64) -> Result<(), BenchError> {
        let database = self.database;
        let (durability, machine) = (self.durability, &self.machine);
        let line = Line { measure, database, value, unit, durability, machine };
        let line = serde_json::to_string(&line).map_err(|e| BenchError::Other(e.to_string()))?;
        writeln!(self.file, "{line}")?;
        eprintln!("{database:9} {measure}: {} {unit}", shown(value));
        let (measure, unit) = (measure.to_owned(), unit.to_owned());
        self.figures.push(Figure { measure, unit, database, value });
        Ok(())
    }

    /// All figures in Markdown, a column per database.
    pub fn table(&self) -> String {
        let mut text = format!("{}\n\n| measurement |", self.machine.sentence());
        self.databases.iter().for_each(|database| {
            let _ = write!(text, " {database} |");
        });
        let _ = write!(text, "\n|---|{}", "---:|".repeat(self.databases.len()));
        let mut measures: Vec<(&str, &str)> = Vec::new();
        for figure in &self.figures {
            if !measures.contains(&(&figure.measure, &figure.unit)) {
                measures.push((&figure.measure, &figure.unit));
            }
        }
        for (measure, unit) in measures {
            let _ = write!(text, "\n| {measure} ({unit}) |");
            for database in &self.databases {
                let of =
                    |figure: &&Figure| figure.measure == measure && figure.database == *database;
                let value =
                    self.figures.iter().find(of).map_or("–".to_owned(), |f| shown(f.value));
                let _ = write!(text, " {value} |");
            }
        }
        text
    }
}

/// Three digits that matter are enough.
pub fn shown(value: f64) -> String {
    match value.abs() {
        100.0.. => format!("{value:.0}"),
        10.0..100.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// With commas, as people read it.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
