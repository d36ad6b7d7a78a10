//! `tollgate migrate`.

use super::{CliError, Place, say};
use crate::wiring::{Ports, WiringError, open_ports};

/// Brings the database to this version's schema.
pub(crate) async fn run(place: &Place) -> Result<(), CliError> {
    let ports = open_ports(&place.config()?).await?;
    let steps = migrate(&ports).await?;
    say(&match steps {
        0 => "the schema is up to date".to_owned(),
        1 => "1 step taken; the schema is up to date".to_owned(),
        n => format!("{n} steps taken; the schema is up to date"),
    });
    Ok(())
}

/// Takes the steps that the schema lacks, and the date from the books, which could not be read before.
pub(crate) async fn migrate(ports: &Ports) -> Result<usize, CliError> {
    let steps = ports
        .store
        .migrate(|step, done, all| tracing::info!(step, "migrating, step {} of {all}", done + 1))
        .await?;
    ports.date.read().await.map_err(WiringError::from)?;
    Ok(steps)
}
