//! `workflow schema`

use super::file::WorkflowFile;
use crate::{
    error::{CliError, Outcome, exit},
    output::Output,
};
use schemars::generate::SchemaSettings;

/// Print the JSON schema of the files that describe workflows
///
/// It is made of the types that read them. Editors complete and check by it: `asyncflow workflow
/// schema > workflow.schema.json`, and above the file
/// `# yaml-language-server: $schema=workflow.schema.json`.
#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn execute(output: &Output) -> Outcome {
    output.line(&text().map_err(|error| CliError::Failed(error.to_string()))?)?;
    Ok(exit::OK)
}

/// In draft 7, which is the newest that all editors know.
fn text() -> Result<String, serde_json::Error> {
    let generator = SchemaSettings::draft07().into_generator();
    serde_json::to_string_pretty(&generator.into_root_schema_for::<WorkflowFile>())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;
    use crate::source_file::parse;
    use serde_json::Value;
    use std::{
        fs,
        path::{Path, PathBuf},
    };

    const COMMITTED: &str = "docs/schema/workflow.json";

    fn root() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
    }

    fn schema() -> jsonschema::Validator {
        let schema: Value = serde_json::from_str(&text().unwrap()).unwrap();
        jsonschema::draft7::meta::validate(&schema).expect("it is a schema");
        jsonschema::validator_for(&schema).unwrap()
    }

    fn value(yaml: &str) -> Value {
        serde_saphyr::from_str(yaml).unwrap()
    }

    /// What the parser says, up to what is sent.
    fn parsed(yaml: &str) -> Result<(), String> {
        let file = parse::<WorkflowFile>(yaml).map_err(|error| error.to_string())?;
        file.spec().map(drop).map_err(|error| error.to_string())
    }

    #[test]
    fn the_committed_schema_is_that_of_the_types() {
        let (path, now) = (root().join(COMMITTED), format!("{}\n", text().unwrap()));
        if std::env::var_os("UPDATE_GENERATED").is_some() {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, &now).unwrap();
        }
        let committed = fs::read_to_string(&path).unwrap_or_default();
        assert!(committed == now, "{COMMITTED} is stale: UPDATE_GENERATED=1 writes it");
    }

    /// The YAML of workflows in a folder: files, and what stands in Markdown.
    fn workflows_below(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                // Of a run of the demo.
                let is_made =
                    [".venv", "out"].map(Path::new).iter().any(|made| path.ends_with(made));
                if !is_made {
                    workflows_below(&path, found);
                }
                continue;
            }
            let is = |suffix: &str| path.extension().is_some_and(|found| found == suffix);
            let texts: Vec<String> = if is("yaml") || is("yml") {
                vec![fs::read_to_string(&path).unwrap()]
            } else if is("md") {
                let text = fs::read_to_string(&path).unwrap();
                let blocks = text.split("\n```yaml\n").skip(1);
                blocks.map(|block| block.split("\n```").next().unwrap().to_owned()).collect()
            } else {
                continue;
            };
            // A file of another program names no nodes.
            let are = texts.into_iter().filter(|text| format!("\n{text}").contains("\nnodes:"));
            found.extend(are.map(|text| (path.clone(), text)));
        }
    }

    #[test]
    fn every_workflow_in_docs_and_examples_is_one() {
        let mut found = Vec::new();
        for folder in ["docs", "examples"] {
            workflows_below(&root().join(folder), &mut found);
        }
        for known in ["docs/guide/workflows.md", "examples/digits/workflow.yaml"] {
            assert!(found.iter().any(|(path, _)| path.ends_with(known)), "{known} has none");
        }
        let schema = schema();
        for (path, text) in found {
            let errors: Vec<String> =
                schema.iter_errors(&value(&text)).map(|error| error.to_string()).collect();
            assert!(errors.is_empty(), "{}: {errors:#?}", path.display());
            assert_eq!(parsed(&text), Ok(()), "{}", path.display());
        }
    }

    #[test]
    fn what_the_schema_refuses_the_parser_refuses_too() {
        let wrong = [
            ("no nodes", "name: x"),
            ("nodes are no list", "nodes: {name: a, task: {type: x}}"),
            ("an unknown field of the whole", "nodes: [{task: {type: x}}]\ncolour: red"),
            ("an unknown field of a node", "nodes: [{task: {type: x}, tasks: 1}]"),
            ("an unknown field of a task", "nodes: [{task: {typ: x}}]"),
            ("two things", "nodes: [{task: {type: x}, chain: [{task: {type: y}}]}]"),
            ("an unknown policy", "nodes: [{task: {type: x}}]\npolicy: never"),
            ("a policy without its number", "nodes: [{task: {type: x}}]\npolicy: at_least"),
            ("a policy that is a list", "nodes: [{task: {type: x}}]\npolicy: [continue]"),
            ("an unknown edge", "nodes: [{task: {type: x}, when: never}]"),
            ("a dependency that is no list", "nodes: [{task: {type: x}, depends_on: {a: b}}]"),
            ("a group without members", "nodes: [{group: {policy: continue}}]"),
            ("a chord without callback", "nodes: [{chord: {members: [{task: {type: x}}]}}]"),
            ("a map without list", "nodes: [{map: {each: {task: {type: x}}}}]"),
            ("a command that is a map", "nodes: [{task: {command: {a: b}}}]"),
            ("retries that are a text", "nodes: [{task: {type: x, max_retries: many}}]"),
            ("a nested one", "nodes: [{chain: [{group: {members: [{task: {colour: 1}}]}}]}]"),
        ];
        let schema = schema();
        for (what, yaml) in wrong {
            assert!(!schema.is_valid(&value(yaml)), "the schema takes {what}: {yaml}");
            assert!(parsed(yaml).is_err(), "the parser takes {what}: {yaml}");
        }
    }

    #[test]
    fn what_is_written_in_other_ways_is_taken_by_both() {
        let schema = schema();
        for yaml in [
            "nodes: [{task: {type: x}}]",
            "{nodes: [{name: a, task: {type: x, payload: [1, {b: null}]}}], input: text}",
            "nodes: [{chain: [{task: {type: a}}, {map: {over: prev, each: {task: {type: b}}}}]}]",
            "nodes: [{task: {type: x}, when: any_failed, chain: null}]\npolicy: {at_least: 1}",
        ] {
            assert!(schema.is_valid(&value(yaml)), "{yaml}");
            assert_eq!(parsed(yaml), Ok(()), "{yaml}");
        }
    }
}
