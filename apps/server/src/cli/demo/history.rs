//! The past of a demo: some customers' months, lived through day by day on a date that begins in the
//! past and ends today. What happens goes the ways that it goes in a house: calls through the gate and a
//! simulated upstream, money through the books, subscriptions through orders and the billing run.

use billing_core::port::clock::{Advance, Clock};
use time::{Duration, OffsetDateTime};
use tokio_util::sync::CancellationToken;

use super::Login;
use super::calls::Callers;
use super::customers::{Customer, Event, customers};
use crate::billing::recognize;
use crate::cli::billing::over;
use crate::cli::{CliError, say};
use crate::clock::SystemClock;
use crate::config::Config;
use crate::jobs;
use crate::lapses::lapse_all;
use crate::wiring::{House, OwnSpool, WiringError, open_house, open_ports_behind};

/// Who owns the first customer.
const OWNER: &str = "customer@demo.test";
/// How often it is said how far it has come, in days.
const TOLD: u16 = 30;
/// At which hours of the day calls are made, of UTC.
const HOURS: [i64; 4] = [2, 9, 14, 20];

/// Lives through the days up to now; answers with who owns the first of the customers. What was begun and not finished is to be begun anew on an empty
/// database.
///
/// # Errors
/// [`CliError`].
pub(super) async fn live(config: &Config, spool: &OwnSpool, days: u16) -> Result<Login, CliError> {
    let ports = open_ports_behind(config, Duration::days(i64::from(days))).await?;
    super::take_catalogue(&ports).await?;
    let house = open_house(config, ports, spool.clone()).await?;
    let stop = CancellationToken::new();
    let background = jobs::start(&house, config.checker.clone(), config.retention, &stop);
    let lived = every_day(&house, days).await;
    stop.cancel();
    background.wait().await;
    house.leases.give_all_back();
    house.orders.close();
    house.orders.wait().await;
    if let Err(error) = house.node.leave(house.leases.node()).await {
        tracing::warn!(%error, "the demo's past is not left");
    }
    house.ports.store.close().await;
    lived
}

async fn every_day(house: &House, days: u16) -> Result<Login, CliError> {
    let begin = house.ports.clock.now();
    let mut customers = customers(&house.ports).await?;
    let mut callers = Callers::of(house)?;
    for day in 0..days {
        let morning = begin.saturating_add(Duration::days(i64::from(day)));
        for customer in &mut customers {
            for event in customer.on(day) {
                happen(house, customer, event).await?;
            }
        }
        for hour in HOURS {
            move_to(house, morning.saturating_add(Duration::hours(hour))).await?;
            callers.call(house, &customers, day).await?;
        }
        bill(house).await?;
        let lived = day.saturating_add(1);
        if lived.is_multiple_of(TOLD) && lived < days {
            say(&format!(
                "tollgate demo: {lived} of {days} days have passed"
            ));
        }
    }
    move_to(house, SystemClock.now()).await?;
    bill(house).await?;
    let first = customers.first();
    let first = first.ok_or_else(|| CliError::Found("the demo has no customers".to_owned()))?;
    Ok(Login {
        email: OWNER.to_owned(),
        password: first.owner(&house.ports, OWNER).await?,
        account_id: first.account.to_string(),
    })
}

/// Moves the date ahead, never past the machine's.
async fn move_to(house: &House, to: OffsetDateTime) -> Result<(), CliError> {
    let ports = &house.ports;
    let to = to.min(SystemClock.now());
    if to > ports.clock.now() {
        let moved = ports.date.advance(Advance::To(to)).await;
        moved.map_err(WiringError::from)?;
    }
    Ok(())
}

async fn happen(house: &House, customer: &mut Customer, event: Event) -> Result<(), CliError> {
    customer.does(&house.ports, event).await?;
    // What a node remembers of an account it hears anew within a second, and the day is shorter.
    house.callers.forget(customer.account);
    Ok(())
}

/// Does what is due, as nodes do each minute.
async fn bill(house: &House) -> Result<(), CliError> {
    let ports = &house.ports;
    let ran = over(ports, false).all().await;
    if let Some((subscription, why)) = ran.failed.first() {
        let of = subscription.map_or_else(String::new, |id| format!("{id}: "));
        return Err(CliError::Found(format!("the demo's billing: {of}{why}")));
    }
    lapse_all(&*ports.books, &*ports.clock, false).await?;
    recognize(&*ports.invoices, &*ports.clock).await?;
    house.callers.forget_all();
    Ok(())
}
