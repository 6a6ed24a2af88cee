//! `archive cat`

use crate::error::{CliError, Outcome, exit};
use asyncflow_archive::{Archive, Manifest, ShardName};
use serde_json::Value;
use std::io::{self, BufWriter, Write};

/// Print archived tasks as JSON, with attempts, payload, context and result
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The id of a task, or a shard as `archive ls -o id` prints it, e.g. train-1
    what: String,
    /// How to print
    #[arg(short = 'o', long = "output", value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, Clone, Copy, Default, clap::ValueEnum)]
enum Format {
    /// One task per line, as in the archive
    #[default]
    Jsonl,
    /// Indented
    Json,
}

pub async fn execute(args: Args, archive: &Archive) -> Outcome {
    // Both have one form: a task's id has one part more.
    let task = ShardName::of_task(&args.what).ok();
    let shard = match &task {
        Some(shard) => shard.clone(),
        None => args.what.parse()?,
    };
    let manifest = archive.manifest(&shard).await?;
    let manifest = manifest.ok_or_else(|| {
        CliError::NotFound(format!("there is no archive at {}", archive.location(&shard)))
    })?;
    let mut out = BufWriter::new(io::stdout().lock());
    if task.is_some() {
        print(&mut out, &find(archive, &manifest, &args.what).await?, args.format)?;
    } else {
        let mut lines = archive.lines(&manifest);
        while let Some(line) = lines.next().await? {
            print(&mut out, &line, args.format)?;
        }
    }
    out.flush()?;
    Ok(exit::OK)
}

async fn find(archive: &Archive, manifest: &Manifest, id: &str) -> Result<Vec<u8>, CliError> {
    let found = archive.find(manifest, id).await?;
    found.ok_or_else(|| {
        let shard = format!("{}-{}", manifest.task_type, manifest.shard);
        CliError::NotFound(format!("the archive of {shard} does not hold the task {id}"))
    })
}

fn print(out: &mut impl Write, line: &[u8], format: Format) -> Result<(), CliError> {
    match format {
        Format::Jsonl => out.write_all(line)?,
        Format::Json => {
            let unprintable = |error| CliError::Failed(format!("a line is no JSON: {error}"));
            let value: Value = serde_json::from_slice(line).map_err(unprintable)?;
            out.write_all(serde_json::to_string_pretty(&value).map_err(unprintable)?.as_bytes())?;
        }
    }
    Ok(out.write_all(b"\n")?)
}
