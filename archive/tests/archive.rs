//! Archives in a real directory: what is written comes back, and damage shows.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use asyncflow_archive::{
    Archive, ArchiveError, Attempt, Bounds, Content, Failure, Line, Manifest, Options, ShardName,
    Source, Writer,
};
use std::{fs, path::PathBuf};
use tempfile::TempDir;

const MADE_MS: i64 = 1_700_000_000_000;

struct Bed {
    dir: TempDir,
    archive: Archive,
}

impl Bed {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let archive = Archive::create(&options(&dir.path().join("a b%20c"))).unwrap();
        Self { dir, archive }
    }

    fn folder(&self) -> PathBuf {
        self.dir.path().join("a b%20c/train/train-3")
    }

    /// The names of the parts that lie there, whoever wrote them.
    fn parts(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.folder()) else { return Vec::new() };
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut parts: Vec<String> = names.filter(|name| name.starts_with("part-")).collect();
        parts.sort();
        parts
    }

    async fn begin(&self, version: i64, now_ms: i64) -> Result<Writer, ArchiveError> {
        let bounds = Bounds { part_rows_max: 4, part_bytes_max: 1 << 20 };
        self.archive.begin(source(version, MADE_MS), bounds, now_ms).await
    }

    async fn write(&self, version: i64, lines: Vec<Line>) -> Result<Manifest, ArchiveError> {
        let mut writer = self.begin(version, MADE_MS + version).await?;
        writer.push(lines).await?;
        writer.finish().await
    }

    /// Of archives that are sound.
    async fn manifests(&self, task_type: Option<&str>) -> Vec<Manifest> {
        let found = self.archive.manifests(task_type).await.unwrap();
        found.into_iter().map(Result::unwrap).collect()
    }

    async fn read(&self, manifest: &Manifest) -> Result<Vec<Line>, ArchiveError> {
        let (mut lines, mut read) = (self.archive.lines(manifest), Vec::new());
        while let Some(line) = lines.next().await? {
            read.push(serde_json::from_slice(&line).unwrap());
        }
        Ok(read)
    }
}

fn options(path: &std::path::Path) -> Options {
    let url = url::Url::from_directory_path(path).unwrap().to_string();
    Options { url, ..Options::default() }
}

fn shard() -> ShardName {
    ShardName::new("train", 3).unwrap()
}

fn source(version: i64, create_time_ms: i64) -> Source {
    Source { shard: shard(), version, create_time_ms }
}

fn id(at: usize) -> String {
    format!("train-3-{at:013}")
}

/// A task with a bit of everything.
fn line(at: usize) -> Line {
    let failure = Some(Failure { reason: "TIMED_OUT".into(), message: "too \n late".into() });
    let attempt = Attempt { attempt: 1, outcome: "FAILED".into(), failure, ..Attempt::default() };
    Line {
        id: id(at),
        user: "ana".into(),
        state: if at.is_multiple_of(2) { "SUCCEEDED" } else { "FAILED" }.into(),
        finish_time_ms: Some(MADE_MS + 1_000 - at as i64),
        labels: [("gpu".to_owned(), "\u{1f9ea}".to_owned())].into(),
        payload: Content { data: vec![0, 0xff, 0xfe, at as u8].into(), ..Content::default() },
        result: Some(Content { data: "{}".into(), content_type: "application/json".into() }),
        attempts: vec![attempt],
        ..Line::default()
    }
}

fn lines(numbers: std::ops::Range<usize>) -> Vec<Line> {
    numbers.map(line).collect()
}

