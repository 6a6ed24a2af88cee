//! The committed Rust equals what the .proto files say. `UPDATE_GENERATED=1` rewrites it. There is
//! no protoc: protox compiles the files.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::{fs, path::Path};

const PROTOS: [&str; 12] = [
    "asyncflow/v1/task.proto",
    "asyncflow/v1/host.proto",
    "asyncflow/v1/host_service.proto",
    "asyncflow/v1/workflow.proto",
    "asyncflow/v1/signal.proto",
    "asyncflow/v1/schedule.proto",
    "asyncflow/v1/schedule_service.proto",
    "asyncflow/v1/broker_service.proto",
    "asyncflow/v1/operation_service.proto",
    "asyncflow/v1/worker_service.proto",
    "asyncflow/v1/attempt_service.proto",
    "asyncflow/v1/governor_service.proto",
];

#[test]
fn generated_code_is_fresh() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let out = tempfile::tempdir().unwrap();
    let mut compiler = protox::Compiler::new([root]).unwrap();
    compiler.include_imports(true).include_source_info(true).open_files(PROTOS).unwrap();
    // Only the encoded set keeps the `google.api.http` of each method.
    fs::write(out.path().join("descriptors.binpb"), compiler.encode_file_descriptor_set()).unwrap();
    tonic_prost_build::configure()
        .out_dir(out.path())
        .bytes(".asyncflow.v1.Content.data")
        .bytes(".asyncflow.v1.LogChunk.data")
        .bytes(".asyncflow.v1.StreamTaskLogsResponse.data")
        .btree_map(".asyncflow.v1")
        .compile_fds(compiler.file_descriptor_set())
        .unwrap();

    let committed = root.join("src/generated");
    let update = std::env::var_os("UPDATE_GENERATED").is_some();
    for file in ["asyncflow.v1.rs", "descriptors.binpb"] {
        let fresh = fs::read(out.path().join(file)).unwrap();
        if update {
            fs::write(committed.join(file), &fresh).unwrap();
        }
        let old = fs::read(committed.join(file)).unwrap_or_default();
        let hint = "run: UPDATE_GENERATED=1 cargo test -p asyncflow-proto";
        assert!(old == fresh, "{file} is not what the .proto files say; {hint}");
    }
}
