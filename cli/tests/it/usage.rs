//! What the command says without any server.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use crate::program::call;

#[test]
fn a_wrong_command_line_is_2() {
    for args in [
        &["no-such-command"][..],
        &["run"],
        &["run", "true"],
        &["task", "list", "--state", "done"],
        &["task", "list", "-o", "xml"],
        &["task", "get"],
        &["run", "--delay", "soon", "--", "true"],
        &["run", "--delay", "1s", "--not-before", "2030-01-01T00:00:00Z", "--", "true"],
        &["run", "--label", "x", "--", "true"],
        &["task", "create", "--payload", "{}"],
        &["task", "create", "-t", "x", "--cwd", "/tmp"],
        &["task", "create", "-t", "x", "--payload-file", "/nonexistent/file"],
        &["task", "get", "last", "--broker", "ftp://somewhere"],
        &["task", "update", "train-1-0c5wzq8a7r2kd"],
        &["type", "set", "train"],
        &["shard", "drop", "train"],
        &["shard", "drop", "train-2", "--yes", "--dry-run"],
        &["dev", "--set", "lease.ttl_ms=5"],
        &["schedule", "next", "--every", "1m", "--time-zone", "Europe/Berlin"],
        &["schedule", "next", "--at", "2030-01-01T00:00:00Z", "--with-seconds"],
        &["schedule", "update", "sc-1", "--every", "1m", "--with-seconds"],
        &["schedule", "next", "--every", "1m", "-n", "0"],
        &["hold"],
        &["hold", "--for", "2h", "--gpus", "0"],
        &["hold", "--for", "0s"],
        &["hold", "--for", "2h", "--gpus", "1", "--gpu-memory", "1GiB"],
        &["hold", "--for", "2h", "--gpu-memory", "much"],
        &["gpu", "cordon"],
        &["gpu", "ignore", "anna:0"],
        &["gpu", "adopt", "anna:0", "python"],
        &["worker", "drain"],
        &["task", "hand-over", "last", "--context", "{\"offset\": 1"],
        &["task", "hand-over", "last", "--context", ""],
        &["explain"],
        &["usage", "--since", "long ago"],
        &["type", "set", "train", "--speculation", "2", "--speculation-percent", "0"],
        &["type", "set", "train", "--speculation", "2", "--speculation-sample", "0"],
    ] {
        let done = call(args).expect_code(2);
        assert!(!done.stderr.is_empty() && done.stdout.is_empty(), "{args:?}: {done:?}");
    }
}

#[test]
fn what_a_file_says_is_not_said_by_flags_too() {
    for verb in [&["create"][..], &["update", "sc-1"]] {
        for flag in [&["--time-zone", "Europe/Berlin"][..], &["--with-seconds"]] {
            let args = [&["schedule"], verb, &["-f", "/dev/null"], flag].concat();
            let done = call(&args).expect_code(2);
            assert!(done.stderr.contains("cannot be used with"), "{args:?}: {done:?}");
        }
    }
}

#[test]
fn a_server_that_is_away_is_5() {
    let whole = "train-1-0c5wzq8a7r2kd";
    for args in [
        &["task", "get", whole][..],
        &["task", "list"],
        &["run", "--", "true"],
        &["type", "list"],
        &["worker", "list"],
        &["worker", "show", "anna"],
        &["gpu", "list"],
        &["explain", whole],
        &["top"],
        &["usage"],
        &["hold", "--for", "1h"],
    ] {
        let address = ["--broker", "http://127.0.0.1:1", "--connect-retries", "0"];
        let split = args.iter().position(|arg| *arg == "--").unwrap_or(args.len());
        let args = [&args[..split], &address, &args[split..]].concat();
        let done = call(&args).expect_code(5);
        assert!(done.stderr.contains("http://127.0.0.1:1"), "{}", done.stderr);
        assert!(done.stderr.contains("asyncflow dev"), "{}", done.stderr);
    }
    for args in [&["governor", "status"][..], &["shard", "list"], &["shard", "drop", "train-2"]] {
        let args = [args, &["--governor", "http://127.0.0.1:1"]].concat();
        call(&args).expect_code(5);
    }
}

#[test]
fn help_names_every_command_and_the_exit_codes() {
    let help = call(&["--help"]).expect_code(0).stdout;
    for word in [
        "dev",
        "broker",
        "worker",
        "governor",
        "run",
        "task",
        "type",
        "shard",
        "gpu",
        "top",
        "hold",
        "explain",
        "config",
        "completions",
        "5 unreachable",
    ] {
        assert!(help.contains(word), "{word} is missing in {help}");
    }
    let help = call(&["run", "--help"]).expect_code(0).stdout;
    assert!(help.contains("Ctrl-C cancels the task"), "{help}");
    for program in ["broker", "worker", "governor"] {
        let help = call(&[program, "--help"]).expect_code(0).stdout;
        assert!(help.contains("--config") && help.contains("--set"), "{program}: {help}");
    }
}

#[test]
fn completions_know_the_verbs() {
    for shell in ["bash", "zsh", "fish"] {
        let script = call(&["completions", shell]).expect_code(0).stdout;
        assert!(script.contains("attempts") && script.contains("run-duty"), "{shell}");
    }
    call(&["completions", "cmd.exe"]).expect_code(2);
}
