//! Opens the place where archives are: a directory or an S3-compatible store.

use crate::{error::ArchiveError, shard::ShardName};
use object_store::{
    ClientConfigKey, ObjectStore, RetryConfig,
    aws::{AmazonS3Builder, AmazonS3ConfigKey},
    local::LocalFileSystem,
    path::Path,
};
use std::{fmt, path::PathBuf, sync::Arc, time::Duration};
use url::Url;

pub(crate) const MANIFEST: &str = "manifest.json";
/// How often and how long a call to S3 is repeated.
const RETRIES_MAX: usize = 5;
const RETRY_TIME_MAX: Duration = Duration::from_secs(60);
/// A part is at most some 32 MiB.
const CALL_TIME_MAX: &str = "300s";

/// Where archives are and how they are reached. An empty text means unset.
#[derive(Clone, Default)]
pub struct Options {
    /// `file:///directory` or `s3://bucket/prefix`.
    pub url: String,
    /// Of an S3-compatible store, e.g. `https://minio:9000`; unset: AWS, or `AWS_ENDPOINT_URL`.
    pub endpoint: String,
    /// Unset: `AWS_REGION`, or `us-east-1`.
    pub region: String,
    /// Unset: `AWS_ACCESS_KEY_ID`, or what AWS gives to the machine.
    pub access_key_id: String,
    /// Unset: `AWS_SECRET_ACCESS_KEY`.
    pub secret_access_key: String,
    /// Allow an endpoint without TLS (`AWS_ALLOW_HTTP` does, too).
    pub allow_http: bool,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").field("url", &self.url).finish_non_exhaustive()
    }
}

/// Where archives are, opened; clones are cheap.
#[derive(Clone, Debug)]
pub struct Archive {
    pub(crate) store: Arc<dyn ObjectStore>,
    prefix: Path,
    url: String,
}

impl Archive {
    /// Checks the address without touching what is there.
    ///
    /// # Errors
    /// [`ArchiveError::Options`].
    pub fn check(options: &Options) -> Result<(), ArchiveError> {
        address(&options.url).map(|_| ())
    }

    /// Opens archives for reading. Nothing is asked of an S3 store yet.
    ///
    /// # Errors
    /// [`ArchiveError::Options`]: no such address, a directory that is not there.
    pub fn open(options: &Options) -> Result<Self, ArchiveError> {
        match address(&options.url)? {
            Address::Directory(path) => Self::directory(&options.url, &path),
            Address::Bucket { bucket, prefix } => Self::s3(options, &bucket, prefix),
        }
    }

    /// Opens archives for writing: a directory is made if it is not there.
    ///
    /// # Errors
    /// [`ArchiveError::Options`].
    pub fn create(options: &Options) -> Result<Self, ArchiveError> {
        if let Address::Directory(path) = address(&options.url)? {
            std::fs::create_dir_all(&path).map_err(|error| {
                ArchiveError::Options(format!("directory {} cannot be made: {error}", options.url))
            })?;
        }
        Self::open(options)
    }

    fn directory(url: &str, path: &std::path::Path) -> Result<Self, ArchiveError> {
        let unusable = |error: String| {
            ArchiveError::Options(format!("directory {url} cannot be used: {error}"))
        };
        let kind = std::fs::metadata(path).map_err(|error| unusable(error.to_string()))?;
        if !kind.is_dir() {
            return Err(unusable("it is a file".to_owned()));
        }
        let store = LocalFileSystem::new_with_prefix(path)
            .map_err(|error| unusable(error.to_string()))?
            .with_fsync(true);
        Ok(Self { store: Arc::new(store), prefix: Path::default(), url: trimmed(url) })
    }

