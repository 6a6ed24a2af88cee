//! The sources of the repository, as text and as a flat list of tokens.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    str::FromStr,
    sync::OnceLock,
};

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use syn::{spanned::Spanned, visit::Visit};

/// Folders that hold nothing written by hand.
const SKIPPED: [&str; 6] = ["target", "node_modules", "__pycache__", "generated", "out", "dist"];
/// Ends of the names of files that stand beside those written by hand, as their language wants it.
const GENERATED: [&str; 3] = ["_pb2.py", "_pb2_grpc.py", ".pb.go"];
const EXTENSIONS: [&str; 7] = ["rs", "py", "proto", "sh", "go", "ts", "java"];

/// What breaks a rule, and where.
pub struct Violation {
    path: String,
    line: usize,
    message: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.message)
    }
}

impl Violation {
    pub fn new(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, message: message.into() }
    }
}

/// A token, and whether it belongs to a test.
pub struct Token {
    pub text: String,
    pub line: usize,
    pub in_test: bool,
}

pub struct SourceFile {
    /// Relative to the root of the repository, with `/`.
    pub path: String,
    pub text: String,
    /// Empty when it is not Rust.
    pub tokens: Vec<Token>,
    /// Name, first and last line of each function.
    pub functions: Vec<(String, usize, usize)>,
}

impl SourceFile {
    pub fn parse(path: &str, text: &str) -> Self {
        let mut file = Self {
            path: path.to_owned(),
            text: text.to_owned(),
            tokens: Vec::new(),
            functions: Vec::new(),
        };
        if !file.is_rust() {
            return file;
        }
        let syntax = syn::parse_file(text).unwrap_or_else(|error| panic!("{path}: {error}"));
        let mut outline = Outline::default();
        outline.visit_file(&syntax);
        let stream = TokenStream::from_str(text).unwrap();
        flatten(stream, &mut file.tokens);
        let whole_file_is_test = is_test_path(path);
        for token in &mut file.tokens {
            token.in_test = whole_file_is_test
                || outline.tests.iter().any(|(from, to)| (*from..=*to).contains(&token.line));
        }
        file.functions = outline.functions;
        file
    }

    pub fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// The folder of the crate: `broker`, `sdk/rust`.
    pub fn crate_folder(&self) -> &str {
        self.path.find("/src/").map_or("", |end| &self.path[..end])
    }

    pub fn violation(&self, line: usize, message: impl Into<String>) -> Violation {
        Violation::new(&self.path, line, message)
    }

    /// Lines at which this sequence of tokens begins.
    pub fn find(&self, pattern: &[&str], with_tests: bool) -> Vec<usize> {
        self.tokens
            .windows(pattern.len())
            .filter(|window| with_tests || !window[0].in_test)
            .filter(|window| window.iter().zip(pattern).all(|(token, text)| token.text == *text))
            .map(|window| window[0].line)
            .collect()
    }
}

/// Every source that people write in this repository.
pub fn repository() -> &'static [SourceFile] {
    static FILES: OnceLock<Vec<SourceFile>> = OnceLock::new();
    FILES.get_or_init(|| {
        let root = root();
        let paths = files(&EXTENSIONS);
        assert!(paths.len() > 20, "found no sources below {}", root.display());
        let parse = |path: &PathBuf| {
            let text = fs::read_to_string(path).unwrap();
            SourceFile::parse(path.strip_prefix(&root).unwrap().to_str().unwrap(), &text)
        };
        paths.iter().map(parse).collect()
    })
}

/// Every file with one of these extensions, in order.
pub fn files(extensions: &[&str]) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    walk(&root(), extensions, &mut paths);
    paths.sort();
    paths
}

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn walk(folder: &Path, extensions: &[&str], paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let is_generated = GENERATED.iter().any(|end| name.ends_with(end));
        if name.starts_with('.') || SKIPPED.contains(&name) || is_generated || path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            walk(&path, extensions, paths);
        } else if path.extension().is_some_and(|e| extensions.contains(&e.to_str().unwrap())) {
            paths.push(path);
        }
    }
}

