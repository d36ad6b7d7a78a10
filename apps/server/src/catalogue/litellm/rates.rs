//! Rates and variants of a model, from what the keys of its entry state.

use std::collections::{BTreeMap, BTreeSet};

use billing_core::meter::Meter;
use billing_core::price::{
    Attribute, ContextThreshold, Rate, ServiceTier, UnitPrice, Variant, When,
};
use billing_core::price_book::ModelFacts;
use rust_decimal::Decimal;

use super::key::RateKey;
use super::sheet::{Factor, Sheet, Stated};
use super::{Reader, zero};
use crate::catalogue::report::Unusable;

/// The provider whose prompt sizes are already "above" at exactly the threshold.
const INCLUSIVE_PROVIDER: &str = "xai";

/// A rate's place, whatever it costs.
type Place = (Option<When>, RateKey);

impl Reader {
    /// The rates that the stated prices make for a model, and those under conditions.
    pub(super) fn rates(
        &mut self,
        name: &str,
        facts: &ModelFacts,
        sheet: Sheet,
    ) -> Result<(Vec<Rate>, Vec<Variant>), Unusable> {
        let Sheet {
            mut stated,
            factors,
            unmapped,
        } = sheet;
        if !stated.iter().any(|s| s.price.is_some()) {
            return Err(Unusable::NotSold(
                match (stated.is_empty(), unmapped.is_empty()) {
                    (_, false) => format!(
                        "only prices that no meter expresses: {}",
                        unmapped.join(", ")
                    ),
                    (true, true) => "no price".to_owned(),
                    (false, true) => {
                        "all prices are zero; state `free` explicitly to sell it for nothing"
                            .to_owned()
                    }
                },
            ));
        }
        in_terms_of_product(&facts.mode, &mut stated);
        let mut prices = self.chosen(name, facts, &stated)?;
        self.follow_output(name, &mut prices);
        self.fill_tiers(name, &mut prices);
        self.halve_lasting_writes(name, &mut prices);
        self.fill_base(name, &mut prices);

        let mut rates = Vec::new();
        let mut varied: BTreeMap<When, Vec<Rate>> = BTreeMap::new();
        for ((when, at), price) in prices {
            let rate = rate(&facts.provider, at, price);
            match when {
                None => rates.push(rate),
                Some(when) => varied.entry(when).or_default().push(rate),
            }
        }
        rates.sort_unstable();
        for (when, factor) in combined(&factors) {
            let dearer = scaled(&rates, factor).map_err(|e| format!("malformed price: {e}"))?;
            if !dearer.is_empty() {
                varied.entry(when).or_default().extend(dearer);
            }
        }
        let variants = varied.into_iter().map(|(when, rates)| {
            let variant = Variant::new(when, rates);
            variant.map_err(|e| format!("malformed price: {e}"))
        });
        Ok((rates, variants.collect::<Result<_, _>>()?))
    }

    /// One price for each place; zeros are decided about.
    fn chosen(
        &mut self,
        name: &str,
        facts: &ModelFacts,
        stated: &[Stated],
    ) -> Result<BTreeMap<Place, UnitPrice>, Unusable> {
        let mut chosen: BTreeMap<Place, &Stated> = BTreeMap::new();
        for one in stated {
            let place = (one.when.clone(), one.at);
            match chosen.get(&place) {
                Some(other) if other.price == one.price => {}
                Some(other) => {
                    let text = format!(
                        "{} and {} price the same: the dearer is kept",
                        (&other.key).min(&one.key),
                        (&other.key).max(&one.key)
                    );
                    self.note(name, text);
                    if other.price < one.price {
                        chosen.insert(place, one);
                    }
                }
                None => {
                    chosen.insert(place, one);
                }
            }
        }
        let mut prices = BTreeMap::new();
        for (place, one) in chosen {
            let price = match one.price {
                Some(price) => price,
                None if zero::is_meant(name, &facts.mode, one.at, stated) => UnitPrice::FREE,
                None => {
                    self.leave_out(name, facts, one)?;
                    continue;
                }
            };
            prices.insert(place, price);
        }
        Ok(prices)
    }

