use super::*;

const YAML: &str = r#"# What we sell.
tollgate_prices: 1
currency: USD
models:
  acme/large:
    provider: acme
    max_input_tokens: 128000
    per_million_tokens:
      input: 2.5
      "input>200000": 5
      "output@batch": free
      output: 1e1
    per_unit: {request: 0.01}
    when:
      region=eu, speed=fast:
        per_million_tokens: {input: 2.857142857142857142}
      during Asia/Shanghai daily 00:00-08:00:
        per_million_tokens: {output: 5}
  acme/voice:
    mode: audio_transcription
    currency: CNY
    per_second: {audio_input_time: 0.0001}
"#;

const TOML: &str = r#"tollgate_prices = 1
currency = "USD"

[models."acme/large"]
provider = "acme"
max_input_tokens = 128_000
per_unit = { request = 0.01 }

[models."acme/large".per_million_tokens]
input = 2.5
"input>200000" = 5
"output@batch" = "free"
output = 1e1

[models."acme/large".when."region=eu, speed=fast".per_million_tokens]
input = 2.857142857142857142

[models."acme/large".when."during Asia/Shanghai daily 00:00-08:00".per_million_tokens]
output = 5

[models."acme/voice"]
mode = "audio_transcription"
currency = "CNY"
per_second = { audio_input_time = 0.0001 }
"#;

fn yaml(text: &str) -> String {
    read_yaml(text).unwrap_err().to_string()
}

#[test]
fn yaml_and_toml_say_the_same_to_the_last_digit() {
    let drafts = read_yaml(YAML).unwrap();
    assert_eq!(read_toml(TOML).unwrap(), drafts);
    let prices: Vec<String> = drafts[0]
        .rates
        .iter()
        .map(|r| format!("{} {}", r.meter, r.price))
        .collect();
    assert_eq!(
        prices,
        [
            "input 0.0000025",
            "input 0.000005",
            "output 0.00001",
            "output free",
            "request 0.01"
        ]
    );
    let fine = &drafts[0].variants[1];
    assert_eq!(fine.when.to_string(), "region=eu, speed=fast");
    assert_eq!(
        fine.rates[0].price.to_string(),
        "0.000002857142857142857142"
    );
    assert_eq!(drafts[1].currency, Currency::CNY);
    assert_eq!(drafts[1].rates[0].price.to_string(), "0.0001");
}

/// What is done to the book, and words of the fault.
const FAULTS: &[(&str, &str, &str)] = &[
    (
        "input: 2.5",
        "inptu: 2.5",
        "line 9: acme/large: per_million_tokens.inptu: \"inptu\" is not a meter",
    ),
    (
        "input: 2.5",
        "input: -2.5",
        "line 9: acme/large: per_million_tokens.input: -2.5 is negative",
    ),
    ("input: 2.5", "input: 0.0", "say free"),
    ("input: 2.5", "input: cheap", "cheap is not a number"),
    (
        "input: 2.5",
        "input: 0.0000000000000000000000025",
        "more than 24 decimal places",
    ),
    ("input: 2.5", "input: [2.5]", "not a price"),
    (
        "input: 2.5",
        "input: 2.5\n      input: 3",
        "line 10: acme/large: per_million_tokens.input: it is priced twice",
    ),
    (
        "input: 2.5",
        "input_time: 2.5",
        "input_time is priced in per_second",
    ),
    (
        "input: 2.5",
        "input: &a 2.5",
        "anchors and tags are not taken",
    ),
    ("request: 0.01", "request: *a", "line 13:"),
    (
        "per_unit: {",
        "per_thing: {",
        "line 13: acme/large: unknown key per_thing; it may hold provider",
    ),
    ("currency: USD", "currency: EURO", "currency: "),
    ("currency: USD\n", "", "acme/large: no currency"),
    (
        "tollgate_prices: 1",
        "tollgate_prices: 2",
        "tollgate_prices: 1 must say",
    ),
    ("region=eu, speed", "colour=eu, speed", "no such attribute"),
    ("acme/voice:", "acme/large:", "acme/large is listed twice"),
    (
        "per_second: {audio_input_time: 0.0001}",
        "provider: none",
        "acme/voice has no price",
    ),
    (
        "max_input_tokens: 128000",
        "max_input_tokens: 1.5",
        "\"1.5\" is not a number of tokens",
    ),
    (
        "models:",
        "models: 5\nothers:",
        "line 5: the price book: unknown key others",
    ),
];

#[test]
fn a_fault_is_named_with_line_key_and_cure() {
    for (from, to, words) in FAULTS {
        assert!(YAML.contains(*from), "{from}");
        let error = yaml(&YAML.replacen(from, to, 1));
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn what_is_no_price_book_is_refused() {
    for text in ["", "# nothing", "a: [", "- 1", "5", "a: 1\n---\nb: 2"] {
        assert!(read_yaml(text).is_err(), "{text}");
    }
    let deep = "[".repeat(40);
    assert!(yaml(&deep).contains("too deep"), "{}", yaml(&deep));
    let twice = TOML.replace("input = 2.5\n", "input = 2.5\ninput = 3\n");
    let error = read_toml(&twice).unwrap_err().to_string();
    assert!(error.starts_with("line 11: "), "{error}");
    let unknown = TOML.replace("input = 2.5\n", "inptu = 2.5\n");
    let error = read_toml(&unknown).unwrap_err().to_string();
    assert!(
        error.starts_with("line 10: acme/large: per_million_tokens.inptu"),
        "{error}"
    );
}

#[test]
fn a_million_models_are_too_many() {
    use std::fmt::Write;
    let mut text = "tollgate_prices: 1\ncurrency: USD\nmodels:\n".to_owned();
    for i in 0..=MOST_ENTRIES {
        writeln!(text, "  m{i}: {{per_unit: {{request: 1}}}}").unwrap();
    }
    assert!(yaml(&text).contains("100001 models, at most 100000: split the file"));
}
