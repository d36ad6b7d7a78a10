//! How a proof speaks: progress while it runs, one line of JSON at its end.

use std::io::Write;
use std::process::ExitCode;

use serde_json::Value;

use crate::Failure;

/// Says how far it is.
pub fn say(text: &str) {
    // Nobody may be listening any more; the verdict is in the exit code.
    drop(writeln!(std::io::stderr(), "{text}"));
}

/// What is wrong, collected.
#[derive(Debug, Default)]
pub struct Findings(Vec<String>);

impl Findings {
    /// Notes a claim that does not hold.
    pub fn check(&mut self, holds: bool, claim: impl FnOnce() -> String) {
        if !holds {
            let claim = claim();
            say(&format!("  BROKEN: {claim}"));
            self.0.push(claim);
        }
    }

    /// Takes over what was found elsewhere.
    pub fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// Whether everything held.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What did not hold.
    pub fn list(&self) -> &[String] {
        &self.0
    }
}

/// Ends a proof: writes its line with a verdict, and says it with the exit code too.
pub fn end(proof: &str, ran: Result<(Value, Findings), Failure>) -> ExitCode {
    let (mut line, findings) = match ran {
        Ok(ran) => ran,
        Err(error) => {
            say(&format!("{proof}: {error}"));
            let mut broken = Findings::default();
            broken.0.push(error.to_string());
            (serde_json::json!({ "proof": proof }), broken)
        }
    };
    let holds = findings.is_empty();
    line["verdict"] = if holds { "pass" } else { "fail" }.into();
    if !holds {
        line["broken"] = findings.list().into();
    }
    let written = writeln!(std::io::stdout(), "{line}");
    if holds && written.is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