#[tokio::test]
async fn what_is_written_comes_back_in_parts_of_bounded_size() {
    let bed = Bed::new();
    let mut writer = bed.begin(7, MADE_MS + 5).await.unwrap();
    writer.push(lines(0..3)).await.unwrap();
    writer.push(lines(3..10)).await.unwrap();
    assert_eq!(bed.archive.manifest(&shard()).await.unwrap(), None, "it is not complete yet");
    let manifest = writer.finish().await.unwrap();

    assert_eq!(manifest.files.iter().map(|file| file.rows).collect::<Vec<_>>(), [4, 4, 2]);
    assert_eq!((manifest.rows, manifest.shard_version), (10, 7));
    assert_eq!(manifest.rows_by_state["SUCCEEDED"], 5);
    assert_eq!((manifest.first_id.clone(), manifest.last_id.clone()), (Some(id(0)), Some(id(9))));
    assert_eq!(manifest.first_finish_time_ms, Some(MADE_MS + 991));
    assert_eq!(manifest.last_finish_time_ms, Some(MADE_MS + 1_000));
    assert_eq!(bed.archive.manifest(&shard()).await.unwrap().as_ref(), Some(&manifest));
    assert_eq!(bed.read(&manifest).await.unwrap(), lines(0..10));
    bed.archive.verify(&manifest).await.unwrap();
    let found = bed.archive.find(&manifest, &id(6)).await.unwrap().unwrap();
    assert_eq!(serde_json::from_slice::<Line>(&found).unwrap(), line(6));
    assert_eq!(bed.archive.find(&manifest, &id(10)).await.unwrap(), None);
    assert_eq!(bed.manifests(None).await, std::slice::from_ref(&manifest));
    assert_eq!(bed.manifests(Some("train")).await, [manifest]);
    assert_eq!(bed.manifests(Some("other")).await, []);
}

#[tokio::test]
async fn a_shard_without_tasks_and_a_task_larger_than_a_part() {
    let bed = Bed::new();
    let empty = bed.write(1, Vec::new()).await.unwrap();
    assert_eq!((empty.rows, empty.files.len(), empty.first_id.clone()), (0, 0, None));
    bed.archive.verify(&empty).await.unwrap();
    assert_eq!(bed.read(&empty).await.unwrap(), []);

    // Does not compress: xorshift.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let noise = (0..3 << 20).map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    });
    let context = Content { data: noise.collect::<Vec<u8>>().into(), ..Content::default() };
    let huge = Line { context, ..line(1) };
    let written = vec![line(0), huge, line(2)];
    let manifest = bed.write(2, written.clone()).await.unwrap();
    assert_eq!(manifest.files.len(), 2, "the part ends behind the task that filled it");
    assert_eq!(bed.read(&manifest).await.unwrap(), written);
}

