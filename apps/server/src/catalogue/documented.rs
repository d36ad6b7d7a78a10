//! The examples of the reference are read as they stand, and say what they are said to.

use billing_core::price::{Rate, Variant};
use billing_core::sale::SalePrice;
use time::OffsetDateTime;

use super::{read_any, rules};

const PRICES: &str = include_str!("../../../../docs/reference/prices.md");
const CATALOGUES: &str = include_str!("../../../../docs/reference/catalogue.md");

/// The first block of code of a kind under a heading.
fn example<'a>(page: &'a str, heading: &str, kind: &str) -> &'a str {
    let (_, section) = page.split_once(&format!("\n## {heading}\n")).unwrap();
    let (_, block) = section.split_once(&format!("```{kind}\n")).unwrap();
    block.split_once("```").unwrap().0
}

fn long_prompts_cost_no_less(rates: &[Rate], variants: &[Variant]) {
    assert!(!variants.is_empty());
    let thresholds = || rates.iter().filter(|rate| rate.above.is_some());
    assert!(thresholds().next().is_some());
    for variant in variants {
        let same = |a: &Rate, b: &Rate| (a.meter, a.tier) == (b.meter, b.tier);
        let named = thresholds().filter(|long| variant.rates.iter().any(|r| same(r, long)));
        for long in named {
            let mut stated = variant.rates.iter();
            let stated = stated.find(|rate| same(rate, long) && rate.above == long.above);
            assert!(stated.unwrap().price >= long.price, "{}", variant.when);
        }
    }
}

#[test]
fn the_rules_in_toml_and_in_yaml_are_the_same() {
    let read = |kind: &str| {
        let text = example(PRICES, "Files of rules", kind);
        let file = rules::read(&format!("rules.{kind}"), text.as_bytes()).unwrap();
        let mut id = 0;
        let rules = file.into_rules(OffsetDateTime::UNIX_EPOCH, || {
            id += 1;
            id
        });
        rules.unwrap()
    };
    let (sales, tiers) = read("toml");
    assert_eq!((sales.len(), tiers.len()), (2, 1));
    assert_eq!((sales.clone(), tiers), read("yaml"));
    let SalePrice::Fixed {
        rates, variants, ..
    } = &sales[1].price
    else {
        panic!("{:?}", sales[1]);
    };
    long_prompts_cost_no_less(rates, variants);
}

#[test]
fn the_price_book_by_hand_is_read() {
    let text = example(CATALOGUES, "A price book by hand", "yaml");
    let import = read_any("book.yaml", text.as_bytes()).unwrap();
    assert_eq!(import.drafts.len(), 1);
    let draft = &import.drafts[0];
    long_prompts_cost_no_less(&draft.rates, &draft.variants);
}
