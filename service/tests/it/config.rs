use asyncflow_service::config::{
    ConfigErrors, ListenConfig, LogConfig, LogFormat, MetricsConfig, Rules, Sources, Validate,
    load, show,
};
use serde::{Deserialize, Serialize};
use std::{fs, os::unix::fs::PermissionsExt, path::Path};

const DEFAULTS: &str = concat!(
    include_str!("../../src/config/sections.toml"),
    "[database]\nurl = \"sqlite::memory:\"\npassword = \"\"\npool_max = 8\n",
    "[lease]\nttl_ms = 30000\nheartbeat_ms = 10000\ntypes = []\n",
);

#[derive(Debug, Serialize, Deserialize)]
struct Sample {
    listen: ListenConfig,
    log: LogConfig,
    metrics: MetricsConfig,
    database: Database,
    lease: Lease,
}

#[derive(Debug, Serialize, Deserialize)]
struct Database {
    url: String,
    password: String,
    pool_max: u32,
}

#[derive(Debug, Serialize, Deserialize)]
struct Lease {
    ttl_ms: u64,
    heartbeat_ms: u64,
    types: Vec<String>,
}

impl Validate for Sample {
    fn validate(&self, rules: &mut Rules) {
        rules.section("listen", &self.listen);
        rules.section("log", &self.log);
        rules.section("metrics", &self.metrics);
        rules.section("lease", &self.lease);
    }
}

impl Validate for Lease {
    fn validate(&self, rules: &mut Rules) {
        let holds = self.ttl_ms > 2 * self.heartbeat_ms;
        rules.require(holds, "ttl_ms", "it must be more than twice heartbeat_ms");
    }
}

fn sources(env: &[(&str, &str)]) -> Sources {
    let env = env.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    Sources::new(DEFAULTS, "AF_SAMPLE").env(env)
}

fn errors(sources: &Sources) -> ConfigErrors {
    load::<Sample>(sources).unwrap_err()
}

fn write(dir: &Path, name: &str, text: &str, mode: u32) -> String {
    let path = dir.join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    path.display().to_string()
}

