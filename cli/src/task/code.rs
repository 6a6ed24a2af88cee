//! What a task's code was when the task was made.

use asyncflow_proto::v1::{CodeSnapshot, Command};
use asyncflow_sdk::code::CUT;
use std::path::Path;

/// What of a diff is recorded: the whole command has to fit into a task's payload of 64 KiB.
const DIFF_BYTES_MAX: usize = 32 * 1024;
/// What a command may weigh with it, encoded.
const COMMAND_BYTES_MAX: usize = 60 * 1024;

/// What git says of the directory; `None` where there is no repository, or no git.
pub async fn of(directory: &Path) -> Option<CodeSnapshot> {
    let state = asyncflow_sdk::code::CodeState::of(directory).await?;
    Some(CodeSnapshot {
        directory: state.root.to_str()?.to_owned(),
        diff_sha256: state.diff_sha256(),
        diff: state.for_people(),
        commit: state.commit,
    })
}

/// Cuts the diff until the command fits.
pub fn fit(command: &mut Command) {
    let words = command.args.iter().chain(command.environment.values());
    let others: usize = words.map(|word| encoded(word)).sum();
    let Some(code) = &mut command.code else { return };
    let mut most = DIFF_BYTES_MAX;
    while code.diff.len() > most || encoded(&code.diff) + others > COMMAND_BYTES_MAX {
        if code.diff.is_empty() {
            return;
        }
        let whole = code.diff.strip_suffix(CUT).unwrap_or(&code.diff);
        let end = whole.floor_char_boundary(most.min(whole.len() * 3 / 4));
        code.diff = if end == 0 { String::new() } else { format!("{}{CUT}", &whole[..end]) };
        most = DIFF_BYTES_MAX + CUT.len();
    }
}

fn encoded(text: &str) -> usize {
    serde_json::to_string(text).map_or(text.len(), |text| text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_diff_is_cut_until_the_command_fits() {
        for (line, args) in [("x\n", 0), ("\u{1}\n", 0), ("é\n", 0), ("x\n", 61_500)] {
            let code = CodeSnapshot { diff: line.repeat(50_000), ..CodeSnapshot::default() };
            let mut command =
                Command { args: vec!["a".repeat(args)], code: Some(code), ..Command::default() };
            fit(&mut command);
            let diff = command.code.unwrap_or_default().diff;
            assert!(diff.len() <= DIFF_BYTES_MAX + CUT.len(), "{}", diff.len());
            assert!(diff.is_empty() || diff.ends_with(CUT));
            assert_eq!(diff.is_empty(), args > 61_000, "{line:?} {args}");
            assert!(diff.is_empty() || encoded(&diff) + args <= COMMAND_BYTES_MAX);
        }
    }

    #[test]
    fn a_short_diff_stays_whole() {
        let code = CodeSnapshot { diff: "+a\n".to_owned(), ..CodeSnapshot::default() };
        let mut command = Command { code: Some(code.clone()), ..Command::default() };
        fit(&mut command);
        assert_eq!(command.code, Some(code));
    }
}
