//! Which deployment a database is.

use std::fmt;
use std::str::FromStr;

use time::OffsetDateTime;

use crate::db;
use crate::error::StoreError;
use crate::instant::{get, micros};
use crate::open::Store;

/// The id of a deployment: 128 random bits, drawn once for its database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DeploymentId(u128);

impl fmt::Display for DeploymentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "dep_{:032x}", self.0)
    }
}

impl FromStr for DeploymentId {
    type Err = StoreError;
    fn from_str(text: &str) -> Result<Self, StoreError> {
        text.strip_prefix("dep_")
            .filter(|digits| digits.len() == 32)
            .and_then(|digits| u128::from_str_radix(digits, 16).ok())
            .map(Self)
            .ok_or_else(|| StoreError::unreadable("deployment", "the id is none"))
    }
}

impl DeploymentId {
    /// A new one.
    ///
    /// # Errors
    /// [`StoreError::Start`]: the operating system gives no random bytes.
    pub fn draw() -> Result<Self, StoreError> {
        let mut bytes = [0_u8; 16];
        getrandom::fill(&mut bytes).map_err(|e| StoreError::Start(e.to_string()))?;
        Ok(Self(u128::from_be_bytes(bytes)))
    }
}

impl Store {
    /// The id of this deployment, drawn when it is asked for the first time.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn deployment(&self, now: OffsetDateTime) -> Result<DeploymentId, StoreError> {
        if let Some(id) = self.known_deployment().await? {
            return Ok(id);
        }
        // Nodes that start together draw one each, and all take the first.
        let text = "INSERT INTO deployment (one, id, created_at) VALUES (1, ?, ?) \
                    ON CONFLICT (one) DO NOTHING";
        let drawn = DeploymentId::draw()?.to_string();
        db::run(
            &self.db.writer,
            text,
            vec![drawn.into(), micros(now).into()],
        )
        .await?;
        let id = self.known_deployment().await?;
        id.ok_or_else(|| StoreError::unreadable("deployment", "it has no row"))
    }

    async fn known_deployment(&self) -> Result<Option<DeploymentId>, StoreError> {
        let text = "SELECT id FROM deployment";
        let row = db::one(&self.db.reader, text, Vec::new()).await?;
        row.map(|row| get::<String>(&row, "id")?.parse())
            .transpose()
    }
}
