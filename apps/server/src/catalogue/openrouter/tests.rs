use super::*;

const LIST: &str = r#"{"data": [
    {"id": "acme/large", "name": "Large", "context_length": 400000,
     "top_provider": {"context_length": 400000, "max_completion_tokens": 128000},
     "architecture": {"output_modalities": ["text"]},
     "pricing": {"prompt": "0.00000125", "completion": "0.00001", "request": "0", "image": "0",
                 "web_search": "0.01", "internal_reasoning": "0", "input_cache_read": "0.000000125",
                 "discount": 0,
                 "overrides": [
                    {"min_prompt_tokens": 200000, "prompt": "0.0000025", "completion": "0.000015"},
                    {"utc_start": "16:30", "utc_end": "00:30", "prompt": "0.0000006"},
                    {"utc_start": "01:00:00Z", "utc_end": "02:00", "min_prompt_tokens": 5, "prompt": "0.0000005"}
                 ]}},
    {"id": "acme/embed", "architecture": {"output_modalities": ["embeddings"]},
     "pricing": {"prompt": "0.00000002", "completion": "0", "moonlight": "0.5"}},
    {"id": "acme/free", "pricing": {"prompt": "0", "completion": "0"}},
    {"id": "acme/half", "pricing": {"prompt": "0.1", "completion": "0"}},
    {"id": "openrouter/auto", "pricing": {"prompt": "-1", "completion": "-1"}}
]}"#;

fn sheet(rates: &[Rate]) -> Vec<String> {
    let above = |rate: &Rate| {
        let above = rate.above.map(|above| format!(">{}", above.prompt_tokens));
        above.unwrap_or_default()
    };
    let line = |rate: &Rate| format!("{}{} {}", rate.meter, above(rate), rate.price);
    rates.iter().map(line).collect()
}

#[test]
fn a_list_is_read_with_its_overrides() {
    let import = crate::catalogue::read_any("models.json", LIST.as_bytes()).unwrap();
    assert_eq!((import.entries, import.drafts.len()), (5, 2));
    let large = &import.drafts[1];
    assert_eq!(
        sheet(&large.rates),
        [
            "input 0.00000125",
            "input>200000 0.0000025",
            "cache_read 0.000000125",
            "output 0.00001",
            "output>200000 0.000015",
            "search 0.01"
        ]
    );
    let varied: Vec<(String, Vec<String>)> = large
        .variants
        .iter()
        .map(|v| (v.when.to_string(), sheet(&v.rates)))
        .collect();
    let night = "during UTC daily 00:00-00:30 | daily 16:30-24:00".to_owned();
    let early = "during UTC daily 01:00-02:00".to_owned();
    assert_eq!(
        varied,
        [
            (night, vec!["input 0.0000006".to_owned()]),
            (early, vec!["input>5 0.0000005".to_owned()])
        ]
    );
    assert_eq!(large.facts.max_output_tokens, Some(128_000));
    assert_eq!(large.facts.provider, "acme");
    let embed = &import.drafts[0];
    assert_eq!(sheet(&embed.rates), ["input 0.00000002", "output free"]);
    assert_eq!(embed.facts.mode, "embedding");
    assert_eq!(import.unmapped_keys["pricing.moonlight"].count, 1);
    let reasons: Vec<&str> = import.skipped.iter().map(|s| s.reason.as_str()).collect();
    for (reason, words) in reasons.iter().zip([
        "all prices are zero",
        "would make its text free: output",
        "a router's price",
    ]) {
        assert!(reason.contains(words), "{reason}");
    }
    assert_eq!(reasons.len(), 3);
}

#[test]
fn a_fault_in_the_list_or_in_a_block_of_it_refuses_it() {
    let twice = LIST.replace("acme/half", "acme/free");
    let error = read(twice.as_bytes()).unwrap_err().to_string();
    assert!(error.contains("lists \"acme/free\" twice"), "{error}");
    assert!(read(LIST.replace("\"pricing\"", "\"prices\"").as_bytes()).is_err());
    for (from, to, words) in [
        (
            "\"request\": \"0\"",
            "\"request\": \"cheap\"",
            "malformed price: request: cheap is not a number",
        ),
        (
            "\"request\": \"0\"",
            "\"request\": \"-0.5\"",
            "negative price: request",
        ),
        (
            "\"request\": \"0\"",
            "\"prompt\": \"1\"",
            "a key stands twice: prompt",
        ),
        (
            "\"min_prompt_tokens\": 200000",
            "\"min_prompt_tokens\": -1",
            "min_prompt_tokens",
        ),
        (
            "\"utc_end\": \"00:30\"",
            "\"utc_end\": null",
            "utc_start without utc_end",
        ),
        (
            "\"utc_start\": \"16:30\"",
            "\"utc_start\": \"25:00\"",
            "utc_start",
        ),
        (
            "\"min_prompt_tokens\": 200000, ",
            "",
            "a block without a condition",
        ),
    ] {
        let refused = read(LIST.replace(from, to).as_bytes()).unwrap_err();
        let refused = refused.to_string();
        assert!(refused.starts_with("1 entry is malformed"), "{refused}");
        assert!(refused.contains("\n  acme/large: "), "{refused}");
        assert!(refused.contains(words), "{refused}");
    }
}

#[test]
fn unknown_keys_are_named_and_the_prices_beside_them_are_used() {
    let list = r#"{"data": [{"id": "acme/large", "pricing": {"prompt": "0.1", "completion": "0.2",
        "conditions": [{"when": "region=eu", "prompt": "0.3"}],
        "service_tiers": {"flex": {"prompt": "0.05"}}, "comment": "ask us",
        "overrides": [{"min_prompt_tokens": 9, "when": "region=eu", "prompt": "0.4"},
                      {"min_prompt_tokens": 5, "prompt": "0.15", "moonlight": "1"}]}}]}"#;
    let import = read(list.as_bytes()).unwrap();
    let large = &import.drafts[0];
    assert_eq!(
        sheet(&large.rates),
        ["input 0.1", "input>5 0.15", "output 0.2"]
    );
    assert!(large.variants.is_empty());
    let unused: Vec<&str> = import.unmapped_keys.keys().map(String::as_str).collect();
    let named = [
        "comment",
        "conditions",
        "moonlight",
        "overrides.when",
        "service_tiers",
    ];
    assert_eq!(unused, named.map(|key| format!("pricing.{key}")));
    let reason = &import.unmapped_keys["pricing.overrides.when"].reason;
    assert!(reason.contains("its prices are not used"), "{reason}");
}