    /// A zero that is not taken at its word: the class falls back to its parent, or is refused.
    fn leave_out(&mut self, name: &str, facts: &ModelFacts, one: &Stated) -> Result<(), Unusable> {
        let Stated { key, at, when, .. } = one;
        let plain = at.tier == ServiceTier::Standard && at.above.is_none() && when.is_none();
        let main = matches!(at.meter, Meter::Input | Meter::Output);
        if plain && main && zero::CONVERSING.contains(&facts.mode.as_str()) {
            return Err(Unusable::NotSold(zero::refused(name, &facts.mode, key)));
        }
        let falls_back = at.tier != ServiceTier::Standard || at.meter.parent().is_some();
        let instead = if falls_back || when.is_some() {
            "the parent class's or standard tier's price applies"
        } else {
            "such use is refused as unpriced"
        };
        self.note(
            name,
            format!("{key} is zero and not taken for free: {instead}"),
        );
        Ok(())
    }

    /// Where batches halve the price of a cache write of five minutes, they halve that of the longer
    /// ones too, for which the source has no key.
    fn halve_lasting_writes(&mut self, name: &str, prices: &mut BTreeMap<Place, UnitPrice>) {
        let half = |price: &UnitPrice| price.scaled(Decimal::new(5, 1)).ok();
        let short = |tier| {
            let tiered = RateKey {
                tier,
                ..RateKey::plain(Meter::CacheWrite5m)
            };
            prices.get(&(None, tiered))
        };
        let halved = short(ServiceTier::Standard).and_then(half);
        if halved.is_none() || halved.as_ref() != short(ServiceTier::Batch) {
            return;
        }
        for meter in [Meter::CacheWrite1h, Meter::CacheWrite12h] {
            let standard = RateKey::plain(meter);
            let batch = RateKey {
                tier: ServiceTier::Batch,
                ..standard
            };
            let price = prices.get(&(None, standard)).and_then(half);
            if let Some(price) = price.filter(|_| !prices.contains_key(&(None, batch))) {
                prices.insert((None, batch), price);
                self.note(
                    name,
                    format!("{meter} is halved in batches as the shorter one is"),
                );
            }
        }
    }

    /// What is only priced under conditions costs the dearest of these prices where none holds.
    fn fill_base(&mut self, name: &str, prices: &mut BTreeMap<Place, UnitPrice>) {
        let mut dearest: BTreeMap<RateKey, UnitPrice> = BTreeMap::new();
        for ((when, at), price) in prices.iter() {
            if when.is_some() && !prices.contains_key(&(None, *at)) {
                let most = dearest.entry(*at).or_insert(*price);
                *most = (*most).max(*price);
            }
        }
        for (at, price) in dearest {
            prices.insert((None, at), price);
            self.note(
                name,
                "priced for conditions only: the dearest price holds where none is known",
            );
        }
    }

    /// Where reasoning costs what the answer costs, it is not priced by itself: so it also does in
    /// the tiers, and above the thresholds, for which only the answer's price is stated.
    fn follow_output(&mut self, name: &str, prices: &mut BTreeMap<Place, UnitPrice>) {
        let same = |((when, at), price): (&Place, &UnitPrice)| {
            let output = RateKey {
                meter: Meter::Output,
                ..*at
            };
            at.meter != Meter::Reasoning || prices.get(&(when.clone(), output)) == Some(price)
        };
        let is_priced = prices.keys().any(|(_, at)| at.meter == Meter::Reasoning);
        if is_priced && prices.iter().all(same) {
            prices.retain(|(_, at), _| at.meter != Meter::Reasoning);
            self.note(name, "reasoning costs what the answer costs");
        }
    }

