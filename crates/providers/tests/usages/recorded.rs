//! Bodies that providers sent.

use billing_core::meter::Usage;
use serde_json::Value;

use crate::{Read, given, tokens};

macro_rules! recorded {
    ($name:literal) => {
        include_str!(concat!("../../fixtures/usage/", $name, ".jsonl"))
    };
}

/// The members that are the provider's count of the prompt, and of everything.
struct Totals {
    prompt: &'static [&'static str],
    all: &'static [&'static str],
}

const OPENAI: Totals = Totals {
    prompt: &["prompt_tokens"],
    all: &["total_tokens"],
};
const RESPONSES: Totals = Totals {
    prompt: &["input_tokens"],
    all: &["total_tokens"],
};
const ANTHROPIC: Totals = Totals {
    prompt: &[
        "input_tokens",
        "cache_read_input_tokens",
        "cache_creation_input_tokens",
    ],
    all: &[
        "input_tokens",
        "cache_read_input_tokens",
        "cache_creation_input_tokens",
        "output_tokens",
    ],
};
const GEMINI: Totals = Totals {
    prompt: &["promptTokenCount", "toolUsePromptTokenCount"],
    all: &["totalTokenCount"],
};
const GEMINI_EMBEDDINGS: Totals = Totals {
    prompt: &["promptTokenCount"],
    all: &["promptTokenCount"],
};

fn lines(recorded: &str) -> Vec<Value> {
    let lines = recorded.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn sum(usage: &Value, names: &[&str]) -> u64 {
    names.iter().filter_map(|name| usage[name].as_u64()).sum()
}

/// How many bodies hold: as many as there are.
fn hold(recorded: &str, read: Read, totals: &Totals) -> usize {
    let lines = lines(recorded);
    for line in &lines {
        let usage = given(read, &line["usage"].to_string());
        let meters: Usage = serde_json::from_value(line["meters"].clone()).unwrap();
        assert_eq!(usage, meters, "{line}");
        assert_eq!(usage.prompt_tokens(), sum(&line["usage"], totals.prompt));
        assert_eq!(tokens(&usage), sum(&line["usage"], totals.all), "{line}");
    }
    lines.len()
}

#[test]
fn meters_of_openai_and_of_whoever_speaks_like_it_are_its_total() {
    assert_eq!(
        hold(recorded!("openai_chat"), crate::openai_chat, &OPENAI),
        14
    );
    assert_eq!(hold(recorded!("deepseek"), crate::openai_chat, &OPENAI), 8);
    let responses = recorded!("openai_responses");
    assert_eq!(hold(responses, crate::openai_responses, &RESPONSES), 8);
    let embeddings = recorded!("openai_embeddings");
    assert_eq!(hold(embeddings, crate::openai_embeddings, &OPENAI), 2);
}

#[test]
fn meters_of_gemini_are_its_total() {
    assert_eq!(hold(recorded!("gemini"), crate::gemini, &GEMINI), 26);
    let embeddings = recorded!("gemini_embeddings");
    let read = crate::gemini_embeddings;
    assert_eq!(hold(embeddings, read, &GEMINI_EMBEDDINGS), 2);
}

#[test]
fn meters_of_anthropic_are_the_sum_of_its_classes() {
    let bodies = recorded!("anthropic");
    assert_eq!(hold(bodies, crate::anthropic, &ANTHROPIC), 22);
    let mut beside = 0;
    for line in lines(bodies) {
        let usage = &line["usage"];
        let counts = providers::anthropic::usage::Counts::read(&usage.to_string()).unwrap();
        let none = Vec::new();
        let wanted = line["apart"].as_array().unwrap_or(&none);
        assert_eq!(counts.apart().len(), wanted.len(), "{line}");
        for (apart, wanted) in counts.apart().iter().zip(wanted) {
            assert_eq!(apart.model.as_deref(), wanted["model"].as_str());
            let meters: Usage = serde_json::from_value(wanted["meters"].clone()).unwrap();
            assert_eq!(apart.usage, meters, "{line}");
        }
        let iterations = usage["iterations"].as_array().unwrap_or(&none);
        if iterations.is_empty() {
            continue;
        }
        // What is apart and what is in the answer's counts are together all that was done.
        let all: u64 = iterations.iter().map(|one| sum(one, ANTHROPIC.all)).sum();
        let apart: u64 = counts.apart().iter().map(|one| tokens(&one.usage)).sum();
        assert_eq!(all, apart + sum(usage, ANTHROPIC.all), "{line}");
        beside += wanted.len();
    }
    assert_eq!(beside, 6);
}

#[test]
fn the_last_usage_of_a_stream_is_the_answers() {
    use providers::{anthropic, gemini};
    let mut counts = anthropic::usage::Counts::default();
    // As documented of a stream with a search: the prompt grows by what was found.
    for usage in [
        r#"{"input_tokens":2679,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":3,"service_tier":"standard"}"#,
        r#"{"input_tokens":10682,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":510,"server_tool_use":{"web_search_requests":1}}"#,
    ] {
        counts.merge(anthropic::usage::Counts::read(usage).unwrap());
    }
    let whole =
        r#"{"input_tokens":10682,"output_tokens":510,"server_tool_use":{"web_search_requests":1}}"#;
    let gateway_core::metering::Reported::Given(usage) = counts.reported() else {
        panic!("{counts:?}")
    };
    assert_eq!(usage, given(crate::anthropic, whole));
    assert_eq!(counts.service_tier(), Some("standard"));

    let mut counts = gemini::usage::Counts::default();
    let last = r#"{"promptTokenCount":249,"candidatesTokenCount":58,"totalTokenCount":490,"trafficType":"ON_DEMAND_PRIORITY","thoughtsTokenCount":183}"#;
    for usage in [
        r#"{"trafficType":"ON_DEMAND_PRIORITY"}"#,
        r#"{"promptTokenCount":249,"totalTokenCount":300,"thoughtsTokenCount":51}"#,
        last,
        r#"{"trafficType":"ON_DEMAND_PRIORITY"}"#,
    ] {
        counts.merge(gemini::usage::Counts::read(usage).unwrap());
    }
    let reported = counts.reported(crate::ANSWER);
    assert_eq!(Ok(reported), crate::gemini(last));
    assert_eq!(counts.service_tier(), Some("priority"));
}
