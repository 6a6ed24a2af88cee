//! `deploy/` is made of files that nothing compiles, so they are tried here.

use crate::harness::Running;
use asyncflow_proto::v1::{ShouldStopRequest, attempt_service_client::AttemptServiceClient};
use std::{fs, path::Path, process::Command};
use tonic::{
    Request,
    transport::{Certificate, Channel, ClientTlsConfig},
};

const DEPLOY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy");

#[tokio::test]
async fn a_server_leaves_loopback_with_what_make_secrets_makes() {
    asyncflow_service::server::tls::install_crypto_provider();
    let dir = tempfile::tempdir().unwrap();
    let make = || {
        let script = Path::new(DEPLOY).join("make-secrets.sh");
        let done = Command::new(script).arg(dir.path()).args(["broker-1", "10.0.0.1"]).status();
        assert!(done.unwrap().success(), "make-secrets.sh failed; it needs openssl");
        fs::read_to_string(dir.path().join("worker.token")).unwrap()
    };
    let token = make();
    assert_eq!(token, make(), "a second run keeps what is there");

    let at = |name: &str| dir.path().join(name).display().to_string();
    let running = Running::start(&[
        ("listen.address", "0.0.0.0:0"),
        ("listen.tls.cert_file", &at("server.pem")),
        ("listen.tls.key_file", &at("server.key")),
        ("listen.auth.tokens_file", &at("tokens")),
    ])
    .await;
    let ca = Certificate::from_pem(fs::read_to_string(at("ca.pem")).unwrap());
    let tls = ClientTlsConfig::new().ca_certificate(ca).domain_name("broker-1");
    let url = format!("https://127.0.0.1:{}", running.address.port());
    let endpoint = Channel::from_shared(url).unwrap().tls_config(tls).unwrap();
    let mut client = AttemptServiceClient::new(endpoint.connect().await.unwrap());
    let mut request = Request::new(ShouldStopRequest {});
    let bearer = format!("Bearer {}", token.trim());
    request.metadata_mut().insert("authorization", bearer.parse().unwrap());
    let reason = client.should_stop(request).await.unwrap().into_inner().reason;
    assert!(reason.starts_with("worker Worker "), "{reason}");
}

/// The programs that have defaults, with them.
fn defaults() -> Vec<(String, toml::Table)> {
    let root = Path::new(DEPLOY).parent().unwrap();
    let folders = fs::read_dir(root).unwrap().map(|entry| entry.unwrap());
    folders
        .filter_map(|folder| {
            let text = fs::read_to_string(folder.path().join("config.default.toml")).ok()?;
            Some((folder.file_name().into_string().unwrap(), toml::from_str(&text).unwrap()))
        })
        .collect()
}

#[test]
fn each_sample_configuration_is_the_defaults_of_its_program() {
    for (program, defaults) in defaults() {
        let sample = Path::new(DEPLOY).join(format!("config/{program}.toml"));
        let text = fs::read_to_string(&sample)
            .unwrap_or_else(|error| panic!("{}: {error}", sample.display()));
        assert_eq!(toml::from_str::<toml::Table>(&text).unwrap(), defaults, "{program}");
    }
}

#[test]
fn compose_sets_only_keys_that_exist() {
    let compose = fs::read_to_string(Path::new(DEPLOY).join("compose.yaml")).unwrap();
    let defaults = defaults();
    let mut seen = 0;
    for line in compose.lines() {
        let Some(variable) = line.trim().strip_prefix("ASYNCFLOW_") else { continue };
        seen += 1;
        let name = variable.split(':').next().unwrap().to_lowercase();
        let mut path = name.split("__");
        let program = path.next().unwrap();
        let Some((_, table)) = defaults.iter().find(|(name, _)| name == program) else { continue };
        let table = toml::Value::Table(table.clone());
        let found = path.try_fold(&table, |value, part| value.get(part));
        assert!(found.is_some(), "{program} has no key of {variable}");
    }
    assert!(seen >= 8, "the settings of compose.yaml are not where this test looks");
}
