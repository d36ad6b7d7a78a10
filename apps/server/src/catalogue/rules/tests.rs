use super::*;
use time::macros::datetime;

const NOON: OffsetDateTime = datetime!(2026-12-01 12:00 UTC);

const FILE: &str = r#"
[[sale]]
audience = "everyone"
models = "*"
markup = "1.2"

[[sale]]
audience = "everyone"
models = "gpt-4o*"
currency = "USD"
rates = [
  { meter = "input", per_million_tokens = "3" },
  { meter = "output", per_million_tokens = "12", service_tier = "priority" },
  { meter = "search", free = true },
]

[[tiers]]
audience = "everyone"
models = "*"

[tiers.terms]
currency = "USD"
measure = "spend"
window = "month"
zone = "Asia/Shanghai"

[[tiers.terms.pricing.graduated]]
up_to = "1000"
price = { discount = "0" }

[[tiers.terms.pricing.graduated]]
price = { discount = "10" }
"#;

fn rules(text: &str) -> Result<(Vec<SaleRule>, Vec<TierSchedule>), ImportError> {
    rules_of("rules.toml", text)
}

fn rules_of(name: &str, text: &str) -> Result<(Vec<SaleRule>, Vec<TierSchedule>), ImportError> {
    let mut id = 0;
    read(name, text.as_bytes())?.into_rules(NOON, || {
        id += 1;
        id
    })
}

#[test]
fn rules_are_read_from_toml() {
    assert!(is_rules("rules.toml", FILE.as_bytes()));
    let (sales, tiers) = rules(FILE).unwrap();
    assert_eq!((sales.len(), tiers.len()), (2, 1));
    let SalePrice::Fixed { rates, .. } = &sales[1].price else {
        panic!("{:?}", sales[1]);
    };
    assert_eq!(rates[0].price.to_string(), "0.000003");
    assert_eq!(rates[2].price, UnitPrice::FREE);
    let terms = tiers[0].terms.as_ref().unwrap();
    assert_eq!(terms.zone.name(), "Asia/Shanghai");
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    let cases = [
        (
            "[[sale]]\naudience=\"everyone\"\nmodels=\"*\"",
            "sale 1: give a `markup`",
        ),
        ("[[sale]]\naudience=\"all\"\nmodels=\"*\"", "is nobody"),
        (
            "[[sale]]\naudience=\"everyone\"\nmodels=\"*\"\nmarkup=\"0\"",
            "is not a factor",
        ),
        (
            "[[sale]]\naudience=\"everyone\"\nmodels=\"m\"\ncurrency=\"USD\"\nrates=[{meter=\"input\",per_unit=\"0\"}]",
            "sale 1: rate 1 (input): zero is not a price",
        ),
        (
            "[[sale]]\naudience=\"everyone\"\nmodels=\"m\"\ncurrency=\"USD\"\nrates=[{meter=\"smell\",per_unit=\"1\"}]",
            "\"smell\" is not a meter",
        ),
        (
            "[[tiers]]\naudience=\"everyone\"\nmodels=\"*\"",
            "tiers 1: give either `terms`",
        ),
        (
            "[[sale]]\naudience=\"everyone\"\naudience=\"everyone\"\nmodels=\"*\"",
            "duplicate key",
        ),
        (
            &FILE.replace("Asia/Shanghai", "Mars"),
            "not an IANA time zone",
        ),
        (
            &FILE.replace("up_to = \"1000\"\n", ""),
            "only the last tier is open",
        ),
        (
            &FILE
                .replace("\"spend\"", "\"calls\"")
                .replace("\"1000\"", "\"10.5\""),
            "whole number",
        ),
    ];
    for (text, what) in cases {
        let error = rules(text).unwrap_err().to_string();
        assert!(error.contains(what), "{error}\n{text}");
    }
}

const YAML: &str = r#"# What we ask.
sale:
  - audience: everyone
    models: "*"
    markup: 1.2
  - audience: everyone
    models: gpt-4o*
    currency: USD
    rates:
      - {meter: input, per_million_tokens: 3}
      - {meter: output, per_million_tokens: "12", service_tier: priority}
      - meter: search
        free: true
tiers:
  - audience: everyone
    models: "*"
    terms:
      currency: USD
      measure: spend
      window: month
      zone: Asia/Shanghai
      pricing:
        graduated:
          - {up_to: 1000, price: {discount: 0}}
          - price: {discount: 10}
