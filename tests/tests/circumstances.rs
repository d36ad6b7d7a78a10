//! What a price depends on beside the tokens: what is held for a call is what it may come to cost, and
//! it is charged what it turned out to be.
#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use std::time::{Duration, Instant};

use acceptance::call::{Ask, Ending};
use acceptance::figure::nanos_of_text;
use acceptance::served::Served;
use serde_json::Value;

/// What a change of prices may take to reach the node.
const SOON: Duration = Duration::from_secs(20);
/// What is held of an answer that nobody bounds, in tokens.
const UNBOUNDED: i128 = 256;
const LIMITS: &str = "[limits]\ndefault_output_tokens = 256\n";

/// Imports prices, and waits until a short call of the model costs so many nanos.
async fn import(served: &Served, prices: &str, short: &Ask, costs: i128) {
    let file = served.gate.data().join("prices.yaml");
    std::fs::write(&file, prices).unwrap();
    let database = served.gate.data().join("tollgate.db");
    let database = format!("sqlite://{}", database.display());
    let import = ["prices", "import", "--confirm", "--database", &database];
    let done = served
        .gate
        .run(&[&import[..], &[file.to_str().unwrap()]].concat());
    let done = done.unwrap();
    assert!(done.status.success(), "{done:?}");
    let since = Instant::now();
    loop {
        let answer = served.payer.caller.call(short).await;
        if answer.cost_nanos() == Some(costs) {
            return;
        }
        assert!(
            since.elapsed() < SOON,
            "the prices do not arrive: {answer:?}"
        );
    }
}

fn nanos(money: &Value) -> i128 {
    nanos_of_text(money["amount"].as_str().unwrap()).unwrap()
}

/// The most input that a request can have, in tokens.
fn input_bound(ask: &Ask) -> i128 {
    i128::try_from(ask.body().len().div_ceil(2) + 32).unwrap()
}

/// The price of the tier that was asked for, for a prompt as long as it may turn out to be.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_outgrows_its_hold_is_extended_at_the_price_it_may_come_to_have() {
    let served = Served::start(LIMITS, 1_000_000_000_000).await.unwrap();
    let prices = "
tollgate_prices: 1
currency: USD
models:
  sim/lorem:
    provider: simulated
    mode: chat
    per_million_tokens:
      input: 1
      \"input>10\": 2
      output: 3
      \"output>10\": 6
      \"output@priority\": 40
      \"output@priority>10\": 80
";
    let short = Ask::of("sim/lorem?tokens=1").at_most(1);
    import(&served, prices, &short, 3 * 1_000 + 3_000).await;
    let ask = Ask::of("sim/lorem?tokens=600").in_tier("priority");
    let ask = ask.streamed(true);
    let answer = served.payer.caller.call(&ask).await;
    assert_eq!(answer.ending, Ending::Done, "{answer:?}");
    let id = answer.id.as_deref().unwrap();
    let receipt = served.receipt(&served.payer, id).await.unwrap();
    // The simulated provider serves everybody in the ordinary tier.
    assert_eq!(nanos(&receipt["charge"]), 3 * 1_000 + 600 * 3_000);
    let output = nanos(&receipt["held"]) - input_bound(&ask) * 2_000;
    let tokens = output / 80_000;
    assert_eq!(output, tokens * 80_000, "{receipt}");
    assert!(tokens >= 600 && tokens % UNBOUNDED == 0, "{tokens}");
    served.gate.verify_ledger().unwrap();
}
