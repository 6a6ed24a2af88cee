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