#[tokio::test]
async fn a_damaged_part_is_seen_and_named() {
    type Damage = (&'static str, fn(&std::path::Path));
    let damages: [Damage; 4] = [
        ("SHA-256", |part| {
            let mut bytes = fs::read(part).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(part, bytes).unwrap();
        }),
        ("bytes instead of", |part| {
            let bytes = fs::read(part).unwrap();
            fs::write(part, &bytes[..bytes.len() - 1]).unwrap();
        }),
        ("bytes instead of", |part| fs::write(part, b"").unwrap()),
        ("missing", |part| fs::remove_file(part).unwrap()),
    ];
    for (what, damage) in damages {
        let bed = Bed::new();
        let manifest = bed.write(1, lines(0..6)).await.unwrap();
        damage(&bed.folder().join(&manifest.files[1].name));
        let error = bed.archive.verify(&manifest).await.unwrap_err();
        assert!(matches!(error, ArchiveError::Damaged { .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.contains(what) && text.contains(&manifest.files[1].name), "{text}");
        bed.read(&manifest).await.unwrap_err();
        assert!(bed.archive.find(&manifest, &id(1)).await.unwrap().is_some(), "in a whole part");
        bed.archive.find(&manifest, &id(5)).await.unwrap_err();
    }
}

#[tokio::test]
async fn a_manifest_that_says_something_else_is_damage_too() {
    let bed = Bed::new();
    let manifest = bed.write(1, lines(0..6)).await.unwrap();
    let wrong = Manifest { rows: 5, ..manifest.clone() };
    assert!(bed.archive.verify(&wrong).await.is_err());
    let path = bed.folder().join("manifest.json");
    for (text, what) in [
        ("{".to_owned(), "damaged"),
        (serde_json::to_string(&Manifest { shard: 4, ..manifest.clone() }).unwrap(), "another"),
        (serde_json::to_string(&Manifest { format_version: 9, ..manifest }).unwrap(), "format 9"),
    ] {
        fs::write(&path, text).unwrap();
        let error = bed.archive.manifest(&shard()).await.unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
    }
}

#[tokio::test]
async fn an_archive_that_was_broken_off_is_begun_anew_and_its_files_go() {
    let bed = Bed::new();
    let mut killed = bed.begin(1, MADE_MS + 1).await.unwrap();
    killed.push(lines(0..6)).await.unwrap();
    drop(killed);
    let left = bed.parts();
    assert_eq!(left.len(), 1, "one part was full");
    assert_eq!(bed.archive.manifest(&shard()).await.unwrap(), None);
    assert_eq!(bed.manifests(None).await, []);

    let manifest = bed.write(2, lines(0..6)).await.unwrap();
    let names: Vec<String> = manifest.files.iter().map(|file| file.name.clone()).collect();
    assert_eq!(bed.parts(), names);
    assert!(!names.contains(&left[0]));
    bed.archive.verify(&manifest).await.unwrap();
}

#[tokio::test]
async fn an_archive_is_replaced_by_one_that_holds_all_of_it_and_by_no_other() {
    let bed = Bed::new();
    let first = bed.write(1, lines(0..6)).await.unwrap();

    // Broken off in the middle, the new one leaves the old one whole.
    let mut killed = bed.begin(2, MADE_MS + 2).await.unwrap();
    killed.push(lines(0..6)).await.unwrap();
    drop(killed);
    assert_eq!(bed.archive.manifest(&shard()).await.unwrap().as_ref(), Some(&first));
    bed.archive.verify(&first).await.unwrap();

    let foreign = bed.archive.begin(source(3, MADE_MS + 1), Bounds::default(), MADE_MS + 3).await;
    let error = foreign.err().unwrap().to_string();
    assert!(error.contains("another database"), "{error}");
    bed.archive.verify(&first).await.unwrap();

    let second = bed.write(4, lines(0..8)).await.unwrap();
    assert_eq!(bed.archive.manifest(&shard()).await.unwrap().as_ref(), Some(&second));
    bed.archive.verify(&second).await.unwrap();
    let left = |gone: &Manifest| bed.parts().iter().any(|name| names(gone).contains(name));
    assert!(!left(&first), "the parts of the first one are gone");
    // Those of the one that was broken off might be somebody's, and go with the next.
    let third = bed.write(5, lines(0..8)).await.unwrap();
    assert_eq!(bed.parts(), names(&third));
}

#[tokio::test]
async fn what_was_archived_once_is_carried_over() {
    let missing = [lines(1..6), lines(0..5), [lines(0..3), lines(4..6)].concat(), Vec::new()];
    for (at, missing) in missing.into_iter().enumerate() {
        let bed = Bed::new();
        bed.write(1, lines(0..6)).await.unwrap();
        // What is in the table has changed since.
        let newer = |old: Line| Line { stage: "newer".to_owned(), ..old };
        let kept: Vec<Line> = missing.iter().cloned().map(newer).chain(lines(6..8)).collect();
        let manifest = bed.write(2, kept.clone()).await.unwrap();
        let expected: Vec<Line> = (lines(0..8).into_iter())
            .map(|old| kept.iter().find(|new| new.id == old.id).cloned().unwrap_or(old))
            .collect();
        assert_eq!(bed.read(&manifest).await.unwrap(), expected, "{at}");
        assert_eq!((manifest.rows, manifest.shard_version), (8, 2));
        bed.archive.verify(&manifest).await.unwrap();
        assert_eq!(bed.parts().len(), manifest.files.len());
    }
}

#[tokio::test]
async fn of_two_who_write_at_once_the_first_to_end_stays() {
    let bed = Bed::new();
    let mut late = bed.begin(1, MADE_MS + 1).await.unwrap();
    late.push(lines(0..6)).await.unwrap();
    let manifest = bed.write(2, lines(0..6)).await.unwrap();
    let error = late.finish().await.unwrap_err();
    assert!(matches!(error, ArchiveError::Kept { .. }), "{error:?}");
    assert_eq!(bed.archive.manifest(&shard()).await.unwrap().as_ref(), Some(&manifest));
    bed.archive.verify(&manifest).await.unwrap();
}

#[tokio::test]
async fn a_damaged_manifest_hides_no_other() {
    let bed = Bed::new();
    let sound = bed.write(1, lines(0..2)).await.unwrap();
    let damaged = bed.folder().with_file_name("train-2");
    fs::create_dir(&damaged).unwrap();
    fs::write(damaged.join("manifest.json"), "{").unwrap();
    let mut found = bed.archive.manifests(None).await.unwrap().into_iter();
    let error = found.next().unwrap().unwrap_err();
    assert!(error.to_string().contains("train-2/manifest.json is damaged"), "{error}");
    assert_eq!(found.next().unwrap().unwrap(), sound);
    assert!(found.next().is_none());
}

/// Both have seen the archive that they replace; the one that is older by its name ends last.
#[tokio::test]
async fn of_two_who_replace_at_once_neither_takes_the_others_parts() {
    let bed = Bed::new();
    bed.write(1, lines(0..6)).await.unwrap();
    let mut late = bed.begin(2, MADE_MS + 2).await.unwrap();
    late.push(lines(0..6)).await.unwrap();
    let newer = bed.write(3, lines(0..6)).await.unwrap();
    let kept = bed.archive.manifest(&shard()).await.unwrap().unwrap();
    assert_eq!(kept, newer);
    bed.archive.verify(&kept).await.unwrap();
    // As if it had looked at the manifest before and put its own only now.
    let parts: Vec<_> =
        bed.parts().into_iter().filter(|name| !names(&newer).contains(name)).collect();
    assert!(!parts.is_empty(), "its parts are there, should its manifest come");
    let error = late.finish().await.unwrap_err();
    assert!(matches!(error, ArchiveError::Kept { .. }), "{error:?}");
}

fn names(manifest: &Manifest) -> Vec<String> {
    manifest.files.iter().map(|file| file.name.clone()).collect()
}

#[tokio::test]
async fn tasks_out_of_order_or_of_another_shard_are_refused() {
    let bed = Bed::new();
    let stranger = Line { id: "train-4-0000000000001".into(), ..Line::default() };
    for wrong in [vec![line(2), line(1)], vec![line(1), line(1)], vec![stranger]] {
        let mut writer = bed.begin(1, MADE_MS).await.unwrap();
        let error = writer.push(wrong).await.unwrap_err();
        assert!(matches!(error, ArchiveError::Misplaced { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn a_place_that_cannot_be_written_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    for path in [file.join("below"), file.clone()] {
        let error = Archive::create(&options(&path)).unwrap_err().to_string();
        assert!(error.contains("file"), "{error}");
    }
    let missing = Archive::open(&options(&dir.path().join("missing"))).unwrap_err().to_string();
    assert!(missing.contains("missing"), "{missing}");

    // A file stands where the shard's folder should be.
    let bed = Bed::new();
    fs::create_dir_all(bed.folder().parent().unwrap()).unwrap();
    fs::write(bed.folder(), "").unwrap();
    let error = bed.write(1, lines(0..6)).await.unwrap_err();
    assert!(matches!(error, ArchiveError::Store { .. }), "{error:?}");
    assert!(error.to_string().contains("train-3"), "{error}");
}
