//! A file of settings is loaded, and then shown as one that loads as the same; or all that is wrong
//! with it is told, and no secret.

use std::io::Write as _;

use asyncflow_service::config::{Sources, Validate, load, show};
use asyncflow_worker::config::{DEFAULTS, ENV_PREFIX, WorkerConfig};
use serde::{Serialize, de::DeserializeOwned};

const SECRET: &str = "hunter2-hunter2";
/// A file that names one of these would have the system read without an end.
const ENDLESS: [&str; 2] = ["/dev", "/proc"];

/// Reads the bytes as a file of the worker's.
pub fn check(data: &[u8]) {
    check_as::<WorkerConfig>(DEFAULTS, ENV_PREFIX, data);
}

/// The same for another program.
pub fn check_as<T: DeserializeOwned + Serialize + Validate>(
    defaults: &'static str,
    prefix: &'static str,
    data: &[u8],
) {
    let read = String::from_utf8_lossy(data);
    if ENDLESS.iter().any(|place| read.contains(place)) || read.contains(SECRET) {
        return;
    }
    // Wrong in every program, so that what is told of it can be looked at.
    let secret = format!("mysql://a:{SECRET}@db/x?token={SECRET}");
    let keys = ["metrics.expose", "log.password"];
    let wrong = keys.iter().fold(sources(defaults, prefix), |all, key| all.flag(key, &secret));
    with_file(data, |path| {
        let Err(errors) = load::<T>(&wrong.file(Some(path.into()))) else {
            panic!("an unknown key is taken")
        };
        assert!(!errors.is_empty());
        assert!(!errors.to_string().contains(SECRET), "{errors}");
        match load::<T>(&sources(defaults, prefix).file(Some(path.into()))) {
            Ok(config) => shown_and_read(&config, defaults, prefix),
            Err(errors) => {
                let told = errors.violations();
                assert!(!told.is_empty() && told.iter().all(|one| !one.message.is_empty()));
            }
        }
    });
}

fn sources(defaults: &'static str, prefix: &'static str) -> Sources {
    Sources::new(defaults, prefix).env([])
}

fn shown_and_read<T: DeserializeOwned + Serialize + Validate>(
    config: &T,
    defaults: &'static str,
    prefix: &'static str,
) {
    let Ok(shown) = show(config) else { panic!("it cannot be shown") };
    // Masks are no passwords, and may not be what a rule wants.
    if shown.contains("***") {
        return;
    }
    with_file(shown.as_bytes(), |path| {
        match load::<T>(&sources(defaults, prefix).file(Some(path.into()))) {
            Ok(again) => assert_eq!(show(&again).as_deref(), Ok(shown.as_str())),
            Err(errors) => panic!("what is shown does not load: {errors}\n{shown}"),
        }
    });
}

fn with_file(data: &[u8], run: impl FnOnce(&std::path::Path)) {
    let written = tempfile::NamedTempFile::new().and_then(|mut file| {
        file.write_all(data)?;
        Ok(file)
    });
    match written {
        Ok(file) => run(file.path()),
        Err(error) => panic!("{error}"),
    }
}
