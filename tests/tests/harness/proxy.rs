//! The proxy in front of a server that sends everything back.

use std::{io::ErrorKind, net::Ipv4Addr, time::Duration};

use asyncflow_tests::{
    Stopwatch,
    proxy::{CutAfter, Direction, Flow, Proxy},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

/// Long enough for bytes that are on their way to arrive.
const MOMENT: Duration = Duration::from_millis(100);

/// A server that sends everything back, and tells what it has got, piece by piece.
struct Echo {
    address: String,
    got: mpsc::UnboundedReceiver<Vec<u8>>,
}

impl Echo {
    async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (tell, got) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(echo(stream, tell.clone()));
            }
        });
        Self { address, got }
    }

    async fn gets(&mut self, bytes: &[u8]) {
        let mut got = Vec::new();
        while got.len() < bytes.len() {
            got.extend(self.got.recv().await.unwrap());
        }
        assert_eq!(String::from_utf8_lossy(&got), String::from_utf8_lossy(bytes));
    }
}

async fn echo(mut stream: TcpStream, tell: mpsc::UnboundedSender<Vec<u8>>) {
    let mut piece = vec![0; 1024];
    while let Ok(read @ 1..) = stream.read(&mut piece).await {
        let _ = tell.send(piece[..read].to_vec());
        if stream.write_all(&piece[..read]).await.is_err() {
            return;
        }
    }
}

async fn both() -> (Echo, Proxy, TcpStream) {
    let echo = Echo::start().await;
    let proxy = Proxy::start(&echo.address);
    let mut client = TcpStream::connect(proxy.address()).await.unwrap();
    says(&mut client, b"hello").await;
    (echo, proxy, client)
}

async fn says(client: &mut TcpStream, bytes: &[u8]) {
    client.write_all(bytes).await.unwrap();
    hears(client, bytes).await;
}

async fn hears(client: &mut TcpStream, bytes: &[u8]) {
    let mut heard = vec![0; bytes.len()];
    client.read_exact(&mut heard).await.unwrap();
    assert_eq!(heard, bytes);
}

async fn hears_nothing(client: &mut TcpStream) {
    let heard = tokio::time::timeout(MOMENT, client.read_u8()).await;
    assert!(heard.is_err(), "{heard:?}");
}

async fn is_reset(client: &mut TcpStream) {
    let ended = client.read_u8().await;
    assert_eq!(ended.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn it_forwards_and_passes_an_end_on() {
    let (_echo, _proxy, mut client) = both().await;
    says(&mut client, b"again").await;
    client.shutdown().await.unwrap();
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0, "the echo ended, too");
}

#[tokio::test]
async fn what_is_delayed_comes_later() {
    let (_echo, proxy, mut client) = both().await;
    proxy.set(Direction::Down, Flow::Delay(MOMENT));
    let waited = Stopwatch::start();
    says(&mut client, b"late").await;
    assert!(waited.elapsed() >= MOMENT);
}

#[tokio::test]
async fn what_is_held_goes_on_when_it_heals() {
    let (mut echo, proxy, mut client) = both().await;
    echo.gets(b"hello").await;
    proxy.set_both(Flow::Hold);
    client.write_all(b"held").await.unwrap();
    hears_nothing(&mut client).await;
    assert!(echo.got.try_recv().is_err());
    proxy.heal();
    hears(&mut client, b"held").await;
}

#[tokio::test]
async fn one_way_can_be_lost_and_the_connection_does_not_survive_it() {
    let (mut echo, proxy, mut client) = both().await;
    echo.gets(b"hello").await;
    proxy.set(Direction::Down, Flow::Swallow);
    client.write_all(b"lost").await.unwrap();
    echo.gets(b"lost").await;
    hears_nothing(&mut client).await;
    proxy.heal();
    is_reset(&mut client).await;
}

#[tokio::test]
async fn a_black_hole_takes_everything_and_needs_no_target() {
    let proxy = Proxy::start("127.0.0.1:1");
    proxy.blackhole();
    let mut client = TcpStream::connect(proxy.address()).await.unwrap();
    client.write_all(b"anybody?").await.unwrap();
    hears_nothing(&mut client).await;
    proxy.heal();
    is_reset(&mut client).await;
}

#[tokio::test]
async fn who_comes_while_there_is_no_target_is_reset() {
    let proxy = Proxy::start("127.0.0.1:1");
    // It may be told so before it notes that it is connected.
    let ended = match TcpStream::connect(proxy.address()).await {
        Ok(mut client) => client.read_u8().await,
        Err(error) => Err(error),
    };
    assert_eq!(ended.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_reset_ends_what_is_open_and_not_what_comes() {
    let (_echo, proxy, mut client) = both().await;
    proxy.reset();
    is_reset(&mut client).await;
    let mut client = TcpStream::connect(proxy.address()).await.unwrap();
    says(&mut client, b"back").await;
}

#[tokio::test]
async fn it_cuts_after_so_many_bytes() {
    let (mut echo, proxy, mut client) = both().await;
    echo.gets(b"hello").await;
    proxy.cut_after(Direction::Up, CutAfter::Bytes(4));
    client.write_all(b"0123456789").await.unwrap();
    proxy.until_cut(1).await;
    echo.gets(b"0123").await;
    let ended = client.read_to_end(&mut Vec::new()).await;
    assert_eq!(ended.unwrap_err().kind(), ErrorKind::ConnectionReset);
    let mut client = TcpStream::connect(proxy.address()).await.unwrap();
    says(&mut client, b"once only").await;
}

#[tokio::test]
async fn it_cuts_after_a_pattern() {
    let (mut echo, proxy, mut client) = both().await;
    echo.gets(b"hello").await;
    proxy.cut_after(Direction::Up, CutAfter::Pattern(b"COMMIT;".to_vec()));
    client.write_all(b"INSERT; COM").await.unwrap();
    echo.gets(b"INSERT; COM").await;
    client.write_all(b"MIT; more").await.unwrap();
    proxy.until_cut(1).await;
    echo.gets(b"MIT;").await;
    let ended = client.read_to_end(&mut Vec::new()).await;
    assert_eq!(ended.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn it_loses_one_answer() {
    let (mut echo, proxy, mut client) = both().await;
    let mut other = TcpStream::connect(proxy.address()).await.unwrap();
    echo.gets(b"hello").await;
    proxy.lose_answer(&[b"INSERT;", b"COMMIT;"]);
    says(&mut other, b"COMMIT; INSERT;").await;
    says(&mut client, b"COMMIT; INS").await;
    says(&mut client, b"ERT; COM").await;
    client.write_all(b"MIT; more").await.unwrap();
    proxy.until_cut(1).await;
    echo.gets(b"COMMIT; INSERT;COMMIT; INSERT; COMMIT; more").await;
    is_reset(&mut client).await;
    says(&mut other, b"COMMIT;").await;
}

#[tokio::test]
async fn a_drip_brings_every_byte_after_the_other() {
    let (_echo, proxy, mut client) = both().await;
    let apart = Duration::from_millis(10);
    proxy.set(Direction::Up, Flow::Drip(apart));
    let waited = Stopwatch::start();
    says(&mut client, b"slow").await;
    assert!(waited.elapsed() >= apart * 4);
}

#[tokio::test]
async fn nothing_outlives_it() {
    let (_echo, proxy, mut client) = both().await;
    let address = proxy.address();
    drop(proxy);
    assert!(matches!(client.read(&mut [0]).await, Ok(0) | Err(_)));
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens");
}
