//! The channels and how they fare: the router under a lock, with the time put in.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use billing_core::price::Prospect;
use gateway_core::lanes::Lane;
use gateway_core::route::{Report, Router, Standing};

use super::lanes::ChannelLanes;

/// The channels of this node.
#[derive(Debug)]
pub(crate) struct Routes {
    router: Mutex<Router>,
    /// What is known of calls through each channel. Channels that are alike share one.
    prospects: Vec<Arc<Prospect>>,
    places: Vec<ChannelPlaces>,
    since: Instant,
}

/// How many calls a channel takes, and of which lane.
#[derive(Debug, Clone, Default)]
pub(crate) struct ChannelPlaces {
    /// Its lanes.
    pub(crate) lanes: ChannelLanes,
    /// How long a call waits in them.
    pub(crate) patience: Duration,
    /// Whether only boosted calls go through it.
    pub(crate) boosted_only: bool,
}

impl ChannelPlaces {
    const fn takes(&self, lane: Lane) -> bool {
        !self.boosted_only || matches!(lane, Lane::Boosted)
    }
}

/// A channel to try.
#[derive(Debug, Clone)]
pub(crate) struct Stop {
    /// Its number.
    pub(crate) index: usize,
    /// Its name on record.
    pub(crate) channel: String,
    /// The model as it knows it.
    pub(crate) model: String,
    /// Its places.
    pub(crate) places: ChannelPlaces,
}

impl Routes {
    /// Routes over these channels, with what is known beforehand of calls through each.
    pub(crate) fn new(
        router: Router,
        prospects: impl IntoIterator<Item = Prospect>,
        places: Vec<ChannelPlaces>,
    ) -> Self {
        let mut shared: Vec<Arc<Prospect>> = Vec::new();
        for prospect in prospects {
            let alike = shared.iter().find(|known| ***known == prospect).cloned();
            shared.push(alike.unwrap_or_else(|| Arc::new(prospect)));
        }
        Self {
            router: Mutex::new(router),
            prospects: shared,
            places,
            since: Instant::now(),
        }
    }

    /// What is known beforehand of a call of a model in a lane, whichever channel will serve it;
    /// `None` where none does.
    pub(crate) fn prospect(&self, model: &str, lane: Lane) -> Option<Arc<Prospect>> {
        let router = self.router.lock().unwrap_or_else(PoisonError::into_inner);
        let channels = router.channels().zip(&self.prospects).zip(&self.places);
        let serving =
            channels.filter(|((channel, _), places)| channel.serves(model) && places.takes(lane));
        let mut prospects = serving.map(|((_, prospect), _)| prospect);
        let first = Arc::clone(prospects.next()?);
        Some(prospects.fold(first, |all, one| {
            if Arc::ptr_eq(&all, one) {
                all
            } else {
                Arc::new(all.or(one))
            }
        }))
    }

    /// The channels to try for a call of a model in a lane, best first, with the name that each knows
    /// the model by.
    pub(crate) fn order(&self, model: &str, lane: Lane, pick: u64) -> Vec<Stop> {
        let now = self.now();
        let mut router = self.router.lock().unwrap_or_else(PoisonError::into_inner);
        let takes = |index: usize| self.places.get(index).is_some_and(|at| at.takes(lane));
        let order = router.order(model, takes, (now, pick));
        let stop = |index: usize| {
            let channel = router.channel(index)?;
            let places = self.places.get(index)?;
            let model = channel.upstream_model(model).into_owned();
            Some(Stop {
                index,
                channel: channel.name.clone(),
                model,
                places: places.clone(),
            })
        };
        order.into_iter().filter_map(stop).collect()
    }

    /// Each channel, and whether calls go through it: 1, or 0 while it is left alone.
    pub(crate) fn standings(&self) -> Vec<(String, u64)> {
        let now = self.now();
        let router = self.router.lock().unwrap_or_else(PoisonError::into_inner);
        let standing = |(index, channel): (usize, &gateway_core::route::Channel)| {
            let is_open = router.standing(index, now) != Standing::Closed;
            (channel.name.clone(), u64::from(is_open))
        };
        router.channels().enumerate().map(standing).collect()
    }

    /// Each channel that takes so many calls at once, with how many of each lane are under way and
    /// how many wait.
    pub(crate) fn traffic(&self) -> Vec<(String, Lane, [usize; 2])> {
        let router = self.router.lock().unwrap_or_else(PoisonError::into_inner);
        let channels = router.channels().zip(&self.places);
        let traffic = channels.flat_map(|(channel, places)| {
            let of = |lane| Some((channel.name.clone(), lane, places.lanes.traffic(lane)?));
            Lane::ALL.into_iter().filter_map(of)
        });
        traffic.collect()
    }

    /// Whether any channel serves a model.
    pub(crate) fn serves(&self, model: &str) -> bool {
        let router = self.router.lock().unwrap_or_else(PoisonError::into_inner);
        router.channels().any(|channel| channel.serves(model))
    }

    /// Takes note of how a channel did.
    pub(crate) fn report(&self, index: usize, report: Report) {
        let now = self.now();
        self.router
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .report(index, report, now);
    }

    fn now(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
