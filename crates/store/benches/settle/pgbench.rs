//! TPC-B of `pgbench`, on the server that the settlements use.

use std::process::Command;

use sea_orm::{ConnectionTrait, DbBackend, Statement};
use testkit::postgres::Database;
use tokio::runtime::Runtime;

/// A hundred thousand accounts each; more branches than clients, so that none waits for another.
pub(crate) const SCALE: u32 = 50;

/// A database that `pgbench` has filled.
pub(crate) struct TpcB {
    database: Database,
    clients: u64,
}

impl TpcB {
    pub(crate) fn new(clients: u64) -> Self {
        let database = testkit::postgres::database();
        let this = Self { database, clients };
        this.pgbench(&["--initialize", "--quiet", &format!("--scale={SCALE}")]);
        this
    }

    /// Transactions a second.
    pub(crate) fn run(&self, seconds: u64) -> f64 {
        let said = self.pgbench(&[
            "--no-vacuum",
            "--protocol=prepared",
            "--jobs=2",
            &format!("--client={}", self.clients),
            &format!("--time={seconds}"),
        ]);
        let line = said.lines().find_map(|l| l.strip_prefix("tps = ")).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }

    /// Whether the server waits for the disk.
    pub(crate) fn is_durable(&self) -> bool {
        let mode = Runtime::new().unwrap().block_on(async {
            let db = sea_orm::Database::connect(self.database.url())
                .await
                .unwrap();
            let row = db
                .query_one_raw(Statement::from_string(DbBackend::Postgres, "SHOW fsync"))
                .await
                .unwrap();
            row.unwrap().try_get_by_index::<String>(0).unwrap()
        });
        mode == "on"
    }

    fn pgbench(&self, words: &[&str]) -> String {
        let pgbench = std::env::var("PGBENCH").unwrap_or_else(|_| "pgbench".to_owned());
        let done = Command::new(&pgbench)
            .args(words)
            .arg(self.database.url())
            .output();
        let done = done.unwrap_or_else(|e| panic!("{pgbench} did not start: {e}"));
        let complaint = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{pgbench}: {complaint}");
        String::from_utf8_lossy(&done.stdout).into_owned()
    }
}
