//! `docs/how-to/scale-out.md` names every table of the schema, and says of each where its rows are.
#![expect(
    clippy::unwrap_used,
    reason = "a check that cannot read its input must fail loudly"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Tables that SQLite alone has; PostgreSQL has views in their place, or needs none.
const OF_SQLITE: [&str; 4] = ["account_call", "account_txn", "call_unlisted", "txn_listed"];
/// Kept where the order of changes is made.
const LOCAL: &str = "change_feed";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The tables that the steps make, each with whether its rows are of accounts.
fn tables(step: &str) -> Vec<(String, bool)> {
    let made = step.split("CREATE TABLE ").skip(1);
    made.map(|rest| {
        let (name, rest) = rest.split_once(" (").unwrap();
        let columns = rest.split("){").next().unwrap();
        let of_account = columns.contains("account_id BIGINT NOT NULL,")
            || columns.contains("account_id BIGINT PRIMARY KEY");
        (name.trim_matches('"').to_owned(), of_account)
    })
    .collect()
}

/// The names that stand in quotes between two words of a text.
fn names(text: &str, from: &str, to: &str) -> BTreeSet<String> {
    let (_, rest) = text.split_once(from).unwrap();
    let (list, _) = rest.split_once(to).unwrap();
    let quoted = list.split('\'').skip(1).step_by(2);
    quoted
        .map(|name| name.trim_matches('"').to_owned())
        .collect()
}

#[test]
fn every_table_has_its_place_on_a_distributed_database() {
    let document = fs::read_to_string(root().join("docs/how-to/scale-out.md")).unwrap();
    let reference = names(&document, "create_reference_table(t)", ") t;");
    let mut distributed = names(&document, "create_distributed_table(t,", ") t;");
    assert!(distributed.remove("account_id") && distributed.contains("wallet"));
    let mut schema = BTreeSet::new();
    for entry in fs::read_dir(root().join("migrations/src")).unwrap() {
        let step = fs::read_to_string(entry.unwrap().path()).unwrap();
        schema.extend(tables(&step));
    }
    assert!(schema.len() > 20, "{schema:?}");
    let placed = reference.union(&distributed).map(String::as_str);
    let placed: BTreeSet<&str> = placed.chain([LOCAL]).chain(OF_SQLITE).collect();
    let made: BTreeSet<&str> = schema.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(placed, made);
    for (name, of_account) in &schema {
        let by_account = distributed.contains(name);
        assert!(
            *of_account || !by_account,
            "{name} has no account_id to distribute it by"
        );
        assert!(
            !by_account || !reference.contains(name),
            "{name} has two places"
        );
    }
}
