//! What a price depends on beside the tokens: what is held for a call is what it may come to cost, and
//! it is charged what it turned out to be.
#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use std::time::{Duration, Instant};

use acceptance::call::{Ask, Ending};
use acceptance::figure::nanos_of_text;
use acceptance::served::Served;
use serde_json::{Value, json};

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

/// What the reply states goes before what the upstream's configuration does; the hold covers either.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_charged_by_the_region_that_it_was_served_in() {
    let config = "
[[channel]]
name = \"europe\"
protocol = \"simulated\"
models = [\"sim/echo\"]
priority = 1
attributes = { region = \"eu\" }
";
    let served = Served::start(config, 1_000_000_000_000).await.unwrap();
    let prices = "
tollgate_prices: 1
currency: USD
models:
  sim/echo:
    provider: simulated
    mode: chat
    max_output_tokens: 1000
    per_million_tokens: {input: 1, output: 4}
    when:
      region=eu:
        per_million_tokens: {input: 3, output: 12}
      region=us:
        per_million_tokens: {input: 5, output: 20}
      region=us, speed=fast:
        per_million_tokens: {input: 10, output: 40}
";
    // Three words are said and said again.
    let costs = |factor: i128| 3 * 1_000 * factor + 3 * 4_000 * factor;
    import(&served, prices, &Ask::of("sim/echo"), costs(3)).await;
    for (model, factor, attributes) in [
        ("sim/echo", 3, json!({"region": "eu"})),
        ("sim/echo?geo=us", 5, json!({"region": "us"})),
        ("sim/echo?geo=global", 1, json!({"region": "global"})),
        (
            "sim/echo?speed=fast",
            3,
            json!({"region": "eu", "speed": "fast"}),
        ),
        (
            "sim/echo?geo=us&speed=fast",
            10,
            json!({"region": "us", "speed": "fast"}),
        ),
    ] {
        for stream in [false, true] {
            let ask = Ask::of(model).streamed(stream);
            let answer = served.payer.caller.call(&ask).await;
            assert!(answer.is_complete(), "{answer:?}");
            assert_eq!(answer.cost_nanos(), Some(costs(factor)), "{model}");
            let id = answer.id.as_deref().unwrap();
            let receipt = served.receipt(&served.payer, id).await.unwrap();
            assert_eq!(nanos(&receipt["charge"]), costs(factor));
            assert_eq!(receipt["price"]["attributes"], attributes);
            let held = input_bound(&ask) * 10_000 + 1_000 * 40_000;
            assert_eq!(nanos(&receipt["held"]), held, "{receipt}");
        }
    }
    served.gate.verify_ledger().unwrap();
}
