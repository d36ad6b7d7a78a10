//! How often a fee that could not be collected is tried again, and what happens then.

use billing_core::subscription::{AtEnd, Dunning};
use serde::{Deserialize, Serialize};

/// What happens to fees that cannot be collected.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct DunningSettings {
    /// After how many days it is tried again, each from the try before it.
    pub(crate) retry_days: Vec<u8>,
    /// For how many days from the first failure calls go on.
    pub(crate) grace_days: u8,
    /// What becomes of the subscription after the last try: `end`, or `wait` for somebody to pay.
    pub(crate) at_end: String,
}

impl Default for DunningSettings {
    fn default() -> Self {
        let usual = Dunning::default();
        Self {
            retry_days: usual.retry_days,
            grace_days: usual.grace_days,
            at_end: usual.at_end.name().to_owned(),
        }
    }
}

impl DunningSettings {
    /// What the rules make of it; what is wrong with it otherwise, naming the setting.
    pub(crate) fn ladder(&self) -> Result<Dunning, String> {
        let ends = [AtEnd::End, AtEnd::Wait];
        let at_end = ends.into_iter().find(|end| end.name() == self.at_end);
        let at_end = at_end.ok_or_else(|| {
            format!(
                "dunning.at_end is \"{}\"; give \"end\" or \"wait\"",
                self.at_end
            )
        })?;
        let ladder = Dunning {
            retry_days: self.retry_days.clone(),
            grace_days: self.grace_days,
            at_end,
        };
        let is_one = ladder.check();
        is_one.map_err(|error| format!("dunning.retry_days: {error}"))?;
        Ok(ladder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Dunning, String> {
        let read: DunningSettings = toml::from_str(text).map_err(|error| error.to_string())?;
        read.ladder()
    }

    #[test]
    fn without_settings_the_ladder_is_the_usual_one() {
        assert_eq!(read(""), Ok(Dunning::default()));
    }

    #[test]
    fn a_ladder_is_read() {
        let ladder = Dunning {
            retry_days: vec![2, 5],
            grace_days: 0,
            at_end: AtEnd::Wait,
        };
        let text = "retry_days = [2, 5]\ngrace_days = 0\nat_end = \"wait\"";
        assert_eq!(read(text), Ok(ladder));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, named) in [
            ("retry_days = []", "dunning.retry_days: 0 retries"),
            (
                "retry_days = [1,1,1,1,1,1,1,1,1,1,1,1,1]",
                "dunning.retry_days: 13 retries",
            ),
            ("retry_days = [1, 0]", "dunning.retry_days: retry 2"),
            ("retry_days = [256]", "retry_days"),
            ("retry_days = [-1]", "retry_days"),
            ("grace_days = 300", "grace_days"),
            ("at_end = \"delete\"", "dunning.at_end is \"delete\""),
            ("grace = 3", "grace"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(named), "{text}: {error}");
        }
    }
}
