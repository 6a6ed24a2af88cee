use crate::harness::Running;
use asyncflow_proto::v1::ShouldStopRequest;
use asyncflow_service::http;
use std::net::SocketAddr;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

async fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn metrics_and_health_answer_over_http() {
    let running = Running::start(&[]).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = running.shutdown.stop().clone();
    let task = tokio::spawn(http::serve(listener, running.health.clone(), stop));

    assert!(get(address, "/healthz").await.starts_with("HTTP/1.1 200"));
    let ready = get(address, "/readyz").await;
    assert!(ready.starts_with("HTTP/1.1 503") && ready.contains("starting"), "{ready}");
    running.health.set_serving().await;
    assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 200"));

    running.client().await.should_stop(ShouldStopRequest {}).await.unwrap();
    let path = "/asyncflow.v1.AttemptService/ShouldStop";
    let line = format!("asyncflow_grpc_calls_total{{method=\"{path}\",code=\"Ok\"}}");
    let metrics = get(address, "/metrics").await;
    assert!(metrics.contains(&line), "{metrics}");
    assert!(metrics.contains("asyncflow_grpc_call_seconds_bucket"), "{metrics}");
    assert!(metrics.contains("asyncflow_uptime_seconds"), "{metrics}");

    running.shutdown.stop_now();
    task.await.unwrap().unwrap();
}
