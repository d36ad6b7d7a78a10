//! What a proof is told on its command line.

use std::collections::BTreeMap;
use std::str::FromStr;

use crate::Failure;

/// Switches and named values, each known to the proof that asks.
#[derive(Debug, Default)]
pub struct Arguments {
    switches: Vec<String>,
    values: BTreeMap<String, String>,
}

impl Arguments {
    /// The arguments of this process: `switches` stand alone, `values` are followed by one.
    ///
    /// # Errors
    /// One is unknown, or a value is missing.
    pub fn of_process(switches: &[&str], values: &[&str]) -> Result<Self, Failure> {
        Self::read(std::env::args().skip(1), switches, values)
    }

    fn read(
        mut given: impl Iterator<Item = String>,
        switches: &[&str],
        values: &[&str],
    ) -> Result<Self, Failure> {
        let mut arguments = Self::default();
        while let Some(name) = given.next() {
            if switches.contains(&name.as_str()) {
                arguments.switches.push(name);
            } else if values.contains(&name.as_str()) {
                let value = given
                    .next()
                    .ok_or_else(|| format!("{name} needs a value"))?;
                arguments.values.insert(name, value);
            } else {
                return Err(
                    format!("unknown argument {name}; known: {switches:?} {values:?}").into(),
                );
            }
        }
        Ok(arguments)
    }

    /// Whether a switch was given.
    pub fn has(&self, switch: &str) -> bool {
        self.switches.iter().any(|given| given == switch)
    }

    /// A value, or what holds where it was not given.
    ///
    /// # Errors
    /// It is not what it should be.
    pub fn value<T: FromStr>(&self, name: &str, otherwise: T) -> Result<T, Failure> {
        match self.values.get(name) {
            None => Ok(otherwise),
            Some(text) => text
                .parse()
                .map_err(|_| format!("{name}: `{text}` is none").into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_refused() {
        let read = |line: &str| {
            let given = line.split_whitespace().map(str::to_owned);
            Arguments::read(given, &["--short"], &["--seed"])
        };
        let arguments = read("--seed 7 --short").unwrap();
        assert!(arguments.has("--short"));
        assert_eq!(arguments.value("--seed", 1_u64).unwrap(), 7);
        assert_eq!(read("").unwrap().value("--seed", 1_u64).unwrap(), 1);
        assert!(read("--sede 7").is_err() && read("--seed").is_err());
        assert!(read("--seed x").unwrap().value("--seed", 1_u64).is_err());
    }
}
