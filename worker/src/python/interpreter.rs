//! Which Python it is, and how it is called.

use std::{
    collections::BTreeMap,
    env,
    path::{Path, PathBuf},
};

use asyncflow_sdk::v1::Command;

use super::PythonConfig;
use crate::command::{activate, inherited};

const RUNNER: &str = "asyncflow.task";
const PATH_VARIABLE: &str = "PYTHONPATH";
/// What shows a program its GPUs.
const GPUS: [&str; 3] = ["CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"];
const NO_GPU: &str = "-1";

/// An interpreter with the modules that it is to import.
#[derive(Debug)]
pub struct Interpreter {
    /// A path, or a name to be found on the PATH.
    pub program: String,
    /// The virtual environment that it is of, to be activated for what it starts.
    environment: Option<PathBuf>,
    /// Where modules are looked for.
    path: String,
    modules: Vec<String>,
}

impl Interpreter {
    /// The one of the settings, else that of this process's environment.
    pub fn of(config: &PythonConfig) -> Self {
        let here = env::current_dir().unwrap_or_default();
        let program = match config.executable.as_os_str().is_empty() {
            true => found_here(),
            // A name is looked for on the PATH.
            false if config.executable.components().count() == 1 => config.executable.clone(),
            false => here.join(&config.executable),
        };
        // Modules that are found at the start must be found by a task, which runs elsewhere.
        let told = config.path.iter().map(|path| here.join(path));
        let inherited = env::var_os(PATH_VARIABLE).unwrap_or_default();
        let inherited = env::split_paths(&inherited).filter(|path| !path.as_os_str().is_empty());
        let path: Vec<String> = told
            .chain(inherited.map(|path| here.join(path)))
            .chain([here.clone()])
            .map(|path| path.to_string_lossy().into_owned())
            .collect();
        let module = |name: &String| match name.ends_with(".py") {
            true => here.join(name).to_string_lossy().into_owned(),
            false => name.clone(),
        };
        Self {
            environment: environment_of(&program),
            program: program.to_string_lossy().into_owned(),
            path: path.join(":"),
            modules: config.modules.iter().map(module).collect(),
        }
    }

    /// The command that does this with the modules.
    pub fn command(&self, verb: &str) -> Command {
        let words = ["-m", RUNNER, verb].map(str::to_owned);
        let environment = self.environment.as_ref().map(|path| path.to_string_lossy().into_owned());
        let variables = [
            (PATH_VARIABLE.to_owned(), self.path.clone()),
            // What a task prints is in its log at once.
            ("PYTHONUNBUFFERED".to_owned(), "1".to_owned()),
        ];
        Command {
            program: self.program.clone(),
            args: words.into_iter().chain(self.modules.iter().cloned()).collect(),
            environment: variables.into(),
            python_environment: environment.unwrap_or_default(),
            ..Command::default()
        }
    }

    /// The environment of a process that is none of an attempt's: what is allowed of ours, and its
    /// own. It has no GPU: nobody gave it one, and some modules take what they see when they are
    /// imported.
    ///
    /// # Errors
    /// The virtual environment is broken; for people.
    pub fn variables(&self, allowed: &[String]) -> Result<BTreeMap<String, String>, String> {
        let command = self.command("");
        let mut variables = inherited(allowed);
        variables.extend(command.environment);
        variables.extend(GPUS.map(|name| (name.to_owned(), NO_GPU.to_owned())));
        if !command.python_environment.is_empty() {
            // An absolute path is looked for nowhere.
            activate(&mut variables, &command.python_environment, &Default::default())?;
        }
        Ok(variables)
    }
}

/// That of the virtual environment which is active, or which this program was installed into; else
/// whatever is first on the PATH.
fn found_here() -> PathBuf {
    let active = env::var_os("VIRTUAL_ENV").map(|prefix| PathBuf::from(prefix).join("bin/python3"));
    let own = env::current_exe().ok().and_then(|own| Some(own.parent()?.join("python3")));
    let own = own.filter(|python| environment_of(python).is_some());
    let known = [active, own].into_iter().flatten();
    known.into_iter().find(|python| python.is_file()).unwrap_or_else(|| "python3".into())
}

fn environment_of(python: &Path) -> Option<PathBuf> {
    let prefix = python.parent()?.parent()?;
    let is_one = prefix.is_absolute() && prefix.join("pyvenv.cfg").is_file();
    is_one.then(|| prefix.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
    use std::fs;

    use super::*;

    fn settings() -> PythonConfig {
        PythonConfig {
            modules: vec!["train".to_owned()],
            executable: PathBuf::new(),
            path: Vec::new(),
            import_time_max_ms: 1_000,
            pool: 0,
            tasks_per_process: 1,
        }
    }

    #[test]
    fn a_task_gets_what_was_found_at_the_start_wherever_it_runs() {
        let dir = tempfile::tempdir().unwrap();
        let python = dir.path().join("bin/python3");
        fs::create_dir(dir.path().join("bin")).unwrap();
        fs::write(&python, "").unwrap();
        fs::write(dir.path().join("pyvenv.cfg"), "").unwrap();
        let config = PythonConfig {
            modules: vec!["lab.train".to_owned(), "jobs/resize.py".to_owned()],
            executable: python.clone(),
            path: vec!["lib".into()],
            ..settings()
        };
        let command = Interpreter::of(&config).command("run");
        let here = env::current_dir().unwrap();
        assert_eq!(command.program, python.to_str().unwrap());
        let file = here.join("jobs/resize.py");
        let words = ["-m", "asyncflow.task", "run", "lab.train", file.to_str().unwrap()];
        assert_eq!(command.args, words);
        assert_eq!(command.python_environment, dir.path().to_str().unwrap());
        let path = &command.environment[PATH_VARIABLE];
        let first = format!("{}:", here.join("lib").display());
        assert!(path.starts_with(&first) && path.ends_with(here.to_str().unwrap()), "{path}");
    }

    #[test]
    fn a_name_stays_a_name() {
        let executable = PathBuf::from("python3.13");
        let config = PythonConfig { executable, ..settings() };
        let command = Interpreter::of(&config).command("list");
        assert_eq!((&*command.program, &*command.python_environment), ("python3.13", ""));
    }

    #[test]
    fn what_only_imports_sees_no_gpu() {
        let variables = Interpreter::of(&settings()).variables(&["PATH".to_owned()]).unwrap();
        assert!(GPUS.iter().all(|name| variables[*name] == "-1"), "{variables:?}");
        assert!(variables.contains_key("PATH") && variables.contains_key(PATH_VARIABLE));
    }
}