    /// A tier other than batches that has a price, but none above a threshold that the standard
    /// tier has, costs there what the standard tier costs.
    fn fill_tiers(&mut self, name: &str, prices: &mut BTreeMap<Place, UnitPrice>) {
        let standard: Vec<(Place, UnitPrice)> = prices
            .iter()
            .filter(|((_, at), _)| at.tier == ServiceTier::Standard && at.above.is_some())
            .map(|(place, price)| (place.clone(), *price))
            .collect();
        let own = [ServiceTier::Standard, ServiceTier::Batch];
        for tier in ServiceTier::ALL.iter().filter(|tier| !own.contains(tier)) {
            for ((when, at), price) in &standard {
                let at = RateKey { tier: *tier, ..*at };
                let base = (when.clone(), RateKey { above: None, ..at });
                let place = (when.clone(), at);
                if prices.contains_key(&base) && !prices.contains_key(&place) {
                    prices.insert(place, *price);
                    self.note(
                        name,
                        format!("{tier} has no price for long prompts: the standard one applies"),
                    );
                }
            }
        }
    }
}

/// The conditions that factors make, alone and together, with their products.
fn combined(factors: &[Factor]) -> Vec<(When, Decimal)> {
    let mut all: Vec<(BTreeSet<Attribute>, When, Decimal)> = Vec::new();
    for Factor {
        attribute,
        asked,
        times,
    } in factors
    {
        let with: Vec<_> = all
            .iter()
            .filter(|(named, _, _)| !named.contains(attribute))
            .map(|(named, when, product)| {
                let named = named.iter().copied().chain([*attribute]).collect();
                let when = when.clone().and(*attribute, asked.clone());
                (named, when, product * times)
            })
            .collect();
        all.extend(with);
        let when = When::default().and(*attribute, asked.clone());
        all.push((BTreeSet::from([*attribute]), when, *times));
    }
    all.into_iter()
        .map(|(_, when, factor)| (when, factor))
        .collect()
}

/// What a factor on the use of a model makes of its rates: of all but those of tools and of the
/// call itself.
fn scaled(rates: &[Rate], factor: Decimal) -> Result<Vec<Rate>, billing_core::price::PriceError> {
    let of_use = |rate: &&Rate| {
        let tool = matches!(
            rate.meter,
            Meter::Request
                | Meter::Search
                | Meter::SearchLow
                | Meter::SearchMedium
                | Meter::SearchHigh
                | Meter::MapSearch
                | Meter::Session
        );
        !tool && !rate.price.is_free()
    };
    rates
        .iter()
        .filter(of_use)
        .map(|rate| {
            Ok(Rate {
                price: rate.price.scaled(factor)?,
                ..*rate
            })
        })
        .collect()
}

/// Puts prices that LiteLLM names after the request under the meter of what is made or measured.
fn in_terms_of_product(mode: &str, stated: &mut [Stated]) {
    let prices_output = stated
        .iter()
        .any(|s| s.price.is_some() && s.key.starts_with("output_"));
    let priced = stated.iter().filter(|s| s.price.is_some());
    // A chat that sells neither prompt nor answer but a piece: each call makes one.
    let by_piece = zero::CONVERSING.contains(&mode)
        && priced.clone().count() > 0
        && priced.clone().all(|s| s.at.meter == Meter::OutputImage);
    for one in stated.iter_mut() {
        one.at.meter = match (mode, one.at.meter) {
            // What is transcribed is the audio given; its length is stated once, under either name.
            ("audio_transcription", Meter::OutputTime) => Meter::InputTime,
            // Without a price of its output, an image model's "input" image is the one it makes.
            ("image_generation", Meter::InputImage) if !prices_output => Meter::OutputImage,
            ("image_generation", Meter::InputPixel) if !prices_output => Meter::OutputPixel,
            (_, Meter::OutputImage) if by_piece => Meter::Request,
            (_, meter) => meter,
        };
    }
}

fn rate(provider: &str, at: RateKey, price: UnitPrice) -> Rate {
    Rate {
        meter: at.meter,
        tier: at.tier,
        above: at.above.map(|prompt_tokens| ContextThreshold {
            prompt_tokens,
            inclusive: provider == INCLUSIVE_PROVIDER,
        }),
        price,
    }
}
