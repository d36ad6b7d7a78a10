//! What plans and tiers cost beside a plain account: the same calls through the same processes, with
//! the keys of accounts that a plan's quotas pay for, and that a wallet pays for at a tier's price when
//! the quotas are used up.

use serde_json::{Value, json};

use super::report::{against, median, thousandths};
use super::round::{Case, Kind, Round, Target};
use super::{FUNDS, Settings, Stand};
use crate::Failure;
use crate::call::{Ask, Caller};
use crate::control::Control;
use crate::tariff::{QuotaTerms, Tariff, cost, knows_plan, knows_price};

/// How many connections call.
const CONNECTIONS: usize = 64;
/// More calls and tokens than a run makes.
const ENDLESS: u64 = 1_000_000_000_000;
/// A window that does not end meanwhile, in seconds.
const YEAR_S: u32 = 31_536_000;

/// Whose calls are timed beside the plain ones.
#[derive(Debug, Clone, Copy)]
struct Other {
    /// What its target is called on SQLite and on PostgreSQL.
    names: [&'static str; 2],
    plan: &'static str,
    /// How many calls its quotas pay.
    quota: u64,
}

const OTHERS: [Other; 2] = [
    Other {
        names: ["sqlite, by quotas", "postgres, by quotas"],
        plan: "endless",
        quota: ENDLESS,
    },
    Other {
        names: ["sqlite, in a tier", "postgres, in a tier"],
        plan: "one",
        quota: 1,
    },
];

/// A Tollgate with accounts on plans beside its plain one.
pub(super) struct OnPlan<'a> {
    stand: &'a Stand,
    others: Vec<Target>,
}

impl<'a> OnPlan<'a> {
    /// Puts accounts on the plans and waits until the process knows them; `place` is that of the
    /// database among names.
    ///
    /// # Errors
    /// An account is refused, or not known in time.
    pub(super) async fn of(stand: &'a Stand, place: usize) -> Result<Self, Failure> {
        let control = Control::sign_in(&stand.gate).await?;
        let mut others = Vec::new();
        for other in OTHERS {
            let secret = enter(&control, stand, other).await?;
            let name = other.names.get(place).ok_or("there is no such place")?;
            others.push(Target {
                name,
                plain: stand.target.plain.clone(),
                stream: stand.target.stream.clone(),
                key: secret,
                pid: stand.target.pid,
            });
        }
        Ok(Self { stand, others })
    }
}

/// An account on a plan and in a tier that halves prices. Gives its key.
async fn enter(control: &Control, stand: &Stand, other: Other) -> Result<String, Failure> {
    let ask = Ask::of("sim/echo");
    let (account, key) = control.funded(other.plan, FUNDS).await?;
    let caller = Caller::new(stand.gate.origin(), &key.secret)?;
    let list = cost(&caller, &ask).await?;
    let quota = |unit, amount| QuotaTerms {
        unit,
        amount,
        window: json!({ "rolling": YEAR_S }),
    };
    let tariff = Tariff {
        database: &stand.database,
    };
    tariff.halve(&[&account])?;
    knows_price(&caller, &ask, list / 2).await?;
    let quotas = [quota("calls", other.quota), quota("tokens", ENDLESS)];
    tariff.subscribe(&account, (other.plan, "wallet"), &quotas)?;
    knows_plan(&caller).await?;
    // Now a quota pays, or the one call that it pays is over: either way for good.
    let paid = if other.quota == ENDLESS { 0 } else { list / 2 };
    knows_price(&caller, &ask, paid).await?;
    Ok(key.secret)
}

impl Settings {
    /// Times them all by turns, nginx among them.
    ///
    /// # Errors
    /// The generator failed.
    pub(super) fn on_plan(
        &self,
        nginx: &Target,
        stands: &[OnPlan<'_>],
    ) -> Result<Vec<(Case, Vec<Round>)>, Failure> {
        let mut targets = vec![nginx];
        for stand in stands {
            targets.push(&stand.stand.target);
            targets.extend(&stand.others);
        }
        let mut cases = Vec::new();
        for kind in [Kind::Plain, Kind::Paced] {
            let case = Case::closed(kind, CONNECTIONS);
            cases.push((case, self.rounds(&targets, case)?));
        }
        Ok(cases)
    }
}

/// One case: each beside the plain account on the same database, and beside nginx.
pub(super) fn report((case, rounds): &(Case, Vec<Round>)) -> Value {
    let mut report = json!({ "kind": case.kind.name(), "connections": case.connections });
    for (place, plain) in super::report::TOLLGATES.into_iter().enumerate() {
        let others = OTHERS.iter().filter_map(|other| other.names.get(place));
        for name in others.copied().chain([plain]) {
            let beside =
                |other: &str, of: fn(&Round) -> u64| thousandths(against(rounds, name, other, of));
            report[name] = json!({
                "rps": median(rounds, name, |r| r.rps),
                "cpu_us": thousandths(median(rounds, name, |r| r.cpu_nanos)),
                "cpu_of_plain": beside(plain, |r| r.cpu_nanos),
                "rps_of_plain": beside(plain, |r| r.rps),
                "cpu_of_nginx": beside("nginx", |r| r.cpu_nanos),
                "last_byte_us": {
                    "p50": median(rounds, name, |r| r.last_p50),
                    "p99": median(rounds, name, |r| r.last_p99),
                },
            });
        }
    }
    report
}
