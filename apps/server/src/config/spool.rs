//! Where settlements are kept that the books cannot take.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Where settlements are kept that the books cannot take.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Spool {
    /// Its file, on a local disk; see [`Spool::file`].
    pub(crate) path: Option<PathBuf>,
    /// The most that it may take of the disk, in megabytes.
    pub(crate) max_mb: u64,
    /// How long the books may take for a settlement before it goes there, in milliseconds.
    pub(crate) settle_timeout_ms: u64,
}

impl Default for Spool {
    fn default() -> Self {
        Self {
            path: None,
            max_mb: 1024,
            settle_timeout_ms: 2_000,
        }
    }
}

impl Spool {
    /// What is configured, else beside the database's file, else in the working folder.
    pub(super) fn file(&self, database: &str) -> PathBuf {
        if let Some(path) = &self.path {
            return path.clone();
        }
        let Some(file) = database.strip_prefix("sqlite://") else {
            return PathBuf::from("tollgate-spool.db");
        };
        let file = Path::new(file);
        let stem = file.file_stem().unwrap_or_default().to_string_lossy();
        file.with_file_name(format!("{stem}-spool.db"))
    }

    /// What it could not work with.
    pub(super) fn fault(&self) -> Option<String> {
        if self.max_mb == 0 {
            return Some("spool.max_mb must be at least 1".to_owned());
        }
        (self.settle_timeout_ms < 50)
            .then(|| "spool.settle_timeout_ms must be at least 50".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_beside_the_database_unless_it_is_named() {
        let mut spool = Spool::default();
        let beside = spool.file("sqlite:///var/lib/books.db");
        assert_eq!(beside, Path::new("/var/lib/books-spool.db"));
        let local = Path::new("tollgate-spool.db");
        assert_eq!(spool.file("sqlite://tollgate.db"), local);
        assert_eq!(spool.file("postgres://u:p@h/books"), local);
        spool.path = Some("/s/x".into());
        assert_eq!(spool.file("sqlite://tollgate.db"), Path::new("/s/x"));
    }

    #[test]
    fn one_that_could_not_work_is_refused() {
        assert_eq!(Spool::default().fault(), None);
        for (max_mb, settle_timeout_ms) in [(0, 2000), (1, 10)] {
            let spool = Spool {
                path: None,
                max_mb,
                settle_timeout_ms,
            };
            assert!(spool.fault().is_some());
        }
    }
}
