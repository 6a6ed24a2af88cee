//! Programs in containers: `docker run` or `podman run` is what is started instead of the program.
//!
//! The engine's client stays in the foreground and passes signals on, so a stop is the same as
//! without a container. Killing the client leaves the container alone, though: that is ended by its
//! name, by the shim or by whoever clears away what a killed shim left.

use std::{
    collections::BTreeMap,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use asyncflow_sdk::v1::{Command, Container};

use crate::process::{EndCommand, Launch, Limits};

/// What the engine's client needs to find its engine.
const ENGINE_VARIABLES: [&str; 10] = [
    "HOME",
    "PATH",
    "DOCKER_HOST",
    "DOCKER_CONFIG",
    "DOCKER_CONTEXT",
    "DOCKER_CERT_PATH",
    "DOCKER_TLS_VERIFY",
    "CONTAINER_HOST",
    "XDG_RUNTIME_DIR",
    "DBUS_SESSION_BUS_ADDRESS",
];
/// Indices of the host's GPUs mean nothing inside, where there are only those that it was given.
const HOST_GPU_VARIABLES: [&str; 2] = ["CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"];
const AMD_GPU_VARIABLES: [&str; 2] = ["ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"];
const GPUS_VARIABLE: &str = "ASYNCFLOW_GPUS";

/// A program that runs containers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Engine {
    program: PathBuf,
    is_podman: bool,
}

impl Engine {
    /// The one that `wanted` names: `auto`, `docker`, `podman`, or an absolute path.
    ///
    /// # Errors
    /// There is none; for people.
    pub fn find(wanted: &str) -> Result<Self, String> {
        let path = std::env::var("PATH").unwrap_or_default();
        Self::find_on(wanted, &path)
    }

    fn find_on(wanted: &str, path: &str) -> Result<Self, String> {
        let names = match wanted {
            "auto" => vec!["docker", "podman"],
            one => vec![one],
        };
        for name in &names {
            // An absolute path replaces the directory that it is joined to.
            let found = path.split(':').map(|dir| Path::new(dir).join(name)).find(is_executable);
            if let Some(program) = found {
                let file = program.file_name().unwrap_or_default().to_string_lossy();
                let is_podman = file.contains("podman");
                return Ok(Self { program, is_podman });
            }
        }
        let names = names.join(" or ");
        Err(format!("it needs a container, but {names} is not installed on this worker's host"))
    }
}

fn is_executable(path: &PathBuf) -> bool {
    let metadata = std::fs::metadata(path);
    path.is_absolute()
        && metadata.is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// What is to run, and with what of the host.
pub struct Contained<'a> {
    /// Unique among all attempts.
    pub name: &'a str,
    /// What runs inside.
    pub command: &'a Command,
    /// In what.
    pub container: &'a Container,
    /// The attempt's, mounted where it is.
    pub dir: &'a Path,
    /// Where it starts unless the command says otherwise.
    pub work_dir: &'a Path,
    /// Where AttemptService is.
    pub socket: &'a Path,
    /// All variables that it would have without a container.
    pub variables: &'a BTreeMap<String, String>,
    /// What it may use at most.
    pub limits: &'a Limits,
}

