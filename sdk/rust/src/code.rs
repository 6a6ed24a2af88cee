//! What git says of the code in a directory: how a client records it when it makes a task, and how
//! a worker looks whether it is still the same.
//!
//! Files that git does not track are named, but not compared: what a program writes beside its code
//! would count as a change of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use sha2::{Digest as _, Sha256};
use tokio::process::Command;

/// A call of git that takes longer tells nothing.
const GIT_TIMEOUT: Duration = Duration::from_secs(5);
/// Untracked files that are named.
const UNTRACKED_MAX: usize = 100;
/// Whatever the settings of whoever calls, the same changes give the same text.
const PLAIN: [&str; 8] = [
    "-c",
    "core.fsmonitor=false",
    "-c",
    "core.quotePath=true",
    "-c",
    "diff.algorithm=myers",
    "-c",
    "diff.submodule=short",
];
const DIFF: [&str; 12] = [
    "diff",
    "--no-color",
    "--no-ext-diff",
    "--no-textconv",
    "--no-renames",
    "--full-index",
    "--unified=3",
    "--inter-hunk-context=0",
    "--src-prefix=a/",
    "--dst-prefix=b/",
    "-O/dev/null",
    "HEAD",
];

/// How the code in a repository is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CodeState {
    /// The root of the repository.
    pub root: PathBuf,
    /// What is checked out.
    pub commit: String,
    /// How tracked files differ from that, as `git diff` tells it.
    pub diff: String,
    /// Files that git neither tracks nor ignores, at most 100.
    pub untracked: Vec<String>,
}

impl CodeState {
    /// Asks git. `None` without git, without a repository or a commit in it, or when git takes
    /// longer than five seconds.
    pub async fn of(directory: &Path) -> Option<Self> {
        let root =
            PathBuf::from(git(directory, &["rev-parse", "--show-toplevel"]).await?.trim_end());
        let commit = git(&root, &["rev-parse", "--verify", "HEAD"]).await?.trim_end().to_owned();
        let diff = git(&root, &DIFF).await?;
        let others = ["ls-files", "--others", "--exclude-standard"];
        let untracked = git(&root, &others).await.unwrap_or_default();
        let untracked = untracked.lines().take(UNTRACKED_MAX).map(str::to_owned).collect();
        Some(Self { root, commit, diff, untracked })
    }

    /// SHA-256 of the diff, hexadecimal; empty when nothing differs.
    pub fn diff_sha256(&self) -> String {
        if self.diff.is_empty() {
            return String::new();
        }
        let digest = Sha256::digest(self.diff.as_bytes());
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The diff, and the names of files that git does not track.
    pub fn for_people(&self) -> String {
        let named = self.untracked.iter().map(|name| format!("untracked: {name}\n"));
        std::iter::once(self.diff.clone()).chain(named).collect()
    }

    /// Whether it is another code than that of `commit` with changes of this digest.
    pub fn differs_from(&self, commit: &str, diff_sha256: &str) -> bool {
        self.commit != commit || self.diff_sha256() != diff_sha256
    }

    /// Which files are not as they were at `commit` with this diff, as far as that can be told.
    pub async fn files_that_differ(&self, commit: &str, diff: &str) -> BTreeSet<String> {
        let (then, now) = (sections(diff), sections(&self.diff));
        let names = then.keys().chain(now.keys());
        let edited = names.filter(|name| then.get(*name) != now.get(*name));
        let mut files: BTreeSet<String> = edited.map(|name| (*name).to_owned()).collect();
        if self.commit != commit {
            let between = [commit, &self.commit];
            let args = [&["diff", "--name-only", "--no-renames"], &between[..]].concat();
            let committed = git(&self.root, &args).await.unwrap_or_default();
            files.extend(committed.lines().map(str::to_owned));
        }
        files
    }
}

/// What a diff says of each file.
fn sections(diff: &str) -> BTreeMap<&str, &str> {
    let mut starts: Vec<usize> =
        diff.match_indices("\ndiff --git ").map(|(at, _)| at + 1).collect();
    if diff.starts_with("diff --git ") {
        starts.insert(0, 0);
    }
    starts.push(diff.len());
    let parts = starts.windows(2).map(|ends| diff[ends[0]..ends[1]].trim_end());
    // `diff --git a/train.py b/train.py`: both names are the same, as there are no renames.
    let named = parts.filter_map(|part| {
        let head = part.lines().next()?.strip_prefix("diff --git ")?;
        let name = head.get(head.len() / 2 + 1..)?;
        Some((name.strip_prefix("b/").unwrap_or(name), part))
    });
    named.collect()
}

async fn git(directory: &Path, args: &[&str]) -> Option<String> {
    let mut command = Command::new("git");
    command.arg("-C").arg(directory).arg("--no-pager").args(PLAIN).args(args);
    // It must not wait for anything, nor keep others waiting.
    command.env("GIT_OPTIONAL_LOCKS", "0").env("GIT_TERMINAL_PROMPT", "0").env("LC_ALL", "C");
    for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_EXTERNAL_DIFF", "GIT_DIFF_OPTS"]
    {
        command.env_remove(name);
    }
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(GIT_TIMEOUT, command.output()).await.ok()?.ok()?;
    let said = || String::from_utf8_lossy(&output.stdout).into_owned();
    output.status.success().then(said)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    async fn run(directory: &Path, args: &[&str]) {
        let user = ["-c", "user.name=t", "-c", "user.email=t@example.org"];
        git(directory, &[&user, args].concat()).await.expect("git works");
    }

    async fn repository() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        run(dir.path(), &["init", "-q"]).await;
        std::fs::write(dir.path().join("train.py"), "lr = 1\n").unwrap();
        std::fs::write(dir.path().join("data file.py"), "a\n").unwrap();
        run(dir.path(), &["add", "."]).await;
        run(dir.path(), &["commit", "-qm", "a"]).await;
        dir
    }

