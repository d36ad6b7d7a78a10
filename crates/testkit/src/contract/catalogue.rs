//! Rules of the catalogue.

use billing_core::id::{PriceVersionId, SaleRuleId};
use billing_core::meter::Meter;
use billing_core::money::Currency;
use billing_core::port::catalogue::{CatalogueError, PriceEdition};
use billing_core::price::{
    ContextThreshold, ModelName, PriceVersion, Rate, ServiceTier, UnitPrice, Variant,
};
use billing_core::price_book::{ModelFacts, Unpriced};
use billing_core::reach::{Audience, Buyer, Reach};
use billing_core::sale::{SalePrice, SaleRule};
use time::Duration;

use crate::World;
use crate::world::{NOON, price};

/// Every rule of the catalogue, as tests: `testkit::catalogue_contract!(name, opener)`.
#[macro_export]
macro_rules! catalogue_contract {
    ($name:ident, $open:expr) => {
        $crate::rules!($name, $open, catalogue:
            a_price_reads_back_to_the_last_digit
            a_later_version_leaves_the_earlier_one_alone
            facts_change_without_a_price
            an_edition_is_recorded_whole_or_not_at_all
            a_whole_catalogue_is_recorded_at_once
            a_sale_rule_reads_back_and_holds_from_its_instant_on
            what_is_sold_changes_only_ahead_of_the_clock
        );
    };
}

fn edition(versions: Vec<(PriceVersion, ModelFacts)>) -> PriceEdition {
    PriceEdition {
        source: "prices.json".to_owned(),
        versions,
        ..PriceEdition::default()
    }
}

/// Tiers, thresholds, free meters and 24 places included.
pub async fn a_price_reads_back_to_the_last_digit(world: World) {
    let above = |prompt_tokens, inclusive| {
        Some(ContextThreshold {
            prompt_tokens,
            inclusive,
        })
    };
    let rate = |meter, tier, above, price: &str| Rate {
        meter,
        tier,
        above,
        price: price.parse().unwrap(),
    };
    let fine = "0.000000114285714285714286";
    let rates = vec![
        rate(Meter::Input, ServiceTier::Standard, None, fine),
        rate(Meter::Input, ServiceTier::Flex, None, "0.00000005"),
        rate(Meter::Input, ServiceTier::Standard, above(0, false), "0.5"),
        rate(
            Meter::Input,
            ServiceTier::Standard,
            above(200_000, true),
            "12",
        ),
        rate(
            Meter::Input,
            ServiceTier::Standard,
            above(200_000, false),
            "13",
        ),
        rate(Meter::Output, ServiceTier::Standard, None, "free"),
    ];
    let (id, name) = (PriceVersionId::new(1), ModelName::new("it's \"a\" model/ü"));
    let variants = [
        "region!=global",
        "region=it's, speed=fast",
        "image_size=1024x1024",
        "video_input_time>15000, during Asia/Shanghai mon-fri 22:00-06:00 | sat+sun 00:00-24:00",
    ];
    let under = |when: &&str| Variant::new(when.parse().unwrap(), rates.clone()).unwrap();
    let variants = variants.iter().map(under).collect();
    let version = PriceVersion::new(id, name, Currency::CNY, NOON, rates).unwrap();
    let version = version.with_variants(variants).unwrap();
    let facts = ModelFacts {
        provider: "sim".to_owned(),
        mode: "chat".to_owned(),
        max_input_tokens: Some(1_000_000),
        max_output_tokens: None,
    };
    let catalogue = &world.ports.catalogue;
    let recorded = edition(vec![(version.clone(), facts.clone())]);
    catalogue.record(recorded, NOON).await.unwrap();
    let book = catalogue.price_book().await.unwrap();
    let (model, found) = book.resolve(version.model().as_str(), NOON).unwrap();
    assert_eq!(**found, version);
    assert_eq!(model.facts, facts);
    assert_eq!(found.rates().last().unwrap().price, UnitPrice::FREE);
}

/// P7: what a call was rated with stays.
pub async fn a_later_version_leaves_the_earlier_one_alone(world: World) {
    let later = NOON + Duration::days(1);
    let next = price(PriceVersionId::new(901), "m", later);
    let catalogue = &world.ports.catalogue;
    let recorded = edition(vec![(next, ModelFacts::default())]);
    catalogue.record(recorded, NOON).await.unwrap();
    let book = catalogue.price_book().await.unwrap();
    let id_at = |at| book.resolve("m", at).map(|(_, version)| version.id().get());
    assert_eq!((id_at(NOON), id_at(later)), (Ok(900), Ok(901)));
    let early = id_at(NOON - Duration::seconds(1));
    assert_eq!(early, Err(Unpriced::NoPrice("m".to_owned())));
}

