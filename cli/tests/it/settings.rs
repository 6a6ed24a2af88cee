//! `config`: all errors at once, secrets masked.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use crate::program::{asyncflow, call};

const PROGRAMS: [&str; 3] = ["broker", "governor", "worker"];

#[test]
fn the_defaults_are_well_and_can_be_written_to_a_file() {
    let dir = tempfile::tempdir().unwrap();
    for program in PROGRAMS {
        let defaults = call(&["config", "defaults", "--program", program]).expect_code(0).stdout;
        assert!(defaults.contains("# ") && defaults.contains("[log]"), "{defaults}");
        let file = dir.path().join(format!("{program}.toml"));
        std::fs::write(&file, defaults).unwrap();
        let file = file.to_str().unwrap();
        let check = call(&["config", "check", "--program", program, "--config", file]);
        assert_eq!(check.expect_code(0).lines(), ["the settings are well"]);
    }
}

#[test]
fn everything_that_is_wrong_is_told_at_once_with_2() {
    for program in PROGRAMS {
        let args = ["config", "check", "--program", program, "--set", "log.format=xml"];
        let more = ["--set", "no_such_key=1", "--set", "log.filter=a=b=c"];
        let done = call(&[&args[..], &more].concat()).expect_code(2);
        for key in ["log.format: \"xml\"", "\"text\" or \"json\"", "no_such_key"] {
            assert!(done.stderr.contains(key), "{program}, {key}: {}", done.stderr);
        }
    }
    let done = call(&["config", "check", "--program", "broker", "--config", "/nonexistent.toml"]);
    assert!(done.expect_code(2).stderr.contains("/nonexistent.toml"));
}

#[test]
fn show_has_all_layers_and_no_secret() {
    let shown = asyncflow(&["config", "show", "--program", "broker", "--set", "log.format=json"])
        .env("ASYNCFLOW_BROKER__DATABASE__URL", "mysql://root:hunter2@db/asyncflow")
        .output()
        .unwrap();
    let text = String::from_utf8(shown.stdout).unwrap();
    assert_eq!(shown.status.code(), Some(0));
    assert!(text.contains("mysql://root:***@db/asyncflow"), "{text}");
    assert!(text.contains("format = \"json\"") && !text.contains("hunter2"), "{text}");
}

/// What is refused says what would do.
#[test]
fn a_value_that_is_refused_says_what_may_stand_there() {
    let cases = [
        ("gpu.provider=foo", "\"nvml\", \"nvidia-smi\", \"amd\", \"fake\" or \"none\""),
        ("gpu.visible_as=name", "\"index\" or \"uuid\""),
        ("gpu.cool_down_ms=-1", "it must not be negative"),
        ("host=ü", "characters of ASCII"),
    ];
    for (setting, told) in cases {
        let args = ["config", "check", "--program", "worker", "--set", setting];
        let done = call(&args).expect_code(2);
        let (key, _) = setting.split_once('=').unwrap();
        assert!(done.stderr.contains(key) && done.stderr.contains(told), "{}", done.stderr);
    }
    let fake = ["--set", "gpu.provider=fake", "--set", "gpu.fake_file=/nonexistent.json"];
    let args = ["config", "check", "--program", "worker"];
    let done = call(&[&args[..], &fake].concat()).expect_code(2);
    assert!(done.stderr.contains("gpu.fake_file: cannot be read"), "{}", done.stderr);
}
