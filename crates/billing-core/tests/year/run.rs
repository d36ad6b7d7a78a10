//! The shell around the billing run: does what it says, and goes on where another was first.

use billing_core::billing_run::{Next, SANE, collected, next, payable};
use billing_core::id::SubscriptionId;
use billing_core::port::subscriptions::{
    Collected, Collector, RecordError, Standing, Subscriptions,
};
use billing_core::subscription::{Dunning, Fee};
use time::OffsetDateTime;

use super::house::House;

/// How many subscriptions are read at a time.
const PAGE: u32 = 50;

/// Does everything that is due by an instant.
pub(crate) async fn all(
    house: &House,
    dunning: &Dunning,
    now: OffsetDateTime,
) -> Result<(), RecordError> {
    let mut after = None;
    loop {
        let ids = house.due(now, after, PAGE).await?;
        for id in &ids {
            one(house, dunning, *id, now).await?;
        }
        after = ids.last().copied().or(after);
        if u32::try_from(ids.len()).unwrap() < PAGE {
            return Ok(());
        }
    }
}

async fn one(
    house: &House,
    dunning: &Dunning,
    id: SubscriptionId,
    now: OffsetDateTime,
) -> Result<(), RecordError> {
    for _ in 0..SANE {
        let Some(standing) = house.load(id, now).await? else {
            return Ok(());
        };
        match next(&standing, dunning, now) {
            Next::Nothing => return Ok(()),
            Next::Park(why) => return house.park(id, &why, now).await,
            Next::Save(saving) => match house.save(&saving, now).await {
                Ok(()) | Err(RecordError::Changed) => {}
                Err(error) => return Err(error),
            },
            Next::Collect { fee, attempt } => {
                if collect(house, &standing, (&fee, attempt), (dunning, now)).await?
                    == Collected::Unknown
                {
                    return Ok(());
                }
            }
        }
    }
    house.park(id, "more is due to it than can be", now).await
}

async fn collect(
    house: &House,
    standing: &Standing,
    (fee, attempt): (&Fee, u8),
    (dunning, now): (&Dunning, OffsetDateTime),
) -> Result<Collected, RecordError> {
    let account = standing.subscription.account;
    let answer = house.collect(account, fee, attempt, now).await?;
    let Some(saving) = collected(standing, fee, answer, (dunning, now)) else {
        return Ok(answer);
    };
    match house.save(&saving, now).await {
        Ok(()) | Err(RecordError::Changed) => Ok(answer),
        Err(error) => Err(error),
    }
}

/// Tries to pay what a subscription owes, by hand.
pub(crate) async fn pay(
    house: &House,
    id: SubscriptionId,
    now: OffsetDateTime,
) -> Result<Option<Collected>, RecordError> {
    let Some(standing) = house.load(id, now).await? else {
        return Ok(None);
    };
    let Some((fee, attempt)) = payable(&standing) else {
        return Ok(None);
    };
    let dunning = Dunning::default();
    let answer = collect(house, &standing, (&fee, attempt), (&dunning, now)).await?;
    Ok(Some(answer))
}
