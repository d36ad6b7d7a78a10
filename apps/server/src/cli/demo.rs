//! `tollgate demo`: everything in one folder, seeded, with nothing to set up.

mod calls;
mod customers;
mod history;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use billing_core::attribute::Attributes;
use billing_core::money::{Currency, Nanos};
use clap::Args;
use serde::{Deserialize, Serialize};

use super::accounts::{add_funds, make_account, make_operator};
use super::keys::{NewKey, make_key};
use super::prices::record;
use super::serve::{Signals, Socket};
use super::{CliError, say, serve};
use crate::catalogue;
use crate::config::{Channel, Config, DatabaseUrl, Protocol};
use crate::wiring::{OwnSpool, Ports, WiringError, open_house, open_ports, open_spool, sqlite_url};

const OPERATOR: &str = "operator@demo.test";
/// Enough for several hundred thousand calls of the simulated models.
const FUNDS: &str = "1000.00";

/// Arguments of `demo`.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Where everything is kept
    #[arg(long, value_name = "FOLDER", default_value = ".demo")]
    data: PathBuf,
    /// Where to take requests
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: String,
    /// Another database than the SQLite file in the folder
    #[arg(long, value_name = "URL")]
    database: Option<String>,
    /// How many days of customers' calls, plans and invoices a new demo comes with
    #[arg(long, value_name = "DAYS", default_value_t = 90,
        value_parser = clap::value_parser!(u16).range(..=365))]
    days: u16,
}

/// How to reach a demo. Kept in its folder, so that a second start shows the same.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Credentials {
    base_url: String,
    api_key: String,
    empty_key: String,
    operator_email: String,
    operator_password: String,
    account_id: String,
    /// Who owns one of the accounts with a past; missing where the demo has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    customer: Option<Login>,
}

/// How somebody signs in.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Login {
    email: String,
    password: String,
    account_id: String,
}

/// The SQLite file of a demo's folder.
pub(crate) fn database_file(folder: &Path) -> PathBuf {
    folder.join("tollgate.db")
}

/// Seeds the folder where it is new, shows how to go on, and serves.
pub(crate) async fn run(args: DemoArgs) -> Result<(), CliError> {
    let folder = args.data;
    std::fs::create_dir_all(&folder)
        .map_err(CliError::io(format!("cannot make {}", folder.display())))?;
    let mut config = Config {
        listen: args.listen,
        ..Config::default()
    };
    let url = args
        .database
        .unwrap_or_else(|| sqlite_url(&database_file(&folder)));
    config.database.url = DatabaseUrl(url);
    config.channel = vec![simulated()];
    config.clock.movable = true;
    config.spool.path = Some(folder.join("tollgate-spool.db"));
    let socket = Socket::bind(&config.listen)?;
    let spool = open_spool(&config).await?;
    // Long enough for every simulated model that answers, and short for one that never does.
    config.limits.upstream_head_ms = 5_000;
    let ports = open_ports(&config).await?;
    say("tollgate demo: preparing the database");
    ports.store.migrate(|_, _, _| ()).await?;
    ports.date.read().await.map_err(WiringError::from)?;
    let file = folder.join("credentials.json");
    let credentials = if let Some(credentials) = read(&file) {
        credentials
    } else {
        let customer = live(&config, &ports, &spool, (args.days, &folder)).await?;
        seed(&ports, customer).await?
    };
    let house = open_house(&config, ports, spool).await?;
    let mut problem = None;
    let signals = Signals::hear()?;
    serve::serve(house, config, (socket, signals), |address| {
        let credentials = Credentials {
            base_url: format!("http://{address}"),
            ..credentials
        };
        problem = write(&file, &credentials).err();
        show(&credentials, address, &folder);
    })
    .await?;
    problem.map_or(Ok(()), Err)
}

fn simulated() -> Channel {
    Channel {
        name: Some("simulated".to_owned()),
        protocol: Protocol::Simulated,
        base_url: None,
        credential: None,
        ca_file: None,
        models: vec!["sim/*".to_owned()],
        strip_prefix: None,
        priority: 0,
        weight: 1,
        lanes: None,
        boosted_only: false,
        attributes: Attributes::NONE,
    }
}

