use billing_core::meter::Meter;

use super::*;

fn read(text: &str) -> Reported {
    Counts::read(text).map_or(Reported::Malformed, |counts| counts.reported())
}

fn given(pairs: &[(Meter, u64)]) -> Reported {
    Reported::Given(pairs.iter().fold(Usage::NONE, |u, (m, q)| u.with(*m, *q)))
}

#[test]
fn caches_are_written_for_five_minutes_unless_it_says_for_an_hour() {
    let usage = r#"{"input_tokens":2048,"cache_read_input_tokens":1800,"cache_creation_input_tokens":248,
        "output_tokens":503,"cache_creation":{"ephemeral_5m_input_tokens":148,"ephemeral_1h_input_tokens":100}}"#;
    let parts = [
        (Meter::Input, 2048),
        (Meter::CacheRead, 1800),
        (Meter::CacheWrite5m, 148),
        (Meter::CacheWrite1h, 100),
        (Meter::Output, 503),
    ];
    assert_eq!(read(usage), given(&parts));
    let without_sum = usage.replace(r#""cache_creation_input_tokens":248,"#, "");
    assert_eq!(read(&without_sum), given(&parts));
    // What came later in the stream says how much, and no longer for how long.
    let mut counts = Counts::read(usage).unwrap();
    let later = r#"{"input_tokens":2048,"cache_creation_input_tokens":300,"output_tokens":503}"#;
    counts.merge(Counts::read(later).unwrap());
    let Reported::Given(merged) = counts.reported() else {
        panic!("{counts:?}")
    };
    assert_eq!(merged.get(Meter::CacheWrite5m), 200);
    assert_eq!(merged.get(Meter::CacheWrite1h), 100);
}

#[test]
fn absent_is_not_zero() {
    assert_eq!(read("{}"), Reported::Missing);
    assert_eq!(read(r#"{"output_tokens":227}"#), Reported::Missing);
    assert_eq!(
        read(r#"{"input_tokens":5,"output_tokens":null}"#),
        Reported::Missing
    );
    assert_eq!(read(r#"{"input_tokens":0,"output_tokens":0}"#), given(&[]));
    let nulls = r#"{"input_tokens":5,"output_tokens":2,"cache_creation":null,"cache_read_input_tokens":null,
        "cache_creation_input_tokens":null,"server_tool_use":null,"iterations":null,"service_tier":null}"#;
    assert_eq!(read(nulls), given(&[(Meter::Input, 5), (Meter::Output, 2)]));
}

#[test]
fn what_prices_depend_on_is_told() {
    let counts = |text: &str| Counts::read(text).unwrap();
    let all = counts(r#"{"service_tier":"priority","speed":"fast","inference_geo":"us"}"#);
    let told = (all.service_tier(), all.speed(), all.inference_geo());
    assert_eq!(told, (Some("priority"), Some("fast"), Some("us")));
    for nothing in [
        r#"{"inference_geo":"not_available"}"#,
        r#"{"inference_geo":"","speed":7}"#,
    ] {
        let none = counts(nothing);
        assert_eq!((none.inference_geo(), none.speed()), (None, None));
    }
    let mut merged = all;
    merged.merge(counts(r#"{"service_tier":"standard"}"#));
    let told = (merged.service_tier(), merged.speed());
    assert_eq!(told, (Some("standard"), Some("fast")));
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
        for member in [
            format!(r#""input_tokens":{bad}"#),
            format!(r#""output_tokens":{bad}"#),
            format!(r#""cache_read_input_tokens":{bad}"#),
            format!(r#""cache_creation_input_tokens":{bad}"#),
            format!(r#""cache_creation":{{"ephemeral_5m_input_tokens":{bad}}}"#),
            format!(r#""cache_creation":{{"ephemeral_1h_input_tokens":{bad}}}"#),
            format!(r#""output_tokens_details":{{"thinking_tokens":{bad}}}"#),
            format!(r#""server_tool_use":{{"web_search_requests":{bad}}}"#),
            format!(
                r#""iterations":[{{"type":"compaction","input_tokens":{bad},"output_tokens":1}}]"#
            ),
        ] {
            let text = format!("{{{member}}}");
            assert_eq!(read(&text), Reported::Malformed, "{text}");
        }
    }
    for text in [
        "7",
        "[1]",
        r#"{"input_tokens":1,"input_tokens":2,"output_tokens":1}"#,
        r#"{"input_tokens":1,"output_tokens":1,"cache_creation":{"ephemeral_1h_input_tokens":1,"ephemeral_1h_input_tokens":1}}"#,
        r#"{"input_tokens":1,"output_tokens":1,"cache_creation":5}"#,
        r#"{"input_tokens":1,"output_tokens":1,"iterations":{}}"#,
        r#"{"input_tokens":1,"output_tokens":1,"iterations":[{"type":"compaction"}]}"#,
        r#"{"input_tokens":1,"output_tokens":1,"cache_creation":{"ephemeral_5m_input_tokens":18446744073709551615,"ephemeral_1h_input_tokens":1}}"#,
    ] {
        assert_eq!(read(text), Reported::Malformed, "{text}");
    }
}

#[test]
fn later_iterations_take_the_place_of_earlier_ones() {
    let one = r#"{"input_tokens":1,"output_tokens":1,"iterations":[{"type":"compaction","input_tokens":9,"output_tokens":2}]}"#;
    let two = one.replace(
        "[{",
        r#"[{"type":"advisor_message","model":"m","input_tokens":1,"output_tokens":1},{"#,
    );
    let mut counts = Counts::read(one).unwrap();
    counts.merge(Counts::read(r#"{"output_tokens":2}"#).unwrap());
    assert_eq!(counts.apart().len(), 1);
    counts.merge(Counts::read(&two).unwrap());
    let models: Vec<_> = counts
        .apart()
        .iter()
        .map(|one| one.model.as_deref())
        .collect();
    assert_eq!(models, [Some("m"), None]);
}