"#;

#[test]
fn yaml_says_the_same_to_the_last_digit() {
    for name in ["rules.yaml", "our/rules.yml"] {
        assert!(is_rules(name, YAML.as_bytes()));
        assert_eq!(rules_of(name, YAML).unwrap(), rules(FILE).unwrap());
    }
    // A number is what is written, never what a float makes of it.
    let fine = "0.000000000000000001000001";
    let fine = YAML.replace(
        "meter: search\n        free: true",
        &format!("meter: search\n        per_unit: {fine}"),
    );
    let (sales, _) = rules_of("rules.yaml", &fine).unwrap();
    let SalePrice::Fixed { rates, .. } = &sales[1].price else {
        panic!("{:?}", sales[1]);
    };
    assert_eq!(rates[2].price.to_string(), "0.000000000000000001000001");
    // JSON is YAML, too.
    let json = r#"{"sale":[{"audience":"everyone","models":"*","markup":"1.2"}]}"#;
    assert!(is_rules("rules.yaml", json.as_bytes()));
    let (from_yaml, from_json) = (rules_of("rules.yaml", json), rules_of("rules.json", json));
    assert_eq!(from_yaml.unwrap(), from_json.unwrap());
}

#[test]
fn a_catalogue_in_yaml_is_no_file_of_rules() {
    let book = "tollgate_prices: 1\nmodels:\n  sale: {per_unit: {request: 1}}\n";
    assert!(!is_rules("book.yaml", book.as_bytes()));
    assert!(!is_rules("book.txt", YAML.as_bytes()));
}

/// What is done to the rules, and words of the fault.
const FAULTS: &[(&str, &str, &str)] = &[
    (
        "markup: 1.2",
        "markups: 1.2",
        "line 5: unknown field `markups`, expected one of",
    ),
    ("markup: 1.2", "markup: 0", "line 5: \"0\" is not a factor"),
    (
        "markup: 1.2",
        "markup: [1.2]",
        "line 5: invalid type: sequence",
    ),
    ("markup: 1.2", "", "sale 1: give a `markup`"),
    ("models: gpt-4o*", "models: gpt*4o", "line 7: "),
    (
        "meter: search",
        "meter: smell",
        "line 12: \"smell\" is not a meter",
    ),
    (
        "free: true",
        "free: yes",
        "line 13: invalid value: string \"yes\", expected true or false",
    ),
    (
        "free: true",
        "free: true\n        free: true",
        "line 14: free stands twice",
    ),
    (
        "{meter: input,",
        "{meter: input, above_prompt_tokens: 1.5,",
        "expected a whole number",
    ),
    (
        "per_million_tokens: 3",
        "per_million_tokens: 0",
        "sale 2: rate 1 (input): zero is not a price",
    ),
    (
        "zone: Asia/Shanghai",
        "zone: Mars",
        "line 21: \"Mars\" is not an IANA time zone",
    ),
    (
        "window: month",
        "window: fortnight",
        "line 20: unknown variant `fortnight`",
    ),
    (
        "graduated:",
        "gradual:",
        "line 23: unknown variant `gradual`",
    ),
    ("up_to: 1000", "from: 0", "only the last tier is open"),
    (
        "{discount: 0}",
        "{discount: 0, per_unit: 1}",
        "expected a table of one key",
    ),
    (
        "currency: USD\n    rates",
        "currency: &a USD\n    rates",
        "anchors and tags are not taken",
    ),
    ("measure: spend", "measure: {spend: 1}", "it holds nothing"),
    (
        "tiers:\n",
        "tiers:\n  - 5\n",
        "line 15: invalid type: string \"5\"",
    ),
];

#[test]
fn what_is_wrong_in_yaml_is_named_with_its_line() {
    for (from, to, what) in FAULTS {
        assert!(YAML.contains(from), "{from}");
        let error = rules_of("rules.yaml", &YAML.replacen(from, to, 1));
        let error = error.unwrap_err().to_string();
        assert!(error.contains(what), "{error}: {to}");
    }
    for text in ["", "sale", "sale: 5", "sale: [", "sale: []\n---\nsale: []"] {
        assert!(rules_of("rules.yaml", text).is_err(), "{text}");
    }
}
