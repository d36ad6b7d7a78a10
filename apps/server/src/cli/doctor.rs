//! `tollgate doctor`: is everything as it should be?

use clap::Args;
use serde::Serialize;

use super::{CliError, Place, say};
use crate::config::Config;
use crate::wiring::{Ports, open_ports};

/// Arguments of `doctor`.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    place: Place,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Finding {
    what: &'static str,
    good: bool,
    detail: String,
}

/// Looks at configuration, database, prices, channels and books; fails with 1 if any is ill.
pub(crate) async fn run(args: DoctorArgs) -> Result<(), CliError> {
    let config = args.place.config()?;
    let mut findings = vec![credentials(&config)];
    match open_ports(&config).await {
        Ok(ports) => findings.extend(examine(&ports).await),
        Err(error) => {
            findings.push(Finding {
                what: "database",
                good: false,
                detail: error.to_string(),
            });
        }
    }
    let text = if args.json {
        serde_json::to_string(&findings).unwrap_or_default()
    } else {
        let line = |f: &Finding| {
            format!(
                "{} {:<12} {}",
                if f.good { "ok  " } else { "FAIL" },
                f.what,
                f.detail
            )
        };
        findings.iter().map(line).collect::<Vec<_>>().join("\n")
    };
    say(&text);
    match findings.iter().filter(|f| !f.good).count() {
        0 => Ok(()),
        n => Err(CliError::Found(format!(
            "{n} of {} checks failed",
            findings.len()
        ))),
    }
}

fn credentials(config: &Config) -> Finding {
    let wrong: Vec<String> = config
        .channel
        .iter()
        .enumerate()
        .filter_map(|(number, channel)| channel.credential(number).err())
        .map(|error| error.to_string())
        .collect();
    let detail = match (config.channel.len(), wrong.is_empty()) {
        (0, _) => "none configured; only `tollgate demo` brings its own".to_owned(),
        (n, true) => format!("{n} configured, credentials found"),
        (_, false) => wrong.join("; "),
    };
    Finding {
        what: "channels",
        good: wrong.is_empty(),
        detail,
    }
}

async fn examine(ports: &Ports) -> Vec<Finding> {
    let schema = match ports.store.pending_migrations().await {
        Ok(pending) if pending.is_empty() => (true, "up to date".to_owned()),
        Ok(pending) => (
            false,
            format!("{} steps behind: run `tollgate migrate`", pending.len()),
        ),
        Err(error) => (false, error.to_string()),
    };
    let migrated = schema.0;
    let mut findings = vec![Finding {
        what: "schema",
        good: schema.0,
        detail: schema.1,
    }];
    if !migrated {
        return findings;
    }
    let (good, detail) = match ports.catalogue.price_book().await {
        Ok(book) if book.is_empty() => (false, "no price: run `tollgate prices import`".to_owned()),
        Ok(book) => (true, format!("{} models", book.len())),
        Err(error) => (false, error.to_string()),
    };
    findings.push(Finding {
        what: "prices",
        good,
        detail,
    });
    let (good, detail) = match ports.books.verify(None, 100).await {
        Ok(proofs) => {
            let broken = proofs.iter().filter(|p| !p.broken.is_empty()).count();
            (
                broken == 0,
                format!(
                    "{broken} broken among the first {} accounts; `tollgate ledger verify` proves all",
                    proofs.len()
                ),
            )
        }
        Err(error) => (false, error.to_string()),
    };
    findings.push(Finding {
        what: "books",
        good,
        detail,
    });
    findings
}
