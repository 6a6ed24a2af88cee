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
use tokio::{io::AsyncReadExt, process::Command};

/// A call of git that takes longer tells nothing.
const GIT_TIMEOUT: Duration = Duration::from_secs(5);
/// What git says beyond that is not read, whatever lies in a directory.
const GIT_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// Where a diff is cut, this stands at its end.
pub const CUT: &str = "\n(cut here)\n";
const UNTRACKED: &str = "untracked: ";
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
    /// Asks git. `None` without git, without a repository or a commit in it, when git takes longer
    /// than five seconds, or says more than 8 MiB.
    pub async fn of(directory: &Path) -> Option<Self> {
        let root =
            PathBuf::from(git(directory, &["rev-parse", "--show-toplevel"]).await?.trim_end());
        let commit = git(&root, &["rev-parse", "--verify", "HEAD"]).await?.trim_end().to_owned();
        let diff = git(&root, &DIFF).await?;
        let others = ["ls-files", "--others", "--exclude-standard"];
        let (untracked, _) = ask(&root, &others).await.unwrap_or_default();
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
        let named = self.untracked.iter().map(|name| format!("{UNTRACKED}{name}\n"));
        std::iter::once(self.diff.clone()).chain(named).collect()
    }

    /// Whether it is another code than that of `commit` with changes of this digest.
    pub fn differs_from(&self, commit: &str, diff_sha256: &str) -> bool {
        self.commit != commit || self.diff_sha256() != diff_sha256
    }

    /// Which files are not as they were at `commit` with this diff, which may be one for people
    /// and cut. As far as that can be told: what stood behind the cut nobody knows.
    pub async fn files_that_differ(&self, commit: &str, diff: &str) -> BTreeSet<String> {
        let (mut then, now) = (sections(diff), sections(&self.diff));
        let mut last = None;
        if is_cut(diff) {
            // The last one is not whole.
            then.pop_last();
            last = Some(then.last_key_value().map_or("", |(name, _)| *name));
        }
        let names = then.keys().chain(now.keys());
        // They are in the order of their names.
        let names = names.filter(|name| last.is_none_or(|last| **name <= last));
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

/// Where the diff ends of which this is told to people.
fn end_of_diff(text: &str) -> usize {
    let is_first = text.starts_with(UNTRACKED).then_some(0);
    let named = || text.find(&format!("\n{UNTRACKED}")).map(|at| at + 1);
    is_first.or_else(named).unwrap_or(text.strip_suffix(CUT).unwrap_or(text).len())
}

/// Whether some of the diff is missing. Of what is named after it something may be.
fn is_cut(text: &str) -> bool {
    text.ends_with(CUT) && text.len() == end_of_diff(text) + CUT.len()
}

/// What a diff says of each file.
fn sections(text: &str) -> BTreeMap<&str, &str> {
    let diff = text.get(..end_of_diff(text)).unwrap_or_default();
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

/// All that git says.
async fn git(directory: &Path, args: &[&str]) -> Option<String> {
    ask(directory, args).await.and_then(|(said, is_all)| is_all.then_some(said))
}

/// What git says, or its beginning, and whether it is all.
async fn ask(directory: &Path, args: &[&str]) -> Option<(String, bool)> {
    let mut command = Command::new("git");
    command.arg("-C").arg(directory).arg("--no-pager").args(PLAIN).args(args);
    // It must not wait for anything, nor keep others waiting.
    command.env("GIT_OPTIONAL_LOCKS", "0").env("GIT_TERMINAL_PROMPT", "0").env("LC_ALL", "C");
    for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_EXTERNAL_DIFF", "GIT_DIFF_OPTS"]
    {
        command.env_remove(name);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    let asking = async {
        let mut child = command.spawn().ok()?;
        let (mut said, stdout) = (Vec::new(), child.stdout.take()?);
        let mut stdout = stdout.take(GIT_BYTES_MAX);
        stdout.read_to_end(&mut said).await.ok()?;
        let is_all = stdout.limit() > 0;
        let is_good = !is_all || child.wait().await.ok()?.success();
        is_good.then(|| (String::from_utf8_lossy(&said).into_owned(), is_all))
    };
    tokio::time::timeout(GIT_TIMEOUT, asking).await.ok()?
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
    async fn what_was_told_to_people_accuses_no_file_that_is_the_same() {
        let dir = repository().await;
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        write("data file.py", "edited\n");
        write("train.py", "lr = 2\n");
        write("notes", "");
        let then = CodeState::of(dir.path()).await.unwrap();
        write("data file.py", "once more\n");
        let now = CodeState::of(dir.path()).await.unwrap();
        let told = then.for_people();
        assert!(told.contains("\nuntracked: notes\n"), "{told}");
        let named = |told: String| {
            let (commit, now) = (then.commit.clone(), now.clone());
            async move {
                let named = now.files_that_differ(&commit, &told).await;
                named.into_iter().collect::<Vec<_>>()
            }
        };
        assert_eq!(named(told.clone()).await, ["data file.py"]);
        let within_names = format!("{}{CUT}", &told[..told.len() - 3]);
        assert_eq!(named(within_names).await, ["data file.py"]);
        let second = told.find("diff --git a/train.py").unwrap();
        let within_second = format!("{}{CUT}", &told[..second + 120]);
        assert_eq!(named(within_second).await, ["data file.py"]);
        let within_first = format!("{}{CUT}", &told[..second - 10]);
        assert_eq!(named(within_first).await, Vec::<String>::new(), "nobody knows");
    }

    #[tokio::test]
    async fn git_is_not_listened_to_for_ever() {
        let dir = repository().await;
        std::fs::write(dir.path().join("train.py"), "0123456789abcde\n".repeat(600_000)).unwrap();
        assert_eq!(CodeState::of(dir.path()).await, None);
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
