//! Python environments: what `activate` does in a shell, without one.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";
/// The environment of conda itself.
const BASE: &str = "base";

/// Where conda environments are found by their names.
#[derive(Clone, Debug, Default)]
pub struct CondaPlaces {
    /// Where condas are installed.
    pub roots: Vec<PathBuf>,
    /// Lists the environments of a user, one path a line.
    pub list: Option<PathBuf>,
}

impl CondaPlaces {
    /// Those of the worker's user, behind `roots`.
    pub fn of_this_user(roots: &[PathBuf]) -> Self {
        let root = |name: &str| std::env::var_os(name).map(PathBuf::from);
        let own = ["CONDA_PREFIX_1", "CONDA_PREFIX"].into_iter().filter_map(root);
        let home = std::env::var_os("HOME").map(PathBuf::from);
        Self {
            roots: roots.iter().cloned().chain(own).collect(),
            list: home.map(|home| home.join(".conda/environments.txt")),
        }
    }

    /// The prefix of the environment with this name, or what was looked at.
    fn find(&self, name: &str) -> Result<PathBuf, String> {
        let listed = self.list.as_deref().map(fs::read_to_string).and_then(Result::ok);
        let listed = listed.unwrap_or_default();
        let is_named = |path: &&Path| path.file_name().is_some_and(|file| file == name);
        let listed = listed.lines().map(|line| Path::new(line.trim())).filter(is_named);
        let under = |root: &PathBuf| match name {
            BASE => root.clone(),
            _ => root.join("envs").join(name),
        };
        let tried: Vec<PathBuf> =
            self.roots.iter().map(under).chain(listed.map(Path::to_owned)).collect();
        if let Some(found) = tried.iter().find(|prefix| is_conda(prefix)) {
            return Ok(found.clone());
        }
        let list = self.list.as_ref().map(|list| format!("{} (which lists none)", list.display()));
        let tried = tried.iter().map(|path| path.display().to_string()).chain(list);
        let tried = tried.collect::<Vec<_>>().join(", ");
        Err(format!("there is no conda environment {name}; looked for it at: {tried}"))
    }
}

fn is_conda(prefix: &Path) -> bool {
    prefix.join("conda-meta").is_dir()
}

/// Makes the program find the environment `wanted`, a path or a name, first.
///
/// # Errors
/// There is no such environment; what was looked for, for people.
pub fn activate(
    variables: &mut BTreeMap<String, String>,
    wanted: &str,
    places: &CondaPlaces,
) -> Result<(), String> {
    let prefix = match wanted.starts_with('/') {
        true => PathBuf::from(wanted),
        false => places.find(wanted)?,
    };
    let shown = prefix.display().to_string();
    if !prefix.is_dir() {
        return Err(format!("there is no Python environment at {shown}: no such directory"));
    }
    let is_conda = is_conda(&prefix);
    if !is_conda && !prefix.join("pyvenv.cfg").is_file() {
        return Err(format!(
            "{shown} is no Python environment: it has neither a pyvenv.cfg, as virtual \
             environments have, nor a conda-meta, as conda environments have"
        ));
    }
    if !prefix.join("bin").is_dir() {
        return Err(format!("the Python environment {shown} is broken: it has no bin"));
    }
    let path = variables.get("PATH").map_or(DEFAULT_PATH, String::as_str);
    let path = format!("{shown}/bin:{path}");
    variables.insert("PATH".to_owned(), path);
    // It would lead to the modules of another Python.
    variables.remove("PYTHONHOME");
    if is_conda {
        variables.insert("CONDA_DEFAULT_ENV".to_owned(), name_of(&prefix, wanted));
        variables.insert("CONDA_PREFIX".to_owned(), shown);
    } else {
        variables.insert("VIRTUAL_ENV".to_owned(), shown);
    }
    Ok(())
}

fn name_of(prefix: &Path, wanted: &str) -> String {
    let in_envs = prefix.parent().is_some_and(|parent| parent.ends_with("envs"));
    let name = prefix.file_name().filter(|_| in_envs && wanted.starts_with('/'));
    name.map_or_else(|| wanted.to_owned(), |name| name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    fn variables() -> BTreeMap<String, String> {
        let pairs = [("PATH", "/usr/bin"), ("PYTHONHOME", "/x"), ("LD_LIBRARY_PATH", "/cuda")];
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
    }

    fn conda_at(prefix: &Path) {
        fs::create_dir_all(prefix.join("conda-meta")).unwrap();
        fs::create_dir_all(prefix.join("bin")).unwrap();
    }

    #[test]
    fn a_virtual_environment_comes_first_and_the_libraries_stay() {
        let dir = tempfile::tempdir().unwrap();
        let prefix = dir.path().to_str().unwrap();
        fs::write(dir.path().join("pyvenv.cfg"), "").unwrap();
        fs::create_dir(dir.path().join("bin")).unwrap();
        let mut found = variables();
        activate(&mut found, prefix, &CondaPlaces::default()).unwrap();
        assert_eq!(found["PATH"], format!("{prefix}/bin:/usr/bin"));
        assert_eq!(found["VIRTUAL_ENV"], prefix);
        assert_eq!(found["LD_LIBRARY_PATH"], "/cuda");
        assert!(!found.contains_key("PYTHONHOME") && !found.contains_key("CONDA_PREFIX"));
    }

    #[test]
    fn a_conda_environment_is_found_by_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let (root, other) = (dir.path().join("conda"), dir.path().join("elsewhere/listed"));
        conda_at(&root);
        conda_at(&root.join("envs/torch"));
        conda_at(&other);
        let list = dir.path().join("environments.txt");
        fs::write(&list, format!("/gone/listed\n{}\n", other.display())).unwrap();
        let places = CondaPlaces { roots: vec![root.clone()], list: Some(list.clone()) };
        for (name, prefix) in
            [("torch", root.join("envs/torch")), ("base", root.clone()), ("listed", other)]
        {
            let mut found = variables();
            activate(&mut found, name, &places).unwrap();
            assert_eq!(found["CONDA_PREFIX"], prefix.to_str().unwrap());
            assert_eq!(found["CONDA_DEFAULT_ENV"], name);
            assert!(found["PATH"].starts_with(&format!("{}/bin:", prefix.display())));
        }
        let mut found = variables();
        activate(&mut found, root.join("envs/torch").to_str().unwrap(), &places).unwrap();
        assert_eq!(found["CONDA_DEFAULT_ENV"], "torch");

        let missing = activate(&mut variables(), "tensorflow", &places).unwrap_err();
        assert!(missing.contains(root.join("envs/tensorflow").to_str().unwrap()), "{missing}");
        assert!(missing.contains(list.to_str().unwrap()), "{missing}");
    }

    #[test]
    fn what_is_no_environment_is_refused_with_what_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_str().unwrap();
        let before = variables();
        let mut found = before.clone();
        let refused = activate(&mut found, path, &CondaPlaces::default()).unwrap_err();
        assert!(refused.contains("pyvenv.cfg") && refused.contains("conda-meta"), "{refused}");
        fs::write(dir.path().join("pyvenv.cfg"), "").unwrap();
        let refused = activate(&mut found, path, &CondaPlaces::default()).unwrap_err();
        assert!(refused.contains("no bin"), "{refused}");
        let refused = activate(&mut found, "/no/such/venv", &CondaPlaces::default()).unwrap_err();
        assert!(refused.contains("/no/such/venv"), "{refused}");
        assert_eq!(found, before);
    }
}
