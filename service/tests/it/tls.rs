use crate::harness::Running;
use asyncflow_proto::v1::{ShouldStopRequest, attempt_service_client::AttemptServiceClient};
use asyncflow_service::server::tls::install_crypto_provider;
use rustls::pki_types::{CertificateDer, pem::PemObject};
use std::{fs, os::unix::fs::PermissionsExt, sync::Arc};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tonic::{
    Code, Request,
    transport::{Certificate, Channel, ClientTlsConfig},
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

const TOKEN: &str = "gpu-07-token-0123456789";

fn with_token(token: &str) -> Request<ShouldStopRequest> {
    let mut request = Request::new(ShouldStopRequest {});
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    request
}

#[tokio::test]
async fn with_tls_and_a_token_a_call_gets_through_and_without_either_it_does_not() {
    install_crypto_provider();
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path.display().to_string()
    };
    let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let cert = certified.cert.pem();
    let running = Running::start(&[
        ("listen.address", "0.0.0.0:0"),
        ("listen.tls.cert_file", &write("cert.pem", &cert)),
        ("listen.tls.key_file", &write("key.pem", &certified.signing_key.serialize_pem())),
        ("listen.auth.tokens_file", &write("tokens", &format!("gpu-07:worker:{TOKEN}\n"))),
    ])
    .await;
    let port = running.address.port();
    let trust = |pem: &str| {
        let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem));
        let url = format!("https://127.0.0.1:{port}");
        Channel::from_shared(url).unwrap().tls_config(tls.domain_name("localhost")).unwrap()
    };
    let channel = trust(&cert).connect().await.unwrap();

    let mut client = AttemptServiceClient::new(channel.clone());
    let answer = client.should_stop(with_token(TOKEN)).await.unwrap().into_inner();
    assert!(answer.reason.starts_with("gpu-07 Worker "), "{}", answer.reason);
    let wrong = client.should_stop(with_token("wrong")).await.unwrap_err();
    let none = client.should_stop(ShouldStopRequest {}).await.unwrap_err();
    assert_eq!((wrong.code(), wrong.message()), (none.code(), none.message()));
    assert_eq!(wrong.code(), Code::Unauthenticated);
    HealthClient::new(channel).check(HealthCheckRequest::default()).await.unwrap();

    let text = https_1(port, &cert, "/v1/attempt:shouldStop").await;
    assert!(text.starts_with("HTTP/1.1 200 ") && text.contains("gpu-07 Worker "), "{text}");

    let other = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    assert!(trust(&other.cert.pem()).connect().await.is_err(), "a foreign certificate was trusted");
    let plain = Channel::from_shared(format!("http://127.0.0.1:{port}")).unwrap().connect_lazy();
    assert!(AttemptServiceClient::new(plain).should_stop(with_token(TOKEN)).await.is_err());
}

/// A call by HTTP/1.1, of a client that knows nothing else and says so in its handshake.
async fn https_1(port: u16, pem: &str, path: &str) -> String {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
    let mut config =
        rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let mut stream = connector.connect("localhost".try_into().unwrap(), stream).await.unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
         authorization: Bearer {TOKEN}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}
