//! The committed page of the schema is that of the code.

use std::path::Path;

use testkit::ManualClock;
use testkit::world::NOON;

#[test]
fn the_committed_diagram_is_that_of_the_schema() {
    testkit::contract::run(async {
        let folder = tempfile::tempdir().unwrap();
        let url = crate::open::sqlite_url(&folder);
        let store = crate::open::store(&url, &ManualClock::at(NOON)).await;
        let drawn = store.schema_diagram().await.unwrap();
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let page = root.join("docs/reference/entities.md");
        if std::env::var_os("TOLLGATE_BLESS").is_some() {
            std::fs::create_dir_all(page.parent().unwrap()).unwrap();
            std::fs::write(&page, &drawn).unwrap();
        }
        let committed = std::fs::read_to_string(&page).unwrap_or_default();
        assert!(
            drawn == committed,
            "docs/reference/entities.md is stale: run this test with TOLLGATE_BLESS=1"
        );
    });
}