/// Lives through the customers' past, where there is to be one; answers with who owns one of them.
async fn live(
    config: &Config,
    ports: &Ports,
    spool: &OwnSpool,
    (days, folder): (u16, &Path),
) -> Result<Option<Login>, CliError> {
    if days == 0 {
        return Ok(None);
    }
    if customers::are_there(ports).await? {
        return Err(CliError::Argument(format!(
            "the demo in {} was not finished; delete that folder, or the database, and start again",
            folder.display()
        )));
    }
    say(&format!(
        "tollgate demo: living through {days} days of four customers"
    ));
    history::live(config, spool, days).await.map(Some)
}

/// Records the prices that are shipped, from the date of these ports on.
async fn take_catalogue(ports: &Ports) -> Result<(), CliError> {
    say("tollgate demo: taking over the price catalogue");
    let book = ports.catalogue.price_book().await?;
    let drafts = catalogue::shipped().map_err(|error| CliError::Import {
        file: "the shipped catalogue".to_owned(),
        error,
    })?;
    record(
        ports,
        &book,
        drafts,
        "the catalogue shipped with Tollgate".to_owned(),
    )
    .await?;
    Ok(())
}

async fn seed(ports: &Ports, customer: Option<Login>) -> Result<Credentials, CliError> {
    if customer.is_none() {
        take_catalogue(ports).await?;
    }
    let funds = Nanos::parse(FUNDS).map_err(|error| CliError::Argument(error.to_string()))?;
    let account = make_account(ports, "Demo", Currency::USD).await?;
    add_funds(ports, account, funds, ("demo", "funds of the demo")).await?;
    let empty = make_account(ports, "Demo without funds", Currency::USD).await?;
    let key = |account, name: &str| NewKey {
        account,
        member: None,
        name: name.to_owned(),
        limit: None,
        models: Vec::new(),
    };
    Ok(Credentials {
        base_url: String::new(),
        api_key: make_key(ports, key(account, "demo")).await?.1,
        empty_key: make_key(ports, key(empty, "demo without funds")).await?.1,
        operator_email: OPERATOR.to_owned(),
        operator_password: make_operator(ports, OPERATOR).await?,
        account_id: account.to_string(),
        customer,
    })
}

fn read(file: &Path) -> Option<Credentials> {
    serde_json::from_slice(&std::fs::read(file).ok()?).ok()
}

/// Writes the file whole or not at all, readable by its owner alone.
fn write(file: &Path, credentials: &Credentials) -> Result<(), CliError> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;

    let failed = || format!("cannot write {}", file.display());
    let text = serde_json::to_string_pretty(credentials).unwrap_or_default();
    let draft = file.with_extension("json.new");
    let mut options = std::fs::OpenOptions::new();
    let opened = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&draft);
    let mut out = opened.map_err(CliError::io(failed()))?;
    out.write_all(text.as_bytes())
        .map_err(CliError::io(failed()))?;
    drop(out);
    std::fs::rename(&draft, file).map_err(CliError::io(failed()))
}

/// How this program was called, so that what is printed works when it is pasted.
fn own_name() -> String {
    std::env::args().next().unwrap_or_else(|| "tollgate".into())
}

fn show(credentials: &Credentials, address: SocketAddr, folder: &Path) {
    let Credentials {
        api_key,
        operator_email,
        operator_password,
        customer,
        ..
    } = credentials;
    let customer = customer.as_ref().map_or_else(String::new, |customer| {
        let Login {
            email, password, ..
        } = customer;
        format!("\n  a customer       {email}  password {password}  (one of four with a past)")
    });
    say(&format!(
        r#"
Tollgate is serving on http://{address}  (demo data in {folder})

Make a call that is priced, paid for and charged:

  curl -si http://{address}/v1/chat/completions \
    -H "Authorization: Bearer {api_key}" \
    -H "content-type: application/json" \
    -d '{{"model":"sim/echo","messages":[{{"role":"user","content":"hello there"}}]}}'

Then have it explained (its id is in the x-request-id header of the answer):

  curl -s "http://{address}/v1/generation?id=req_..." -H "Authorization: Bearer {api_key}"

  what is left     curl -s http://{address}/v1/credits -H "Authorization: Bearer {api_key}"
  other models     sim/lorem sim/slow sim/flaky sim/cut sim/no-usage sim/embedding
  the API          http://{address}/docs/
  operator         {operator_email}  password {operator_password}{customer}
  prove the books  {tollgate} ledger verify --data {folder}
  move the date    {tollgate} clock advance --by 30d --data {folder}
"#,
        tollgate = own_name(),
        folder = folder.display(),
    ));
}
