//! What a call may cost at most, before it is made.

use super::{Foreseen, PriceVersion, Rate, RatingError, ServiceTier, UnitPrice, Variant};
use crate::meter::{Meter, Usage};
use crate::money::{Exact, Nanos};

impl PriceVersion {
    /// The most that a call within this ceiling can cost, as far as it is foreseen, rounded up.
    ///
    /// Each quantity is priced at the dearest rate that may come to apply to it: its own meter's
    /// or that of a class it may turn into (a cache read or write for input, reasoning for
    /// output), in each tier, below or above each threshold that the prompt may pass, with and
    /// without each variant whose condition may come to hold. A class that only some
    /// requests can reach (a cache write of an hour, audio) is in the ceiling when this one can.
    ///
    /// # Errors
    /// [`RatingError::NoRate`] when a meter of the ceiling has no price,
    /// [`RatingError::Money`] when the amount does not fit.
    pub fn worst_case(
        &self,
        ceiling: &Usage,
        foreseen: &Foreseen<'_>,
    ) -> Result<Nanos, RatingError> {
        let possible = Possible::new(self, ceiling, foreseen);
        let mut total = Exact::ZERO;
        for (meter, quantity) in ceiling.iter().filter(|(m, _)| *m != Meter::Request) {
            let price = may_become(meter)
                .iter()
                .filter_map(|class| possible.dearest(*class))
                .max()
                .ok_or(RatingError::NoRate { meter })?;
            total = total.plus(price.times(meter, quantity)?)?;
        }
        if let Some(price) = possible.dearest(Meter::Request) {
            let requests = ceiling.get(Meter::Request).max(1);
            total = total.plus(price.times(Meter::Request, requests)?)?;
        }
        Ok(total.ceiling()?)
    }

    /// The most output, in tokens, that keeps the worst case of a ceiling within an amount; `None`
    /// when the rest of the ceiling alone does not fit.
    pub fn most_output_within(
        &self,
        ceiling: &Usage,
        foreseen: &Foreseen<'_>,
        amount: Nanos,
    ) -> Option<u64> {
        let fits = |output| {
            let capped = ceiling.with(Meter::Output, output);
            self.worst_case(&capped, foreseen)
                .is_ok_and(|cost| cost <= amount)
        };
        most_that_fits(ceiling.get(Meter::Output), fits)
    }
}

/// The largest number up to `high` that fits, where all below one that fits do so too; `None` where
/// not even nothing does.
pub(crate) fn most_that_fits(mut high: u64, fits: impl Fn(u64) -> bool) -> Option<u64> {
    let mut low = 0;
    if !fits(low) {
        return None;
    }
    while low < high {
        let middle = high.saturating_sub(high.saturating_sub(low) >> 1);
        if fits(middle) {
            low = middle;
        } else {
            high = middle.saturating_sub(1);
        }
    }
    Some(low)
}

/// The rates of a price that may come to apply to a call.
struct Possible<'a> {
    price: &'a PriceVersion,
    variants: Vec<&'a Variant>,
    tiers: &'a [ServiceTier],
    prompt: u64,
}

impl<'a> Possible<'a> {
    fn new(price: &'a PriceVersion, ceiling: &Usage, foreseen: &Foreseen<'a>) -> Self {
        let variants = price.variants().iter();
        Self {
            price,
            variants: variants
                .filter(|variant| variant.when.may_hold(foreseen, ceiling))
                .collect(),
            tiers: foreseen.tiers,
            prompt: ceiling.prompt_tokens(),
        }
    }

    /// The dearest price that [`Applicable::rate_for`](super::Applicable::rate_for) may pick for a
    /// meter.
    fn dearest(&self, meter: Meter) -> Option<UnitPrice> {
        let may_apply = |r: &&Rate| {
            r.meter == meter
                && (r.tier == ServiceTier::Standard || self.tiers.contains(&r.tier))
                && r.above.is_none_or(|above| above.is_passed_by(self.prompt))
        };
        let own = self.price.rates().iter().filter(may_apply);
        let varied = self.variants.iter().flat_map(|variant| &variant.rates);
        let dearest = own.chain(varied.filter(may_apply)).map(|r| r.price).max();
        let covered = self
            .price
            .rates()
            .iter()
            .any(|r| r.meter == meter && r.tier == ServiceTier::Standard && r.above.is_none());
        // Where the meter may be left without a rate of its own, its parent's applies.
        let inherited = match meter.parent() {
            Some(parent) if !covered => self.dearest(parent),
            Some(_) | None => None,
        };
        dearest.max(inherited)
    }
}

/// The classes that a quantity of a meter, bounded before the call, may turn out to be.
pub(super) fn may_become(meter: Meter) -> &'static [Meter] {
    match meter {
        Meter::Input => &[
            Meter::Input,
            Meter::CacheRead,
            Meter::ExplicitCacheRead,
            Meter::CacheWrite5m,
        ],
        Meter::Search => &[
            Meter::Search,
            Meter::SearchLow,
            Meter::SearchMedium,
            Meter::SearchHigh,
        ],
        Meter::Output => &[Meter::Output, Meter::Reasoning],
        Meter::AudioInput => &[Meter::AudioInput, Meter::AudioCacheWrite, Meter::Input],
        Meter::ImageInput => &[Meter::ImageInput, Meter::Input],
        Meter::AudioOutput => &[Meter::AudioOutput, Meter::Output],
        Meter::ImageOutput => &[Meter::ImageOutput, Meter::Output],
        Meter::VideoInput => &[Meter::VideoInput, Meter::Input],
        Meter::VideoOutput => &[Meter::VideoOutput, Meter::Output],
        other @ (Meter::CacheRead
        | Meter::ExplicitCacheRead
        | Meter::CacheWrite5m
        | Meter::CacheWrite1h
        | Meter::CacheWrite12h
        | Meter::Reasoning
        | Meter::AudioCacheRead
        | Meter::AudioCacheWrite
        | Meter::ImageCacheRead
        | Meter::Citation
        | Meter::Request
        | Meter::InputImage
        | Meter::OutputImage
        | Meter::InputTime
        | Meter::OutputTime
        | Meter::AudioInputTime
        | Meter::VideoInputTime
        | Meter::VideoOutputTime
        | Meter::InputCharacter
        | Meter::OutputCharacter
        | Meter::InputPixel
        | Meter::OutputPixel
        | Meter::Page
        | Meter::AnnotationPage
        | Meter::Query
        | Meter::SearchLow
        | Meter::SearchMedium
        | Meter::SearchHigh
        | Meter::SearchResult
        | Meter::MapSearch
        | Meter::Session
        | Meter::TextMessage
        | Meter::Credit) => itself(other),
    }
}

fn itself(meter: Meter) -> &'static [Meter] {
    let at = Meter::ALL.iter().position(|m| *m == meter).unwrap_or(0);
    Meter::ALL.get(at..=at).unwrap_or(&[])
}
