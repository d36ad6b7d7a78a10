//! `tollgate sim`: the simulated models over HTTP.

use clap::Args;

use super::{CliError, say};

/// Arguments of `sim`.
#[derive(Debug, Args)]
pub(crate) struct SimArgs {
    /// Where to take requests
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8090")]
    listen: String,
}

/// Serves until the process ends.
pub(crate) async fn run(args: SimArgs) -> Result<(), CliError> {
    let listener = tokio::net::TcpListener::bind(&args.listen)
        .await
        .map_err(CliError::io(format!("cannot listen on {}", args.listen)))?;
    let address = listener
        .local_addr()
        .map_err(CliError::io("the socket has no address"))?;
    say(&format!("simulated models on http://{address}/v1"));
    crate::wiring::serve_simulated(listener)
        .await
        .map_err(CliError::io("the simulator failed"))
}