    fn s3(options: &Options, bucket: &str, prefix: Path) -> Result<Self, ArchiveError> {
        // Two programs in one process may both come here; the first one has set it then.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let retry = RetryConfig {
            max_retries: RETRIES_MAX,
            retry_timeout: RETRY_TIME_MAX,
            ..RetryConfig::default()
        };
        // Not `with_client_options`, which would forget what the environment says of the client.
        let mut builder = AmazonS3Builder::from_env()
            .with_config(AmazonS3ConfigKey::Client(ClientConfigKey::Timeout), CALL_TIME_MAX)
            .with_bucket_name(bucket)
            .with_retry(retry);
        if !options.endpoint.is_empty() {
            builder = builder.with_endpoint(&options.endpoint);
        }
        if !options.region.is_empty() {
            builder = builder.with_region(&options.region);
        }
        if !options.access_key_id.is_empty() {
            builder = builder.with_access_key_id(&options.access_key_id);
        }
        if !options.secret_access_key.is_empty() {
            builder = builder.with_secret_access_key(&options.secret_access_key);
        }
        if options.allow_http {
            builder = builder.with_allow_http(true);
        }
        let store = builder.build().map_err(|error| {
            ArchiveError::Options(format!("{} cannot be used: {error}", options.url))
        })?;
        Ok(Self { store: Arc::new(store), prefix, url: trimmed(&options.url) })
    }

    /// The URL of the manifest of a shard's archive, whether it is there or not.
    #[must_use]
    pub fn location(&self, shard: &ShardName) -> String {
        self.url_of(shard, MANIFEST)
    }

    pub(crate) fn url_of(&self, shard: &ShardName, file: &str) -> String {
        format!("{}/{}/{shard}/{file}", self.url, shard.task_type())
    }

    pub(crate) fn folder(&self, shard: &ShardName) -> Path {
        self.prefix.clone().join(shard.task_type()).join(shard.to_string())
    }

    pub(crate) fn root(&self) -> (&Path, &str) {
        (&self.prefix, &self.url)
    }
}

enum Address {
    Directory(PathBuf),
    Bucket { bucket: String, prefix: Path },
}

fn trimmed(url: &str) -> String {
    url.trim_end_matches('/').to_owned()
}

fn address(text: &str) -> Result<Address, ArchiveError> {
    let unknown = || {
        // Not shown: it may hold a password.
        ArchiveError::Options("address is not file:///directory or s3://bucket/prefix".to_owned())
    };
    let url = Url::parse(text).map_err(|_| unknown())?;
    let bare = url.query().is_none() && url.fragment().is_none() && url.password().is_none();
    match (url.scheme(), url.host_str()) {
        ("file", None | Some("")) if bare => {
            url.to_file_path().map(Address::Directory).map_err(|()| unknown())
        }
        ("s3", Some(bucket)) if bare => {
            let prefix = Path::from_url_path(url.path()).map_err(|_| unknown())?;
            Ok(Address::Bucket { bucket: bucket.to_owned(), prefix })
        }
        _ => Err(unknown()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn addresses_are_checked_before_they_are_used() {
        for (url, fits) in [
            ("file:///var/lib/asyncflow/archive", true),
            ("s3://bucket", true),
            ("s3://bucket/a/b/", true),
            ("", false),
            ("/var/lib", false),
            ("file://host/path", false),
            ("http://host/x", false),
            ("s3:///prefix", false),
            ("s3://key:secret@bucket/x", false),
        ] {
            let options = Options { url: url.to_owned(), ..Options::default() };
            assert_eq!(Archive::check(&options).is_ok(), fits, "{url}");
        }
    }

    #[test]
    fn locations_stand_below_the_address() {
        let options = Options {
            url: "s3://lab/tasks/".to_owned(),
            region: "us-east-1".to_owned(),
            access_key_id: "k".to_owned(),
            secret_access_key: "s".to_owned(),
            ..Options::default()
        };
        let archive = Archive::open(&options).unwrap();
        let shard = "train-3".parse().unwrap();
        assert_eq!(archive.location(&shard), "s3://lab/tasks/train/train-3/manifest.json");
        assert_eq!(archive.folder(&shard).as_ref(), "tasks/train/train-3");
        assert!(!format!("{options:?}").contains("\"s\""), "{options:?}");
    }
}
