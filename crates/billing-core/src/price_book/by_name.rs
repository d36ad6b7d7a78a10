//! Models by name: in order for lists, and found by one comparison or two.

use super::PricedModel;

/// Models in the order of their names, with a table of hashes that finds one without a search.
///
/// The hash is the same in every run. Who asks for a name cannot make the table worse: only what is
/// kept decides how far a name may lie from its place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ByName {
    models: Vec<PricedModel>,
    /// One more than the place of a model, or zero where there is none; a power of two of them.
    slots: Vec<u32>,
}

impl ByName {
    /// The models in order; of those with one name the last.
    pub(super) fn new(models: impl IntoIterator<Item = PricedModel>) -> Self {
        let mut models: Vec<_> = models.into_iter().collect();
        models.reverse();
        models.sort_by(|a, b| a.name.cmp(&b.name));
        models.dedup_by(|a, b| a.name == b.name);
        models.shrink_to_fit();
        let size = models.len().saturating_mul(2).next_power_of_two();
        let mut table = Self {
            models,
            slots: vec![0; size],
        };
        for place in 0..table.models.len() {
            table.enter(place);
        }
        table
    }

    fn enter(&mut self, place: usize) {
        let Some(model) = self.models.get(place) else {
            return;
        };
        let kept = u32::try_from(place.saturating_add(1)).unwrap_or(0);
        for slot in self.slots_of(model.name.as_str()) {
            if let Some(free) = self.slots.get_mut(slot).filter(|slot| **slot == 0) {
                *free = kept;
                return;
            }
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&PricedModel> {
        for slot in self.slots_of(name) {
            let kept = usize::try_from(*self.slots.get(slot)?).ok()?;
            let model = self.models.get(kept.checked_sub(1)?)?;
            if model.name.as_str() == name {
                return Some(model);
            }
        }
        None
    }

    pub(super) fn all(&self) -> &[PricedModel] {
        &self.models
    }

    /// Where a name may lie: from its own place on, each once.
    fn slots_of(&self, name: &str) -> impl Iterator<Item = usize> + use<> {
        let last = self.slots.len().saturating_sub(1);
        let low = hash(name) & u64::from(u32::MAX);
        let first = usize::try_from(low).unwrap_or(0);
        (0..=last).map(move |step| first.wrapping_add(step) & last)
    }
}

/// Eight bytes at a time, mixed so that the low bits depend on all of them.
fn hash(name: &str) -> u64 {
    const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
    let bytes = name.as_bytes();
    let length = u64::try_from(bytes.len()).unwrap_or(0);
    bytes.chunks(8).fold(length, |hash, chunk| {
        let mut eight = [0; 8];
        for (to, from) in eight.iter_mut().zip(chunk) {
            *to = *from;
        }
        let mixed = (hash ^ u64::from_le_bytes(eight)).wrapping_mul(MIX);
        mixed ^ (mixed >> 32)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::price::ModelName;
    use crate::price_book::ModelFacts;

    fn model(name: &str, provider: &str) -> PricedModel {
        let facts = ModelFacts {
            provider: provider.to_owned(),
            ..ModelFacts::default()
        };
        PricedModel::new(ModelName::new(name), facts, Vec::new())
    }

    #[test]
    fn every_name_is_found_and_no_other() {
        let names: Vec<String> = (0..5_000).map(|n| format!("provider/model-{n}")).collect();
        let table = ByName::new(names.iter().rev().map(|name| model(name, "p")));
        assert_eq!(table.all().len(), names.len());
        assert!(table.all().is_sorted_by_key(|model| model.name.clone()));
        for name in &names {
            assert_eq!(table.get(name).unwrap().name.as_str(), name);
            assert!(table.get(&format!("{name}x")).is_none());
        }
        assert!(table.get("").is_none());
        assert!(ByName::default().get("a").is_none());
        assert!(ByName::new([]).get("a").is_none());
    }

    #[test]
    fn of_two_with_one_name_the_last_is_kept() {
        let table = ByName::new([model("a", "first"), model("b", "p"), model("a", "last")]);
        assert_eq!(table.all().len(), 2);
        assert_eq!(table.get("a").unwrap().facts.provider, "last");
    }
}
