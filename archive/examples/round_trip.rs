//! Tries a place for archives, with small made-up ones: writes, reads, replaces, refuses.
//!
//! ```text
//! AWS_ACCESS_KEY_ID=… AWS_SECRET_ACCESS_KEY=… AWS_ENDPOINT_URL=http://127.0.0.1:9000 \
//!     AWS_ALLOW_HTTP=true cargo run -p asyncflow-archive --example round_trip -- s3://bucket/try
//! ```
//!
//! Whoever runs it looks for lines that begin with FAILED; the files stay for inspection.

use asyncflow_archive::{
    Archive, ArchiveError, Bounds, Content, Line, Manifest, Options, ShardName, Source, Writer,
};
use std::{error::Error, process::ExitCode};

/// Of the made-up shard.
const MADE_MS: i64 = 1_700_000_000_000;

fn lines(numbers: std::ops::Range<usize>) -> Vec<Line> {
    let line = |at| Line {
        id: format!("round_trip-1-{at:013}"),
        state: "SUCCEEDED".to_owned(),
        finish_time_ms: Some(MADE_MS),
        payload: Content { data: vec![0xff; at].into(), ..Content::default() },
        ..Line::default()
    };
    numbers.map(line).collect()
}

async fn begin(archive: &Archive, now_ms: i64) -> Result<Writer, ArchiveError> {
    let shard = ShardName::new("round_trip", 1)?;
    let source = Source { shard, version: now_ms, create_time_ms: MADE_MS };
    let bounds = Bounds { part_rows_max: 400, ..Bounds::default() };
    archive.begin(source, bounds, now_ms).await
}

async fn write(archive: &Archive, now_ms: i64, tasks: usize) -> Result<Manifest, ArchiveError> {
    let mut writer = begin(archive, now_ms).await?;
    writer.push(lines(0..tasks)).await?;
    writer.finish().await
}

/// Prints what was tried; `false` when it did not go as it must.
fn tell(what: &str, went_well: bool) -> bool {
    println!("{} {what}", if went_well { "ok    " } else { "FAILED" });
    went_well
}

async fn try_all(archive: &Archive, start_ms: i64) -> Result<bool, Box<dyn Error>> {
    let mut well = true;
    let mut late = begin(archive, start_ms).await?;
    late.push(lines(0..1_000)).await?;
    let first = write(archive, start_ms + 1, 1_000).await?;
    well &= tell("three parts are written and read back", first.files.len() == 3);
    let refused = matches!(late.finish().await, Err(ArchiveError::Kept { .. }));
    well &= tell("of two who write at once the first to end stays", refused);
    let second = write(archive, start_ms + 2, 1_001).await?;
    archive.verify(&second).await?;
    well &= tell("one that holds more replaces it", second.rows == 1_001);
    let third = write(archive, start_ms + 3, 7).await?;
    well &= tell("what it does not hold any more is carried over", third.rows == 1_001);
    let gone = archive.verify(&first).await.is_err();
    well &= tell("the parts of the first one are gone", gone);
    let found = archive.find(&third, &lines(700..701)[0].id).await?;
    well &= tell("a task is found", found.is_some());
    let listed: Result<Vec<_>, _> =
        archive.manifests(Some("round_trip")).await?.into_iter().collect();
    well &= tell("the archive is listed", listed? == [third]);
    Ok(well)
}

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let url = std::env::args().nth(1).ok_or("where? file:///directory or s3://bucket/prefix")?;
    let archive = Archive::create(&Options { url, ..Options::default() })?;
    let there = archive.manifest(&ShardName::new("round_trip", 1)?).await?;
    if there.is_some() {
        return Err("there is one of an earlier try: give another prefix".into());
    }
    let well = try_all(&archive, MADE_MS).await?;
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
