//! The table as a page of the reference.

use std::fmt::Write as _;

use super::table::{Act, Case, Charge, Expected};

const HEAD: &str = "# What becomes of a call

What the caller gets and what is charged, whatever happens to a call. Each row is a call that \
`tests/tests/outcomes.rs` makes, against the running binary, and reads back from list and receipt; \
this page is written from the same table (`TOLLGATE_BLESS=1 cargo test -p acceptance --test outcomes`).

The rules behind the rows:

1. A count of the provider that can be true is charged as it is, zero included.
2. Without such a count, input and delivered output are counted here and the call is marked \
`estimated`.
3. A count beyond what the model can produce is not believed: what had been held is charged, and \
the call is marked `quarantined`.
4. Where nothing was delivered, nothing is charged.

Prices of the simulated models: input $1, cache read $0.10, output $4 a million tokens; embeddings \
$0.10. The prompt has 3 words, which are 3 tokens to the simulated models and 12 to the counter \
here (with the template around the message); `max_tokens` is 50. The hold is the worst case: half \
of the body's bytes and 32 tokens of template as input, and `max_tokens` of output.

| What happens | Model | Streamed | The caller gets | Outcome | Counted by | Charged | Why |
|---|---|---|---|---|---|---|---|
";

/// The page.
pub(super) fn render(table: &[Case]) -> String {
    let mut page = HEAD.to_owned();
    for case in table {
        match (case.whole, case.streamed) {
            (Some(whole), Some(streamed)) if is_same(&whole, &streamed) => {
                row(&mut page, case, "either", &whole);
            }
            (whole, streamed) => {
                let forms = [("no", whole), ("yes", streamed)];
                for (form, expected) in forms {
                    if let Some(expected) = expected {
                        row(&mut page, case, form, &expected);
                    }
                }
            }
        }
    }
    page
}

fn is_same(whole: &Expected, streamed: &Expected) -> bool {
    whole.caller == streamed.caller && whole.charge == streamed.charge
}

fn row(page: &mut String, case: &Case, form: &str, expected: &Expected) {
    let what = match case.act {
        Act::Stays | Act::LeavesBefore => case.what.to_owned(),
        Act::LeavesAfter(0) => format!("{}, after its head", case.what),
        Act::LeavesAfter(events) => format!("{}, after {} words", case.what, events - 1),
    };
    // Writing to a String does not fail.
    let _ = writeln!(
        page,
        "| {what} | `{}` | {form} | {} | `{}` | {} | {} | {} |",
        case.model,
        expected.caller,
        expected.outcome,
        expected.source,
        charged(expected.charge),
        expected.why,
    );
}

fn charged(charge: Charge) -> String {
    let dollars = |nanos: u64| {
        let text = format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000);
        format!("${}", text.trim_end_matches('0').trim_end_matches('.'))
    };
    match charge {
        Charge::Nothing => "nothing".to_owned(),
        Charge::Hold => "the hold".to_owned(),
        Charge::Embedded(tokens) => format!("{tokens} in: {}", dollars(tokens * 100)),
        Charge::Tokens(input, 0, output) => {
            format!(
                "{input} in, {output} out: {}",
                dollars(input * 1_000 + output * 4_000)
            )
        }
        Charge::Tokens(input, cached, output) => {
            let sum = input * 1_000 + cached * 100 + output * 4_000;
            format!(
                "{input} in, {cached} from the cache, {output} out: {}",
                dollars(sum)
            )
        }
    }
}
