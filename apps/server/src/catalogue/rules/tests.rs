use super::*;
use billing_core::money::Nanos;
use billing_core::price::UnitPrice;
use billing_core::sale::SalePrice;
use billing_core::tier_schedule::{TierPrice, TierPricing};
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

/// A schedule with rates of its own and a minimum, in the words of the rest of the file.
const OWN: &str = r#"
[[tiers]]
audience = "everyone"
models = "gpt-4o*"
[tiers.terms]
currency = "USD"
measure = "tokens"
window = "month"
minimum = "50.00"
[[tiers.terms.pricing.graduated]]
flat = "2.50"
price = { rates = [
  { meter = "input", per_million_tokens = "3", service_tier = "batch" },
  { meter = "output", per_million_tokens = "12", above_prompt_tokens = 200000 },
] }
"#;

#[test]
fn money_of_a_schedule_is_decimal_text_and_its_rates_are_those_of_sales() {
    let (_, tiers) = rules(OWN).unwrap();
    let terms = tiers[0].terms.as_ref().unwrap();
    assert_eq!(terms.minimum, Some(Nanos::new(50_000_000_000)));
    let TierPricing::Graduated(stated) = &terms.pricing else {
        panic!("{terms:?}");
    };
    let TierPrice::Rates(rates) = &stated.all()[0].price else {
        panic!("{terms:?}");
    };
    assert_eq!(rates[0].price.to_string(), "0.000003");
    assert_eq!(rates[0].tier.name(), "batch");
    assert_eq!(rates[1].above.unwrap().prompt_tokens, 200_000);
    let cases = [
        (
            "minimum = \"50.00\"",
            "minimum = 5000000000",
            "expected an amount of money as text",
        ),
        ("minimum = \"50.00\"", "minimum = \"50 USD\"", "50 USD"),
        (
            "minimum = \"50.00\"",
            "minimum = \"-1\"",
            "tiers 1: the minimum is -1",
        ),
        (
            "service_tier = \"batch\"",
            "tier = \"batch\"",
            "unknown field `tier`",
        ),
        (
            "per_million_tokens = \"3\"",
            "price = \"3\"",
            "unknown field `price`",
        ),
        (
            "per_million_tokens = \"3\"",
            "per_unit = \"3\"",
            "tiers 1: tier 1: rate 1 (input): it is not priced `per_unit`, but `per_million_tokens`",
        ),
        (
            "service_tier = \"batch\"",
            "when = \"region=eu\"",
            "tiers 1: tier 1: rate 1 (input): the rates of a tier hold whatever the conditions",
        ),
    ];
    for (from, to, what) in cases {
        assert!(OWN.contains(from), "{from}");
        let error = rules(&OWN.replacen(from, to, 1)).unwrap_err().to_string();
        assert!(error.contains(what), "{error}\n{to}");
    }
}

#[test]
fn a_fixed_price_may_depend_on_conditions_and_begin_at_a_prompt_size() {
    let file = r#"
[[sale]]
audience = "everyone"
models = "m"
currency = "USD"
rates = [
  { meter = "input", per_million_tokens = "3" },
  { meter = "input", per_million_tokens = "6", from_prompt_tokens = 200000 },
  { meter = "input", per_million_tokens = "4", when = "region=eu" },
]
"#;
    let (sales, _) = rules(file).unwrap();
    let SalePrice::Fixed {
        rates, variants, ..
    } = &sales[0].price
    else {
        panic!("{:?}", sales[0]);
    };
    assert!(rates[1].above.unwrap().is_passed_by(200_000));
    assert_eq!(rates.len(), 2);
    assert_eq!(variants[0].when.to_string(), "region=eu");
    assert_eq!(variants[0].rates[0].price.to_string(), "0.000004");
    let both = file.replace(
        "from_prompt_tokens",
        "above_prompt_tokens = 1, from_prompt_tokens",
    );
    let marked = file.replace("currency = \"USD\"", "markup = \"2\"");
    for (text, what) in [
        (both, "rate 2 (input): give one of `above_prompt_tokens`"),
        (marked, "rate 3 (input): beside a `markup`"),
        (file.replace("region=eu", "planet=mars"), "planet"),
    ] {
        let error = rules(&text).unwrap_err().to_string();
        assert!(error.contains(what), "{error}\n{text}");
    }
}

#[test]
fn one_file_states_a_reach_once() {
    let again = FILE.split("[[tiers]]").next().unwrap();
    let again = again.split("[[sale]]").nth(2).unwrap();
    let sales = format!("{FILE}\n[[sale]]{again}");
    let tiers = FILE.split("[[tiers]]").nth(1).unwrap();
    let tiers = format!("{FILE}\n[[tiers]]{tiers}");
    for (text, what) in [
        (
            sales,
            "sale 2 and sale 3 are both gpt-4o* for everyone; keep one of the two",
        ),
        (
            tiers,
            "tiers 1 and tiers 2 are both * for everyone; keep one of the two",
        ),
    ] {
        let error = rules(&text).unwrap_err().to_string();
        assert!(error.contains(what), "{error}\n{text}");
    }
}