/// Tests, fuzz targets, benchmarks, examples, and what a crate offers to the tests of others.
fn is_test_path(path: &str) -> bool {
    path.split('/').any(|part| {
        matches!(
            part,
            "tests"
                | "tests.rs"
                | "testing"
                | "testing.rs"
                | "fuzz"
                | "benches"
                | "examples"
                | "build.rs"
        )
    })
}

fn flatten(stream: TokenStream, tokens: &mut Vec<Token>) {
    for tree in stream {
        let line = tree.span().start().line;
        let mut push = |text: &str, line| {
            tokens.push(Token { text: text.to_owned(), line, in_test: false });
        };
        match tree {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::None => ("", ""),
                };
                push(open, line);
                flatten(group.stream(), tokens);
                let line = group.span_close().end().line;
                tokens.push(Token { text: close.to_owned(), line, in_test: false });
            }
            other => push(&other.to_string(), line),
        }
    }
}

/// Where the functions and the tests of a file are.
#[derive(Default)]
struct Outline {
    functions: Vec<(String, usize, usize)>,
    tests: Vec<(usize, usize)>,
}

impl Outline {
    fn note(&mut self, attributes: &[syn::Attribute], node: &impl Spanned) {
        if attributes.iter().any(is_test_attribute) {
            self.tests.push(lines(node));
        }
    }

    fn note_function(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let first = signature.span().start().line;
        self.functions.push((signature.ident.to_string(), first, lines(block).1));
    }
}

impl<'ast> Visit<'ast> for Outline {
    fn visit_item_mod(&mut self, node: &'ast syn::ItemMod) {
        self.note(&node.attrs, node);
        syn::visit::visit_item_mod(self, node);
    }

    fn visit_item_fn(&mut self, node: &'ast syn::ItemFn) {
        self.note(&node.attrs, node);
        self.note_function(&node.sig, &node.block);
        syn::visit::visit_item_fn(self, node);
    }

    fn visit_impl_item_fn(&mut self, node: &'ast syn::ImplItemFn) {
        self.note(&node.attrs, node);
        self.note_function(&node.sig, &node.block);
        syn::visit::visit_impl_item_fn(self, node);
    }

    fn visit_item_impl(&mut self, node: &'ast syn::ItemImpl) {
        self.note(&node.attrs, node);
        syn::visit::visit_item_impl(self, node);
    }

    fn visit_trait_item_fn(&mut self, node: &'ast syn::TraitItemFn) {
        if let Some(block) = &node.default {
            self.note_function(&node.sig, block);
        }
        syn::visit::visit_trait_item_fn(self, node);
    }
}

/// `#[test]`, `#[tokio::test]`, `#[cfg(test)]`, `#[cfg(any(test, feature = "testing"))]`.
fn is_test_attribute(attribute: &syn::Attribute) -> bool {
    let last = attribute.path().segments.last().unwrap().ident.to_string();
    let condition = match &attribute.meta {
        syn::Meta::List(list) => list.tokens.to_string(),
        _ => String::new(),
    };
    last == "test" || (last == "cfg" && condition.contains("test") && !condition.contains("not"))
}

fn lines(node: &impl Spanned) -> (usize, usize) {
    (node.span().start().line, node.span().end().line)
}

#[test]
fn tells_tests_from_the_rest() {
    let text = "fn a() { x.unwrap(); }\n#[cfg(test)]\nmod tests { fn b() { y.unwrap(); } }\n";
    let file = SourceFile::parse("core/src/a.rs", text);
    assert_eq!(file.find(&[".", "unwrap", "("], false), [1]);
    assert_eq!(file.find(&[".", "unwrap", "("], true), [1, 3]);
    assert_eq!(file.functions.len(), 2);
}