    #[tokio::test]
    async fn an_edit_after_the_submission_is_seen_and_named() {
        let dir = repository().await;
        std::fs::write(dir.path().join("train.py"), "lr = 2\n").unwrap();
        std::fs::create_dir(dir.path().join("sub")).unwrap();
        let then = CodeState::of(&dir.path().join("sub")).await.unwrap();
        assert_eq!(then.root, dir.path().canonicalize().unwrap());
        assert!(then.diff.contains("+lr = 2"), "{}", then.diff);
        let (commit, digest) = (then.commit.clone(), then.diff_sha256());
        assert_eq!(digest.len(), 64);

        // The program's own output is no change of its code.
        std::fs::write(dir.path().join("checkpoint"), "").unwrap();
        run(dir.path(), &["config", "diff.noprefix", "true"]).await;
        run(dir.path(), &["config", "diff.context", "9"]).await;
        let same = CodeState::of(dir.path()).await.unwrap();
        assert!(!same.differs_from(&commit, &digest), "{same:?}");
        assert!(same.for_people().ends_with("untracked: checkpoint\n"));

        std::fs::write(dir.path().join("train.py"), "lr = 3\n").unwrap();
        std::fs::write(dir.path().join("data file.py"), "b\n").unwrap();
        let now = CodeState::of(dir.path()).await.unwrap();
        assert!(now.differs_from(&commit, &digest));
        let files = now.files_that_differ(&commit, &then.diff).await;
        assert_eq!(files.into_iter().collect::<Vec<_>>(), ["data file.py", "train.py"]);

        run(dir.path(), &["commit", "-qam", "b"]).await;
        let now = CodeState::of(dir.path()).await.unwrap();
        assert_eq!(now.diff_sha256(), "", "all of it is committed");
        assert!(now.differs_from(&commit, &digest));
        let files = now.files_that_differ(&commit, &then.diff).await;
        assert_eq!(files.into_iter().collect::<Vec<_>>(), ["data file.py", "train.py"]);
    }

    #[tokio::test]
    async fn where_there_is_no_repository_nothing_is_known() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(CodeState::of(dir.path()).await, None);
        assert_eq!(CodeState::of(Path::new("/no/such/directory")).await, None);
        run(dir.path(), &["init", "-q"]).await;
        assert_eq!(CodeState::of(dir.path()).await, None, "there is no commit");
    }
}
