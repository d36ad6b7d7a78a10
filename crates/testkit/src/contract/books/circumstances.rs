//! Rules of the books for what a price depends on beside the tokens.

use std::sync::Arc;

use billing_core::call::Settlement;
use billing_core::call_record::CallRecord;
use billing_core::charge::rate;
use billing_core::id::PriceVersionId;
use billing_core::money::Nanos;
use billing_core::port::catalogue::PriceEdition;
use billing_core::price::{Attribute, Attributes, PriceVersion, Rate, Variant};
use billing_core::price_book::ModelFacts;
use billing_core::terms::Terms;

use super::WALLET;
use crate::World;
use crate::world::{NOON, price};

/// A price that is tripled in the European Union and ten times as high at speed, on record.
async fn conditional(world: &World) -> Arc<PriceVersion> {
    let ordinary = price(PriceVersionId::new(world.number()), "by-region", NOON);
    let variant = |when: &str, factor: &str| {
        let factor = factor.parse().unwrap();
        let rates = ordinary.rates().iter().map(|rate| Rate {
            price: rate.price.scaled(factor).unwrap(),
            ..*rate
        });
        Variant::new(when.parse().unwrap(), rates.collect()).unwrap()
    };
    let variants = vec![variant("region=eu", "3"), variant("speed=fast", "10")];
    let price = ordinary.with_variants(variants).unwrap();
    let edition = PriceEdition {
        versions: vec![(price.clone(), ModelFacts::default())],
        ..PriceEdition::default()
    };
    world.ports.catalogue.record(edition, NOON).await.unwrap();
    Arc::new(price)
}

/// Also when it comes from a node's own disk.
pub async fn what_a_call_was_rated_by_is_on_record_and_rates_it_again(world: World) {
    let price = conditional(&world).await;
    world.top_up(10_000).await;
    world.lease(WALLET, 9_000).await.unwrap();
    let eu = Attributes::NONE.with(Attribute::Region, "eu");
    let us = Attributes::NONE.with(Attribute::Region, "us");
    let fast = us.clone().with(Attribute::Speed, "fast");
    for (attributes, due) in [(Attributes::NONE, 100), (us, 100), (eu, 300), (fast, 1_000)] {
        for is_spooled in [false, true] {
            let terms = Terms::listed(Arc::clone(&price));
            let call = Settlement {
                model: price.model().clone(),
                terms: terms.clone(),
                attributes: attributes.clone(),
                ..world.call(1_000, 100)
            };
            let call = if is_spooled {
                let record = CallRecord::of(&call).unwrap();
                record.into_settlement(terms).unwrap()
            } else {
                call
            };
            let settled = world.settle(call.clone()).await;
            assert_eq!(settled.call.charge, Nanos::new(due), "{attributes:?}");
            let again = world.settle(call.clone()).await;
            assert!(again.replayed && again.call.charge == settled.call.charge);
            let found = world.ports.reports.call(world.account, call.call).await;
            let found = found.unwrap().unwrap();
            assert_eq!(found.rating.attributes, attributes);
            assert_eq!(found.circumstances(), call.circumstances());
            let rated = rate(&found.usage, &price, &found.circumstances()).unwrap();
            assert_eq!(rated.amount, found.charge);
        }
    }
    world.assert_sound().await;
}