#[test]
fn flags_beat_environment_beats_file_beats_hints_beat_defaults() {
    let dir = tempfile::tempdir().unwrap();
    let file = write(dir.path(), "a.toml", "[database]\npool_max = 1\nurl = \"file\"\n", 0o644);
    let sources = sources(&[
        ("AF_SAMPLE__DATABASE__POOL_MAX", "2"),
        ("AF_SAMPLE__LEASE__HEARTBEAT_MS", "5"),
        ("AF_SAMPLE__LEASE__TYPES", r#"["a", "b"]"#),
        ("AF_SAMPLE__METRICS__ADDRESS", ""),
        ("AF_OTHER__DATABASE__URL", "not ours"),
    ])
    .hint("database.url", "another program", "hinted")
    .hint("lease.ttl_ms", "another program", "40000")
    .file(Some(file.into()))
    .flag("lease.heartbeat_ms", "6")
    .flag("log.format", "json");
    let sample: Sample = load(&sources).unwrap();
    assert_eq!(sample.database.url, "file");
    assert_eq!(sample.database.pool_max, 2);
    assert_eq!(sample.lease.heartbeat_ms, 6);
    assert_eq!(sample.lease.ttl_ms, 40_000);
    assert_eq!(sample.lease.types, ["a", "b"]);
    assert_eq!(sample.log.format, LogFormat::Json);
    assert_eq!(sample.metrics.address, None);
}

#[test]
fn everything_wrong_is_said_at_once_with_key_paths_and_origins() {
    let dir = tempfile::tempdir().unwrap();
    let text =
        "[database]\npool_max = \"lots\"\nulr = \"x\"\n[lease]\nttl_ms = 100\n[nonsense]\na = 1\n";
    let file = write(dir.path(), "a.toml", text, 0o644);
    let sources = sources(&[
        ("AF_SAMPLE__LISTEN__ADDRESS", "nowhere"),
        ("AF_SAMPLE__LOG__FORMAT", "xml"),
        ("AF_SAMPLE__LOG__FILTER", "a=b=c"),
        ("AF_SAMPLE__LISTEN__TLS__CERT_FLIE", "/x"),
        ("AF_SAMPLE__METRICS__ADDRESS", "0.0.0.0:1"),
    ])
    .file(Some(file.into()));
    let errors = errors(&sources);
    let keys: Vec<&str> = errors.violations().iter().map(|v| v.key.as_str()).collect();
    let expected = [
        "database.pool_max",
        "database.ulr",
        "lease.ttl_ms",
        "listen.address",
        "listen.tls.cert_flie",
        "log.filter",
        "log.format",
        "metrics.address",
        "nonsense",
    ];
    assert_eq!(keys, expected, "{errors}");
    let text = errors.to_string();
    assert!(text.contains("(from environment variable AF_SAMPLE__LISTEN__ADDRESS)"), "{text}");
    assert!(text.contains("a.toml)"), "{text}");
    assert!(text.contains("it must be \"text\" or \"json\""), "{text}");
}

#[test]
fn secrets_are_shown_neither_by_errors_nor_by_show() {
    let sources = sources(&[
        ("AF_SAMPLE__DATABASE__URL", "mysql://af:hunter2@db/af?token=hunter2"),
        ("AF_SAMPLE__DATABASE__PASSWORD", "hunter2"),
    ]);
    let shown = show(&load::<Sample>(&sources).unwrap()).unwrap();
    assert!(shown.contains("mysql://af:***@db/af?token=***"), "{shown}");
    assert!(shown.contains("password = \"***\""), "{shown}");
    assert!(shown.contains("tokens_file = \"\""), "{shown}");
    assert!(!shown.contains("hunter2"), "{shown}");

    let wrong = sources
        .flag("database.password", r#"["hunter2"]"#)
        .flag("database.pool_max", "redis://:hunter2@x");
    let text = errors(&wrong).to_string();
    assert!(text.contains("database.password") && text.contains("database.pool_max"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");

    let dir = tempfile::tempdir().unwrap();
    let file = write(dir.path(), "bad.toml", "a = 1\npassword = hunter2\n", 0o644);
    let text = errors(&self::sources(&[]).file(Some(file.into()))).to_string();
    assert!(text.contains("bad.toml, line 2"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
}

#[test]
fn what_show_prints_loads_again() {
    let dir = tempfile::tempdir().unwrap();
    let shown = show(&load::<Sample>(&sources(&[])).unwrap()).unwrap();
    let file = write(dir.path(), "shown.toml", &shown, 0o644);
    load::<Sample>(&sources(&[]).file(Some(file.into()))).unwrap();
}

#[test]
fn a_missing_file_and_a_missing_key_are_named() {
    let text = errors(&sources(&[]).file(Some("/nowhere/a.toml".into()))).to_string();
    assert!(text.contains("cannot read /nowhere/a.toml"), "{text}");

    #[derive(Debug, Deserialize)]
    struct NeedsMore {
        #[serde(rename = "absent")]
        _absent: u32,
    }
    impl Validate for NeedsMore {
        fn validate(&self, _: &mut Rules) {}
    }
    let errors = load::<NeedsMore>(&Sources::new("", "AF_SAMPLE").env([])).unwrap_err();
    assert_eq!(errors.violations()[0].key, "absent");
}

#[test]
fn leaving_loopback_needs_a_certificate_and_tokens_in_a_private_file() {
    let dir = tempfile::tempdir().unwrap();
    let token = "ana:client:0123456789abcdefghij\n";
    let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let cert = write(dir.path(), "cert.pem", &certified.cert.pem(), 0o644);
    let key = write(dir.path(), "key.pem", &certified.signing_key.serialize_pem(), 0o600);
    let open_key = write(dir.path(), "open.pem", &certified.signing_key.serialize_pem(), 0o644);
    let tokens = write(dir.path(), "tokens", token, 0o600);
    let open_tokens = write(dir.path(), "open", token, 0o644);
    let keys = |flags: &[(&str, &str)]| -> Vec<String> {
        let sources = sources(&[]).flag("listen.address", "0.0.0.0:7400");
        let sources = flags.iter().fold(sources, |sources, (key, value)| sources.flag(key, *value));
        match load::<Sample>(&sources) {
            Ok(_) => Vec::new(),
            Err(errors) => errors.violations().iter().map(|v| v.key.clone()).collect(),
        }
    };
    let (cert_at, key_at) = ("listen.tls.cert_file", "listen.tls.key_file");
    let tokens_at = "listen.auth.tokens_file";

    assert_eq!(keys(&[]), ["listen.address"]);
    assert_eq!(keys(&[(tokens_at, &tokens)]), ["listen.address"]);
    assert_eq!(keys(&[(cert_at, &cert), (key_at, &key)]), ["listen.address"]);
    assert_eq!(keys(&[(cert_at, &cert), (tokens_at, &tokens)]), [key_at]);
    let all = |key, tokens| keys(&[(cert_at, &cert), (key_at, key), (tokens_at, tokens)]);
    assert_eq!(all(&key, &open_tokens), [tokens_at]);
    assert_eq!(all(&open_key, &tokens), [key_at]);
    assert_eq!(all(&cert, &tokens), [key_at], "a certificate is world-readable, no key");
    assert!(all(&key, &tokens).is_empty());
}
