//! Away from loopback: TLS and tokens from end to end, with a worker, a governor and the command
//! line. Each kind of token opens its own service only, and no log holds one.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use asyncflow_proto::v1::{RegisterWorkerRequest, worker_service_client::WorkerServiceClient};
use asyncflow_sdk::{ChannelOptions, Client, ClientOptions};
use asyncflow_store::testing::free_port;
use asyncflow_tests::{Backend, Database, Program, asyncflow, command, until};
use tonic::Code;

const CLIENT_TOKEN: &str = "client-token-0123456789";
const WORKER_TOKEN: &str = "worker-token-0123456789";
const ADMIN_TOKEN: &str = "admin-token-0123456789";
const TOKENS: [&str; 3] = [CLIENT_TOKEN, WORKER_TOKEN, ADMIN_TOKEN];

/// Certificate, key and tokens in files.
struct Secrets(tempfile::TempDir);

impl Secrets {
    fn make() -> Self {
        let secrets = Self(tempfile::tempdir().unwrap());
        let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
        let certified = rcgen::generate_simple_self_signed(names).unwrap();
        secrets.write("cert.pem", &certified.cert.pem());
        secrets.write("key.pem", &certified.signing_key.serialize_pem());
        let [client, worker, admin] = TOKENS;
        let tokens = format!("ann:client:{client}\ngpu:worker:{worker}\nroot:admin:{admin}\n");
        secrets.write("tokens", &tokens);
        secrets.write("worker.token", worker);
        secrets.write("client.token", client);
        secrets.write("admin.token", admin);
        secrets
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// `asyncflow <subcommand>` with these settings; logs more than anybody would.
    fn start(&self, subcommand: &str, settings: &[(&str, String)]) -> Program {
        let prefix = format!("ASYNCFLOW_{}__", subcommand.to_uppercase());
        let common = [("LOG__FILTER", "trace".to_owned()), ("METRICS__ADDRESS", String::new())];
        let settings = settings.iter().chain(&common);
        let variables = settings.map(|(key, value)| (format!("{prefix}{key}"), value.clone()));
        Program::start(&asyncflow(), subcommand, variables.collect(), self.path(subcommand))
    }

    fn serve(&self, subcommand: &str, port: u16, database: &Database) -> Program {
        let settings = [
            ("LISTEN__ADDRESS", format!("0.0.0.0:{port}")),
            ("LISTEN__TLS__CERT_FILE", self.text("cert.pem")),
            ("LISTEN__TLS__KEY_FILE", self.text("key.pem")),
            ("LISTEN__AUTH__TOKENS_FILE", self.text("tokens")),
            ("DATABASE__URL", database.url().to_owned()),
        ];
        self.start(subcommand, &settings)
    }

    fn channel(&self, port: u16, token: Option<&str>) -> ChannelOptions {
        let mut options = ChannelOptions::new(format!("https://127.0.0.1:{port}"));
        options.token = token.map(str::to_owned);
        options.ca_file = Some(self.path("cert.pem"));
        options
    }

    fn client(&self, port: u16, token: Option<&str>) -> Client {
        let ChannelOptions { address, token, ca_file, .. } = self.channel(port, token);
        let options = ClientOptions { address, token, ca_file, ..ClientOptions::default() };
        Client::connect(ClientOptions { retries_max: 0, ..options }).unwrap()
    }

    async fn until_open(&self, port: u16) {
        let client = self.client(port, Some(CLIENT_TOKEN));
        until("the broker answers", || async { client.workers().await.ok() }).await;
    }

    /// `asyncflow <words>` with the token of this file, towards a server at this port.
    fn cli(&self, port: u16, token_file: &str, words: &[&str]) -> Output {
        Command::new(asyncflow())
            .args(words)
            .env("ASYNCFLOW_BROKER", format!("https://127.0.0.1:{port}"))
            .env("ASYNCFLOW_GOVERNOR", format!("https://127.0.0.1:{port}"))
            .env("ASYNCFLOW_TOKEN_FILE", self.path(token_file))
            .env("ASYNCFLOW_CA_FILE", self.path("cert.pem"))
            .output()
            .unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_works_and_nobody_beyond_their_token() {
    let (secrets, database) = (Secrets::make(), Database::fresh(Backend::Sqlite).await);
    let (port, governor_port) = (free_port(), free_port());
    let broker = secrets.serve("broker", port, &database);
    secrets.until_open(port).await;
    let governor = secrets.serve("governor", governor_port, &database);
    let worker_settings = [
        ("BROKER__ADDRESSES", format!("[\"https://127.0.0.1:{port}\"]")),
        ("BROKER__TOKEN_FILE", secrets.text("worker.token")),
        ("BROKER__CA_FILE", secrets.text("cert.pem")),
        ("DATA_DIR", secrets.text("data")),
    ];
    let worker = secrets.start("worker", &worker_settings);

    let create_type = |token_file| secrets.cli(port, token_file, &["type", "create", "command"]);
    let refused = create_type("client.token");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("PERMISSION_DENIED"), "{refused:?}");
    assert!(create_type("admin.token").status.success());
    let ran = secrets.cli(port, "client.token", &["run", "--", "echo", "over TLS"]);
    let output = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(ran.status.success() && output.contains("over TLS"), "{ran:?}");
    until("the governor answers", || async {
        let status = secrets.cli(governor_port, "admin.token", &["governor", "status"]).status;
        status.success().then_some(())
    })
    .await;

    let call = |token: Option<&'static str>| {
        let client = secrets.client(port, token);
        async move { client.create(command(["true"])).await.map_err(|error| error.code()) }
    };
    assert_eq!(call(None).await.unwrap_err(), Code::Unauthenticated);
    assert_eq!(call(Some("wrong-token-0123456789")).await.unwrap_err(), Code::Unauthenticated);
    assert_eq!(call(Some(WORKER_TOKEN)).await.unwrap_err(), Code::PermissionDenied);
    let created = call(Some(CLIENT_TOKEN)).await.unwrap();
    assert_eq!(created.user, "ann", "the user is who the token says");

    let register = |token| {
        let channel = secrets.channel(port, token).open().unwrap();
        async move {
            let request = RegisterWorkerRequest::default();
            WorkerServiceClient::new(channel).register_worker(request).await.unwrap_err().code()
        }
    };
    assert_eq!(register(Some(CLIENT_TOKEN)).await, Code::PermissionDenied);
    assert_eq!(register(None).await, Code::Unauthenticated);
    // Known, and then told what is wrong with the request.
    assert_eq!(register(Some(WORKER_TOKEN)).await, Code::InvalidArgument);
    assert_eq!(register(Some(ADMIN_TOKEN)).await, Code::PermissionDenied);

    for program in [broker, governor, worker] {
        let log = program.process().log();
        assert!(log.len() > 100, "it logs");
        for token in TOKENS {
            assert!(!log.contains(token), "a token is in the log of {}", program.log_tail());
        }
    }
}

/// `asyncflow <subcommand>` with settings that it refuses.
fn refused(subcommand: &str, settings: &[String], dir: &Path) -> String {
    let words = settings.iter().flat_map(|setting| ["--set", setting]);
    let output =
        Command::new(asyncflow()).arg(subcommand).args(words).current_dir(dir).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{subcommand}: {output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn an_open_door_is_refused_with_all_that_is_wrong() {
    let secrets = Secrets::make();
    fs::set_permissions(secrets.path("tokens"), fs::Permissions::from_mode(0o644)).unwrap();
    let settings = [
        "listen.address=0.0.0.0:0".to_owned(),
        format!("listen.auth.tokens_file={}", secrets.text("tokens")),
        "database.url=oracle://ann:hunter2-hunter2@db/x".to_owned(),
        "listen.colour=blue".to_owned(),
        "log.filter=!!=".to_owned(),
    ];
    for subcommand in ["broker", "governor"] {
        let told = refused(subcommand, &settings, secrets.0.path());
        for key in ["listen.address", "tokens_file", "database.url", "listen.colour", "log.filter"]
        {
            assert!(told.contains(key), "{subcommand} did not name {key}: {told}");
        }
        assert!(!told.contains("hunter2") && !told.contains(CLIENT_TOKEN), "{told}");
    }
    fs::set_permissions(secrets.path("worker.token"), fs::Permissions::from_mode(0o644)).unwrap();
    let settings = [
        "slots=-1".to_owned(),
        "worker_id=a b".to_owned(),
        "broker.addresses=[\"https://127.0.0.1:1\"]".to_owned(),
        format!("broker.token_file={}", secrets.text("worker.token")),
    ];
    let told = refused("worker", &settings, secrets.0.path());
    for key in ["slots", "worker_id", "ca_file", "token_file"] {
        assert!(told.contains(key), "the worker did not name {key}: {told}");
    }
    assert!(!told.contains(WORKER_TOKEN), "{told}");
}
