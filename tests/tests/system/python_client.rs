//! From any language: a Python script with nothing but grpcio and stubs made from `proto/`.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use asyncflow_tests::{Backend, Cluster, Shape};

fn python() -> PathBuf {
    let venv = Path::new(env!("CARGO_MANIFEST_DIR")).join(".venv/bin/python");
    let python = std::env::var_os("ASYNCFLOW_TEST_PYTHON").map_or(venv, PathBuf::from);
    assert!(python.is_file(), "{} is missing: make setup", python.display());
    python
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn creates_gets_lists_watches_and_cancels() {
    let cluster = Cluster::start(Backend::Sqlite, Shape::default()).await;
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let stubs = cluster.scratch().join("stubs");
    std::fs::create_dir(&stubs).unwrap();
    let proto = root.join("../proto");
    let files = ["task", "workflow", "signal", "broker_service"]
        .map(|name| format!("asyncflow/v1/{name}.proto"));
    run(Command::new(python())
        .args(["-m", "grpc_tools.protoc", "-I"])
        .arg(&proto)
        .arg(format!("--python_out={}", stubs.display()))
        .arg(format!("--grpc_python_out={}", stubs.display()))
        .args(files));
    let printed = run(Command::new(python())
        .arg(root.join("tests/system/python_client.py"))
        .arg(cluster.broker_address(0))
        .env("PYTHONPATH", &stubs));
    assert!(printed.contains("python client: all well"), "{printed}");
}
