//! The lanes of each channel: a call waits for its place, for a bounded time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gateway_core::lanes::{Entry, Lane, LaneLimits, Lanes, Ticket};
use tokio::sync::oneshot;

/// The places of one channel, on this node; without limits everybody goes at once.
#[derive(Debug, Clone, Default)]
pub(crate) struct ChannelLanes(Option<Arc<Mutex<Traffic>>>);

#[derive(Debug)]
struct Traffic {
    lanes: Lanes,
    waiting: HashMap<Ticket, oneshot::Sender<()>>,
}

/// A call's place at a channel, until the channel's answer is read. Free again when it is dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    traffic: Option<Arc<Mutex<Traffic>>>,
    lane: Lane,
}

/// Why a call gets no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoSlot {
    /// As many wait as may.
    Full,
    /// It has waited as long as it may.
    Late,
}

/// A call in line. Dropped before it was let go, it stands in line no more.
struct InLine<'a> {
    traffic: &'a Arc<Mutex<Traffic>>,
    lane: Lane,
    ticket: Ticket,
    is_served: bool,
}

impl ChannelLanes {
    /// The lanes of a channel that takes so many calls at once.
    pub(crate) fn new(limits: LaneLimits) -> Self {
        let traffic = Traffic {
            lanes: Lanes::new(limits),
            waiting: HashMap::new(),
        };
        Self(Some(Arc::new(Mutex::new(traffic))))
    }

    /// A place that is free now.
    pub(crate) fn try_enter(&self, lane: Lane) -> Option<Slot> {
        let goes = match &self.0 {
            None => true,
            Some(traffic) => lock(traffic).lanes.try_enter(lane),
        };
        goes.then(|| self.slot(lane))
    }

    /// A place, waited for no longer than `patience`.
    pub(crate) async fn enter(&self, lane: Lane, patience: Duration) -> Result<Slot, NoSlot> {
        let Some(traffic) = &self.0 else {
            return Ok(self.slot(lane));
        };
        let (ticket, served) = {
            let mut at = lock(traffic);
            match at.lanes.enter(lane) {
                Entry::Goes => return Ok(self.slot(lane)),
                Entry::Full => return Err(NoSlot::Full),
                Entry::Waits(ticket) => {
                    let (tell, told) = oneshot::channel();
                    at.waiting.insert(ticket, tell);
                    (ticket, told)
                }
            }
        };
        let mut line = InLine {
            traffic,
            lane,
            ticket,
            is_served: false,
        };
        match tokio::time::timeout(patience, served).await {
            Ok(Ok(())) => {
                line.is_served = true;
                Ok(self.slot(lane))
            }
            Ok(Err(_)) | Err(_) => Err(NoSlot::Late),
        }
    }

    /// How many calls of a lane are under way, and how many wait; `None` where it has no limits.
    pub(crate) fn traffic(&self, lane: Lane) -> Option<[usize; 2]> {
        let traffic = lock(self.0.as_ref()?);
        Some([traffic.lanes.running(lane), traffic.lanes.waiting(lane)])
    }

    fn slot(&self, lane: Lane) -> Slot {
        Slot {
            traffic: self.0.clone(),
            lane,
        }
    }
}

impl Traffic {
    fn leave(&mut self, lane: Lane) {
        for ticket in self.lanes.leave(lane) {
            // Who is gone meanwhile finds that it was let go, and leaves.
            let told = self.waiting.remove(&ticket).map(|tell| tell.send(()));
            tracing::trace!(?ticket, ?told, "let go");
        }
    }
}

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        if self.is_served {
            return;
        }
        let mut at = lock(self.traffic);
        at.waiting.remove(&self.ticket);
        if !at.lanes.give_up(self.lane, self.ticket) {
            at.leave(self.lane);
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(traffic) = &self.traffic {
            lock(traffic).leave(self.lane);
        }
    }
}

fn lock(traffic: &Arc<Mutex<Traffic>>) -> MutexGuard<'_, Traffic> {
    traffic.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    const SOON: Duration = Duration::from_mins(1);

    fn one_place() -> ChannelLanes {
        ChannelLanes::new(LaneLimits::new(1, (0, 0), 1).unwrap())
    }

    #[tokio::test]
    async fn who_waits_goes_when_a_place_is_free() {
        let lanes = one_place();
        let slot = lanes.try_enter(Lane::Standard).unwrap();
        assert!(lanes.try_enter(Lane::Boosted).is_none());
        let mut waits = Box::pin(lanes.enter(Lane::Boosted, SOON));
        assert!((&mut waits).now_or_never().is_none());
        assert_eq!(lanes.traffic(Lane::Boosted), Some([0, 1]));
        assert_eq!(
            lanes.enter(Lane::Boosted, SOON).await.unwrap_err(),
            NoSlot::Full
        );
        drop(slot);
        let slot = waits.await.unwrap();
        assert_eq!(lanes.traffic(Lane::Boosted), Some([1, 0]));
        drop(slot);
        assert_eq!(lanes.traffic(Lane::Boosted), Some([0, 0]));
    }

    #[tokio::test]
    async fn who_waits_too_long_or_leaves_takes_no_place() {
        let lanes = one_place();
        let slot = lanes.try_enter(Lane::Standard).unwrap();
        let late = lanes.enter(Lane::Standard, Duration::ZERO).await;
        assert_eq!(late.unwrap_err(), NoSlot::Late);
        let mut waits = Box::pin(lanes.enter(Lane::Standard, SOON));
        assert!((&mut waits).now_or_never().is_none());
        // Let go, and gone before it heard of it.
        drop(slot);
        drop(waits);
        assert_eq!(lanes.traffic(Lane::Standard), Some([0, 0]));
        assert!(lanes.try_enter(Lane::Standard).is_some());
    }

    #[tokio::test]
    async fn a_channel_without_limits_takes_everybody() {
        let lanes = ChannelLanes::default();
        let slots: Vec<_> = (0..100).map(|_| lanes.try_enter(Lane::Standard)).collect();
        assert!(slots.iter().all(Option::is_some));
        assert_eq!(lanes.traffic(Lane::Standard), None);
    }
}