/// No new version is made for them.
pub async fn facts_change_without_a_price(world: World) {
    let facts = ModelFacts {
        provider: "other".to_owned(),
        max_output_tokens: Some(4096),
        ..ModelFacts::default()
    };
    let catalogue = &world.ports.catalogue;
    let mut recorded = edition(Vec::new());
    recorded.facts.push(("m".to_owned(), facts.clone()));
    catalogue.record(recorded, NOON).await.unwrap();
    let book = catalogue.price_book().await.unwrap();
    let model = book.get("m").unwrap();
    assert_eq!((&model.facts, model.versions().len()), (&facts, 1));
}

/// One version that cannot be recorded, and none is.
pub async fn an_edition_is_recorded_whole_or_not_at_all(world: World) {
    let new = price(PriceVersionId::new(950), "new", NOON);
    let taken = price(PriceVersionId::new(900), "m", NOON);
    let facts = ModelFacts::default;
    let catalogue = &world.ports.catalogue;
    let recorded = edition(vec![(new, facts()), (taken, facts())]);
    assert!(catalogue.record(recorded, NOON).await.is_err());
    let book = catalogue.price_book().await.unwrap();
    assert_eq!(book.len(), 1);
    assert_eq!(**book.resolve("m", NOON).unwrap().1, *world.price);
}

/// More rows than one statement takes.
pub async fn a_whole_catalogue_is_recorded_at_once(world: World) {
    let versions = (0..4500).map(|i| {
        let version = price(PriceVersionId::new(10_000 + i), &format!("model-{i}"), NOON);
        (version, ModelFacts::default())
    });
    let catalogue = &world.ports.catalogue;
    let recorded = edition(versions.collect());
    catalogue.record(recorded, NOON).await.unwrap();
    let book = catalogue.price_book().await.unwrap();
    assert_eq!(book.len(), 4501);
    assert!(book.models().all(|m| m.versions().len() == 1));
}

/// What is asked differs from what it costs, for whom the rule is, from when on it says.
pub async fn a_sale_rule_reads_back_and_holds_from_its_instant_on(world: World) {
    let later = NOON + Duration::days(1);
    let rule = |id, audience, price, effective_from| SaleRule {
        id: SaleRuleId::new(id),
        reach: Reach {
            audience,
            models: "m*".parse().unwrap(),
        },
        price,
        effective_from,
    };
    let output = Rate {
        meter: Meter::Output,
        tier: ServiceTier::Standard,
        above: None,
        price: "0.000000003".parse().unwrap(),
    };
    let markup = SalePrice::Markup {
        factor: "1.5".parse().unwrap(),
        rates: vec![output],
    };
    let fixed = SalePrice::Fixed {
        currency: Currency::CNY,
        rates: vec![output],
        variants: Vec::new(),
    };
    let own = Audience::Account(world.account);
    let rules = vec![
        rule(1, Audience::Everyone, markup, NOON),
        rule(2, own, fixed, NOON),
        rule(3, own, SalePrice::Withdrawn, later),
    ];
    let catalogue = &world.ports.catalogue;
    let mut recorded = edition(Vec::new());
    recorded.sales.clone_from(&rules);
    catalogue.record(recorded, NOON).await.unwrap();
    let book = catalogue.price_book().await.unwrap();
    let kept: Vec<SaleRule> = book.sales().iter().map(|rule| (**rule).clone()).collect();
    assert_eq!(kept.len(), 3);
    assert!(rules.iter().all(|rule| kept.contains(rule)));
    let buyer = Buyer {
        account: world.account,
        plan: None,
        discount: None,
    };
    let found = |buyer, at| {
        let offer = book.offer(buyer, "m", at).unwrap();
        offer.sale.map(|rule| rule.id.get())
    };
    assert_eq!(found(Some(&buyer), NOON), Some(2));
    assert_eq!(found(Some(&buyer), later), Some(1));
    assert_eq!(found(None, NOON), Some(1));
}

/// A price or rule that would have taken effect already is refused where it is recorded; the first
/// price of a model may begin whenever it likes.
pub async fn what_is_sold_changes_only_ahead_of_the_clock(world: World) {
    let catalogue = &world.ports.catalogue;
    let before = NOON - Duration::MICROSECOND;
    let next = |model: &str, at| {
        let next = price(PriceVersionId::new(world.number()), model, at);
        edition(vec![(next, ModelFacts::default())])
    };
    let rule = |effective_from| {
        let mut edition = edition(Vec::new());
        edition.sales.push(SaleRule {
            id: SaleRuleId::new(world.number()),
            reach: Reach {
                audience: Audience::Everyone,
                models: "m".parse().unwrap(),
            },
            price: SalePrice::Withdrawn,
            effective_from,
        });
        edition
    };
    for late in [next("m", before), rule(before)] {
        let was = catalogue.price_book().await.unwrap();
        let refused = catalogue.record(late, NOON).await;
        assert!(
            matches!(refused, Err(CatalogueError::InThePast { from, .. }) if from == before),
            "{refused:?}"
        );
        assert_eq!(catalogue.price_book().await.unwrap(), was);
    }
    for in_time in [next("m", NOON), rule(NOON), next("new", before)] {
        catalogue.record(in_time, NOON).await.unwrap();
    }
}
