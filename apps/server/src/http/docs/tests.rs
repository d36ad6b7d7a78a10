use std::collections::BTreeSet;
use std::path::Path;

use super::*;

/// `TOLLGATE_BLESS=1` writes the document anew.
#[test]
fn the_committed_document_is_that_of_the_code() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
    let text = text();
    if std::env::var_os("TOLLGATE_BLESS").is_some() {
        std::fs::write(&file, &text).unwrap();
    }
    let committed = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        committed == text,
        "docs/openapi.json is stale: set TOLLGATE_BLESS=1 and run again"
    );
}

#[test]
fn every_operation_says_who_may_call_it_and_how_it_refuses() {
    let document = serde_json::to_value(openapi()).unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    let mut ids = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap();
            assert!(ids.insert(id.to_owned()), "{id} stands twice");
            assert!(
                operation["security"].is_array(),
                "{method} {path} does not say who"
            );
            let summary = operation["summary"].as_str();
            let summary = summary.unwrap_or_else(|| panic!("{method} {path} does not say what"));
            // Swagger UI shows a summary as it stands; only descriptions are Markdown.
            assert!(!summary.contains('`'), "{method} {path}: {summary}");
            let responses = operation["responses"].as_object().unwrap();
            if path.starts_with("/api/") {
                assert!(responses.contains_key("401"), "{method} {path}");
                for (status, response) in responses.iter().filter(|(s, _)| s.as_str() >= "400") {
                    let content = &response["content"]["application/problem+json"];
                    assert!(content.is_object(), "{method} {path} {status}");
                }
            }
        }
    }
}
