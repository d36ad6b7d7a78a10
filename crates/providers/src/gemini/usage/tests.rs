use billing_core::meter::Meter;

use super::*;

const ANSWER: Endpoint = Endpoint::ChatCompletions;

fn read(text: &str) -> Reported {
    Counts::read(text).map_or(Reported::Malformed, |counts| counts.reported(ANSWER))
}

fn given(pairs: &[(Meter, u64)]) -> Reported {
    Reported::Given(pairs.iter().fold(Usage::NONE, |u, (m, q)| u.with(*m, *q)))
}

#[test]
fn what_is_left_out_is_what_the_total_has_left() {
    let nothing = r#"{"promptTokenCount":14,"totalTokenCount":14}"#;
    assert_eq!(read(nothing), given(&[(Meter::Input, 14)]));
    let answer = r#"{"promptTokenCount":14,"thoughtsTokenCount":3,"totalTokenCount":20}"#;
    let parts = [
        (Meter::Input, 14),
        (Meter::Reasoning, 3),
        (Meter::Output, 3),
    ];
    assert_eq!(read(answer), given(&parts));
    let prompt = r#"{"candidatesTokenCount":5,"totalTokenCount":20}"#;
    assert_eq!(
        read(prompt),
        given(&[(Meter::Input, 15), (Meter::Output, 5)])
    );
    // Thoughts that are not named, as some models think.
    let thoughts = r#"{"promptTokenCount":35,"candidatesTokenCount":12,"totalTokenCount":109}"#;
    let parts = [
        (Meter::Input, 35),
        (Meter::Output, 12),
        (Meter::Reasoning, 62),
    ];
    assert_eq!(read(thoughts), given(&parts));
}

#[test]
fn absent_is_not_zero() {
    for text in [
        "{}",
        r#"{"trafficType":"ON_DEMAND"}"#,
        r#"{"promptTokenCount":5}"#,
        r#"{"promptTokenCount":5,"candidatesTokenCount":null}"#,
        r#"{"candidatesTokenCount":5}"#,
        r#"{"totalTokenCount":5}"#,
    ] {
        assert_eq!(read(text), Reported::Missing, "{text}");
    }
    let both = r#"{"promptTokenCount":5,"candidatesTokenCount":0}"#;
    assert_eq!(read(both), given(&[(Meter::Input, 5)]));
    let embedding = Counts::read(r#"{"promptTokenCount":5}"#).unwrap();
    let reported = embedding.reported(Endpoint::Embeddings);
    assert_eq!(reported, given(&[(Meter::Input, 5)]));
}

#[test]
fn a_cache_serves_what_the_prompt_has() {
    let usage = r#"{"promptTokenCount":1000,"candidatesTokenCount":1,"cachedContentTokenCount":600,
        "promptTokensDetails":[{"modality":"AUDIO","tokenCount":700},{"modality":"VIDEO","tokenCount":200}]"#;
    // Of no known kind: text as far as there is text, then audio.
    let parts = [
        (Meter::CacheRead, 100),
        (Meter::AudioCacheRead, 500),
        (Meter::AudioInput, 200),
        (Meter::VideoInput, 200),
        (Meter::Output, 1),
    ];
    assert_eq!(read(&format!("{usage}}}")), given(&parts));
    let video =
        format!(r#"{usage},"cacheTokensDetails":[{{"modality":"video","tokenCount":150}}]}}"#);
    let parts = [
        (Meter::CacheRead, 250),
        (Meter::AudioCacheRead, 350),
        (Meter::AudioInput, 350),
        (Meter::VideoInput, 50),
        (Meter::Output, 1),
    ];
    assert_eq!(read(&video), given(&parts));
}

#[test]
fn the_tier_is_told_in_either_way() {
    for (text, tier) in [
        (
            r#"{"serviceTier":"FLEX","trafficType":"ON_DEMAND"}"#,
            Some("flex"),
        ),
        (r#"{"trafficType":"ON_DEMAND_PRIORITY"}"#, Some("priority")),
        (r#"{"trafficType":"ON_DEMAND"}"#, Some("standard")),
        (r#"{"trafficType":"PROVISIONED_THROUGHPUT"}"#, None),
        (r#"{"promptTokenCount":5}"#, None),
    ] {
        assert_eq!(Counts::read(text).unwrap().service_tier(), tier, "{text}");
    }
}

#[test]
fn what_is_no_count_is_malformed() {
    const BAD: [&str; 7] = [
        "-1",
        "1.5",
        "1e3",
        "\"7\"",
        "true",
        "[]",
        "99999999999999999999",
    ];
    for bad in BAD {
        for name in [
            "promptTokenCount",
            "cachedContentTokenCount",
            "toolUsePromptTokenCount",
            "candidatesTokenCount",
            "thoughtsTokenCount",
            "totalTokenCount",
        ] {
            let text = format!(r#"{{"{name}":{bad}}}"#);
            assert_eq!(read(&text), Reported::Malformed, "{text}");
        }
        for name in [
            "promptTokensDetails",
            "promptTokenDetails",
            "cacheTokensDetails",
            "toolUsePromptTokensDetails",
            "candidatesTokensDetails",
        ] {
            let text = format!(r#"{{"{name}":[{{"modality":"TEXT","tokenCount":{bad}}}]}}"#);
            assert_eq!(read(&text), Reported::Malformed, "{text}");
        }
    }
    for text in [
        "null",
        r#"{"promptTokenCount":1,"promptTokenCount":1,"candidatesTokenCount":1}"#,
        r#"{"promptTokenCount":1,"candidatesTokenCount":1,"promptTokensDetails":{}}"#,
        r#"{"promptTokenCount":1,"candidatesTokenCount":1,"promptTokensDetails":[7]}"#,
        r#"{"promptTokenCount":1,"candidatesTokenCount":1,"promptTokensDetails":[{"modality":"AUDIO","modality":"TEXT"}]}"#,
        r#"{"promptTokenCount":1,"candidatesTokenCount":1,"promptTokensDetails":[],"promptTokenDetails":[]}"#,
        r#"{"promptTokenCount":18446744073709551615,"candidatesTokenCount":1}"#,
    ] {
        assert_eq!(read(text), Reported::Malformed, "{text}");
    }
}