impl Contained<'_> {
    /// What is started instead, and what ends it for good.
    ///
    /// # Errors
    /// The attempt's directory is gone.
    pub fn launch(&self, engine: &Engine) -> Result<(Launch, Option<EndCommand>), String> {
        let own = ENGINE_VARIABLES
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)));
        let engines: BTreeMap<String, String> = own.collect();
        let owner = std::fs::metadata(self.dir)
            .map_err(|error| format!("the attempt's directory is gone: {error}"))?;
        let mut args = words(&["run", "--rm", "--init", "--name", self.name]);
        if engine.is_podman {
            args.push("--userns=keep-id".to_owned());
        }
        args.push(format!("--user={}:{}", owner.uid(), owner.gid()));
        self.push_mounts(&mut args);
        self.push_gpus(engine, &mut args);
        if let Some(bytes) = self.limits.memory_bytes {
            args.push(format!("--memory={bytes}"));
        }
        if let Some(cpus) = self.limits.cpus {
            args.push(format!("--cpus={cpus}"));
        }
        let mut environment = engines.clone();
        self.push_variables(&mut args, &mut environment);
        args.push(self.container.image.clone());
        args.push(self.command.program.clone());
        args.extend(self.command.args.iter().cloned());
        let program = engine.program.to_string_lossy().into_owned();
        let end = [&program, "rm", "--force", self.name].map(str::to_owned).to_vec();
        let working_directory = self.work_dir.to_owned();
        let launch = Launch { program, args, working_directory, environment };
        Ok((launch, Some(EndCommand { words: end, environment: engines })))
    }

    fn push_mounts(&self, args: &mut Vec<String>) {
        let same = |path: &Path| format!("--volume={0}:{0}", path.display());
        args.push(same(self.dir));
        args.push(same(self.socket));
        args.extend(self.container.volumes.iter().map(|volume| format!("--volume={volume}")));
        let directory = self.command.working_directory.as_str();
        let inside = |volume: &String| volume.split(':').nth(1).map(str::to_owned);
        let is_mounted = |path: String| Path::new(directory).starts_with(path);
        if directory.is_empty() {
            args.push(format!("--workdir={}", self.work_dir.display()));
            return;
        }
        args.push(format!("--workdir={directory}"));
        // What is neither here nor in a volume is the image's.
        let of_volume = self.container.volumes.iter().filter_map(inside).any(is_mounted);
        if !of_volume && Path::new(directory).is_dir() {
            args.push(same(Path::new(directory)));
        }
    }

    fn push_gpus(&self, engine: &Engine, args: &mut Vec<String>) {
        let gpus = self.variables.get(GPUS_VARIABLE).map_or("", String::as_str);
        let is_amd = self.variables.contains_key(AMD_GPU_VARIABLES[0]);
        if gpus.is_empty() {
            // Images for GPUs ask for all of them, where that is how the engine is set up.
            args.push("--env=NVIDIA_VISIBLE_DEVICES=void".to_owned());
        } else if is_amd {
            args.extend(words(&["--device=/dev/kfd", "--device=/dev/dri"]));
        } else if engine.is_podman {
            args.extend(gpus.split(',').map(|uuid| format!("--device=nvidia.com/gpu={uuid}")));
        } else {
            // Without the quotes a comma would begin another option.
            args.push(format!("--gpus=\"device={gpus}\""));
        }
    }

    /// Named on the command line, which everybody can read; the values are in the client's own
    /// environment, unless it needs another one under that name.
    fn push_variables(&self, args: &mut Vec<String>, environment: &mut BTreeMap<String, String>) {
        let is_amd = self.variables.contains_key(AMD_GPU_VARIABLES[0]);
        let is_passed = |name: &String| {
            let of_host = HOST_GPU_VARIABLES.contains(&name.as_str());
            let of_amd = AMD_GPU_VARIABLES.contains(&name.as_str());
            let wanted = self.command.environment.contains_key(name);
            let ours = name.starts_with("ASYNCFLOW_") || name == "TRACEPARENT";
            !of_host && (wanted || ours || of_amd && is_amd)
        };
        for (name, value) in self.variables.iter().filter(|(name, _)| is_passed(name)) {
            if ENGINE_VARIABLES.contains(&name.as_str()) {
                args.push(format!("--env={name}={value}"));
            } else {
                args.push(format!("--env={name}"));
                environment.insert(name.clone(), value.clone());
            }
        }
        if !self.command.environment.contains_key("HOME") {
            args.push(format!("--env=HOME={}", self.work_dir.display()));
        }
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// The container of an attempt.
pub fn name(task_id: &str, attempt: i32) -> String {
    format!("asyncflow-{task_id}-{attempt}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    fn launch(
        engine: &str,
        variables: &[(&str, &str)],
        change: impl FnOnce(&mut Command),
    ) -> Launch {
        let dir = tempfile::tempdir().unwrap();
        let volumes = vec!["/data:/data:ro".to_owned()];
        let container = Container { image: "pytorch:2".to_owned(), volumes };
        let mut command = Command {
            program: "python3".to_owned(),
            args: words(&["train.py"]),
            ..Command::default()
        };
        change(&mut command);
        let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let own = command.environment.clone();
        let contained = Contained {
            name: "asyncflow-a-1-x-1",
            command: &command,
            container: &container,
            dir: dir.path(),
            work_dir: &dir.path().join("work"),
            socket: Path::new("/run/attempt.sock"),
            variables: &own.into_iter().chain(variables.iter().map(pair)).collect(),
            limits: &Limits { memory_bytes: Some(1 << 30), cpus: Some(1.5) },
        };
        let program = PathBuf::from(engine);
        let engine = Engine { program, is_podman: engine.contains("podman") };
        let (launch, end) = contained.launch(&engine).unwrap();
        assert_eq!(end.unwrap().words[1..], ["rm", "--force", "asyncflow-a-1-x-1"]);
        let at = launch.args.iter().position(|arg| arg == "pytorch:2").unwrap();
        assert_eq!(launch.args[at + 1..], ["python3", "train.py"]);
        launch
    }

    fn has(launch: &Launch, arg: &str) -> bool {
        launch.args.iter().any(|one| one == arg)
    }

    #[test]
    fn it_sees_exactly_the_gpus_that_it_was_given() {
        let gpus = [("ASYNCFLOW_GPUS", "GPU-a,GPU-b"), ("CUDA_VISIBLE_DEVICES", "2,3")];
        let docker = launch("/usr/bin/docker", &gpus, |_| {});
        assert!(has(&docker, "--gpus=\"device=GPU-a,GPU-b\""), "{docker:?}");
        let podman = launch("/usr/bin/podman", &gpus, |_| {});
        assert!(has(&podman, "--device=nvidia.com/gpu=GPU-a"), "{podman:?}");
        assert!(has(&podman, "--device=nvidia.com/gpu=GPU-b") && has(&podman, "--userns=keep-id"));
        for launch in [&docker, &podman] {
            assert!(!launch.args.iter().any(|arg| arg.contains("CUDA_VISIBLE_DEVICES")));
        }
        let none = launch("/usr/bin/docker", &[("CUDA_VISIBLE_DEVICES", "-1")], |_| {});
        assert!(has(&none, "--env=NVIDIA_VISIBLE_DEVICES=void"), "{none:?}");
        assert!(!none.args.iter().any(|arg| arg.starts_with("--gpus")));
        assert!(has(&none, "--memory=1073741824") && has(&none, "--cpus=1.5"));
    }

    #[test]
    fn values_do_not_stand_on_the_command_line() {
        let token = [("ASYNCFLOW_ATTEMPT_TOKEN", "secret"), ("LANG", "C")];
        let launch = launch("/usr/bin/docker", &token, |command| {
            command.environment = [("KEY".to_owned(), "a\nb".to_owned())].into();
        });
        assert!(has(&launch, "--env=ASYNCFLOW_ATTEMPT_TOKEN") && has(&launch, "--env=KEY"));
        assert!(!launch.args.iter().any(|arg| arg.contains("secret") || arg.contains("a\nb")));
        assert_eq!(launch.environment["KEY"], "a\nb");
        assert!(!launch.args.iter().any(|arg| arg.contains("LANG")), "the image has its own");
    }

    #[test]
    fn the_directory_is_mounted_unless_a_volume_or_the_image_has_it() {
        let here = tempfile::tempdir().unwrap();
        let path = here.path().to_str().unwrap().to_owned();
        for (directory, is_mounted) in
            [(path.as_str(), true), ("/data/run", false), ("/no/such/directory", false)]
        {
            let launch = launch("/usr/bin/docker", &[], |command| {
                command.working_directory = directory.to_owned();
            });
            assert!(has(&launch, &format!("--workdir={directory}")), "{launch:?}");
            let mount = format!("--volume={directory}:{directory}");
            assert_eq!(has(&launch, &mount), is_mounted, "{launch:?}");
        }
    }

    #[test]
    fn an_engine_that_is_not_there_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_str().unwrap();
        let missing = Engine::find_on("auto", path).unwrap_err();
        assert!(missing.contains("docker or podman"), "{missing}");
        let program = dir.path().join("podman");
        std::fs::write(&program, "").unwrap();
        assert!(Engine::find_on("auto", path).is_err(), "it cannot be executed");
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
        let found = Engine { program: program.clone(), is_podman: true };
        assert_eq!(Engine::find_on("auto", path), Ok(found.clone()));
        assert_eq!(Engine::find_on(program.to_str().unwrap(), path), Ok(found));
        assert!(Engine::find_on("docker", path).is_err());
    }
}
