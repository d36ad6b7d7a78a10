//! `tollgate migrate`.

use super::{CliError, Place, say};
use crate::wiring::{Store, open_ports};

/// Brings the database to this version's schema.
pub(crate) async fn run(place: &Place) -> Result<(), CliError> {
    let ports = open_ports(&place.config()?).await?;
    let steps = migrate(&ports.store).await?;
    say(&match steps {
        0 => "the schema is up to date".to_owned(),
        1 => "1 step taken; the schema is up to date".to_owned(),
        n => format!("{n} steps taken; the schema is up to date"),
    });
    Ok(())
}

/// Takes the steps that the schema lacks.
pub(crate) async fn migrate(store: &Store) -> Result<usize, CliError> {
    let steps = store
        .migrate(|step, done, all| tracing::info!(step, "migrating, step {} of {all}", done + 1))
        .await?;
    Ok(steps)
}
