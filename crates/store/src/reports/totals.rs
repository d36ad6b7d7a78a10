//! Totals from the roll-ups, group by group.

use std::collections::BTreeMap;

use billing_core::budget::{Amount, BudgetUnit};
use billing_core::id::{AccountId, KeyId, PlanVersionId, QuotaId, UserId};
use billing_core::money::Nanos;
use billing_core::port::reports::{About, NOBODY, PlanName, UsageGroup, UsageLine};
use sea_orm::{QueryResult, Value};

use super::{USED, line_of, sum, sums};
use crate::books::save::plan_rollup::{ANY_QUOTA, NO_QUOTA};
use crate::db::{self, Db};
use crate::error::StoreError;
use crate::instant::{amount, get};

/// What is added up of a roll-up of plans.
const COVERED: [&str; 2] = ["covered", "drawn"];

/// Whose totals, over which buckets.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub(super) account: AccountId,
    /// The first bucket, in microseconds.
    pub(super) from: i64,
    /// The first instant after them, in microseconds.
    pub(super) to: i64,
}

impl Span {
    fn values(self) -> [Value; 3] {
        [self.account.get().into(), self.from.into(), self.to.into()]
    }

    /// A line for each group.
    pub(super) async fn lines(
        self,
        db: &Db,
        group: UsageGroup,
    ) -> Result<Vec<UsageLine>, StoreError> {
        match group {
            UsageGroup::Total => self.by(db, "0", |_| Ok(String::new())).await,
            UsageGroup::Model => self.by(db, "model", |row| get(row, "line")).await,
            UsageGroup::Key => {
                let key = |row: &_| Ok(KeyId::new(get(row, "line")?).to_string());
                self.by(db, "key_id", key).await
            }
            UsageGroup::Member => self.by_member(db).await,
            UsageGroup::Plan => self.by_plan(db).await,
            UsageGroup::Quota => self.by_quota(db).await,
        }
    }

    async fn by(
        self,
        db: &Db,
        column: &str,
        name: impl Fn(&QueryResult) -> Result<String, StoreError>,
    ) -> Result<Vec<UsageLine>, StoreError> {
        let text = format!(
            "SELECT {column} AS line, {} FROM usage_rollup \
             WHERE account_id = ? AND bucket_start >= ? AND bucket_start < ? \
             GROUP BY 1 ORDER BY 1",
            sums(&USED)
        );
        let rows = db::patiently(db::all(&db.reader, &text, self.values().to_vec())).await?;
        rows.iter().map(|row| line_of(row, name(row)?)).collect()
    }

    /// A key is its member's for good, so what was used with it is too.
    async fn by_member(self, db: &Db) -> Result<Vec<UsageLine>, StoreError> {
        let text = format!(
            "SELECT k.member_id AS line, MAX(m.email) AS email, {} FROM usage_rollup r \
             LEFT JOIN api_key k ON k.id = r.key_id LEFT JOIN \"user\" m ON m.id = k.member_id \
             WHERE r.account_id = ? AND r.bucket_start >= ? AND r.bucket_start < ? \
             GROUP BY 1",
            sums(&USED)
        );
        let rows = db::patiently(db::all(&db.reader, &text, self.values().to_vec())).await?;
        let mut lines = Vec::with_capacity(rows.len());
        for row in &rows {
            let member = get::<Option<i64>>(row, "line")?;
            let name = member.map_or_else(|| NOBODY.to_owned(), |m| UserId::new(m).to_string());
            let mut line = line_of(row, name)?;
            line.about = get::<Option<String>>(row, "email")?.map(About::Member);
            lines.push((member.is_none(), member, line));
        }
        lines.sort_by_key(|(is_nobody, member, _)| (*is_nobody, *member));
        Ok(lines.into_iter().map(|(_, _, line)| line).collect())
    }

    async fn by_plan(self, db: &Db) -> Result<Vec<UsageLine>, StoreError> {
        let (total, rows) = self.of_plans(db).await?;
        let names = names(db, rows.iter().map(|row| row.version)).await?;
        let mut lines: BTreeMap<(&PlanName, i64), (UsageLine, Nanos)> = BTreeMap::new();
        for row in rows.iter().filter(|row| row.is_whole()) {
            let name = name_of(&names, row.version)?;
            let (line, covered) = lines.entry((name, row.version)).or_default();
            line.add(&row.line);
            *covered = covered.plus(row.covered).unwrap_or(Nanos::MAX);
        }
        let lines = lines.into_iter().map(|((plan, version), (line, covered))| {
            let (group, plan) = (PlanVersionId::new(version).to_string(), plan.clone());
            let about = Some(About::Plan { plan, covered });
            UsageLine {
                group,
                about,
                ..line
            }
        });
        let mut lines: Vec<UsageLine> = lines.collect();
        lines.extend(total.rest(&lines));
        Ok(lines)
    }

    async fn by_quota(self, db: &Db) -> Result<Vec<UsageLine>, StoreError> {
        let (total, rows) = self.of_plans(db).await?;
        let names = names(db, rows.iter().map(|row| row.version)).await?;
        let of_quotas = || rows.iter().filter(|row| !row.is_whole());
        let terms = quotas(db, of_quotas().map(|row| row.quota)).await?;
        let mut lines = BTreeMap::new();
        for row in of_quotas() {
            let plan = name_of(&names, row.version)?.clone();
            let found = terms.get(&row.quota).ok_or_else(|| unknown(row.quota))?;
            let about = About::Quota {
                plan: plan.clone(),
                models: found.models.parse().map_err(|_| unknown(row.quota))?,
                unit: found.unit,
                window: serde_json::from_str(&found.window).map_err(|_| unknown(row.quota))?,
                drawn: row.drawn,
                covered: row.covered,
            };
            let mut line = row.line.clone();
            line.group = QuotaId::new(row.quota).to_string();
            line.about = Some(about);
            lines.insert((plan, row.quota), line);
        }
        let drew_any = rows.iter().filter(|row| row.quota == ANY_QUOTA);
        let rest = total.rest(drew_any.map(|row| &row.line));
        Ok(lines.into_values().chain(rest).collect())
    }

    /// The total and what was used under plans, both as of one moment.
    async fn of_plans(self, db: &Db) -> Result<(UsageLine, Vec<PlanRow>), StoreError> {
        let both: Vec<&str> = USED.into_iter().chain(COVERED).collect();
        let nothing = COVERED.map(|c| format!("0 AS {c}_high, 0 AS {c}_low"));
        let text = format!(
            "SELECT plan_version_id AS version, quota_id AS quota, {} FROM plan_rollup \
             WHERE account_id = ? AND bucket_start >= ? AND bucket_start < ? GROUP BY 1, 2 \
             UNION ALL \
             SELECT CAST(NULL AS BIGINT) AS version, 0 AS quota, {}, {} FROM usage_rollup \
             WHERE account_id = ? AND bucket_start >= ? AND bucket_start < ?",
            sums(&both),
            sums(&USED),
            nothing.join(", ")
        );
        let values = self.values().into_iter().chain(self.values()).collect();
        let mut total = UsageLine::default();
        let mut found = Vec::new();
        for row in &db::patiently(db::all(&db.reader, &text, values)).await? {
            let line = line_of(row, String::new())?;
            let Some(version) = get::<Option<i64>>(row, "version")? else {
                total = line;
                continue;
            };
            found.push(PlanRow {
                version,
                quota: get(row, "quota")?,
                line,
                covered: Nanos::new(sum(row, "covered")?),
                drawn: amount(sum(row, "drawn")?),
            });
        }
        Ok((total, found))
    }
}

/// What calls under a version add up to, as far as they count in one of its rows.
#[derive(Debug)]
struct PlanRow {
    version: i64,
    quota: i64,
    line: UsageLine,
    covered: Nanos,
    drawn: Amount,
}

impl PlanRow {
    /// Whether it counts calls and no quota.
    const fn is_whole(&self) -> bool {
        matches!(self.quota, NO_QUOTA | ANY_QUOTA)
    }
}

type Names = BTreeMap<i64, PlanName>;

fn name_of(names: &Names, version: i64) -> Result<&PlanName, StoreError> {
    let missing = || {
        let why = format!("there is no {}", PlanVersionId::new(version));
        StoreError::unreadable("plan_rollup", why)
    };
    names.get(&version).ok_or_else(missing)
}

async fn names(db: &Db, of: impl Iterator<Item = i64>) -> Result<Names, StoreError> {
    let columns = "v.id, v.version, p.code FROM plan_version v JOIN plan p ON p.id = v.plan_id \
                   WHERE v.id";
    let mut names = Names::new();
    for row in &rows_of(db, columns, of).await? {
        let version = u32::try_from(get::<i64>(row, "version")?).unwrap_or(u32::MAX);
        let code = get(row, "code")?;
        names.insert(get(row, "id")?, PlanName { code, version });
    }
    Ok(names)
}

/// What is stored of a quota.
#[derive(Debug)]
struct Stored {
    models: String,
    unit: BudgetUnit,
    window: String,
}

fn unknown(quota: i64) -> StoreError {
    let why = format!("what {} says", QuotaId::new(quota));
    StoreError::unreadable("plan_quota", why)
}

async fn quotas(
    db: &Db,
    of: impl Iterator<Item = i64>,
) -> Result<BTreeMap<i64, Stored>, StoreError> {
    let columns = "id, models, unit, quota_window FROM plan_quota WHERE id";
    let mut quotas = BTreeMap::new();
    for row in &rows_of(db, columns, of).await? {
        let id = get(row, "id")?;
        let unit = i16::try_from(get::<i64>(row, "unit")?).ok();
        let stored = Stored {
            models: get(row, "models")?,
            unit: unit
                .and_then(BudgetUnit::of_code)
                .ok_or_else(|| unknown(id))?,
            window: get(row, "quota_window")?,
        };
        quotas.insert(id, stored);
    }
    Ok(quotas)
}

/// The rows with these ids.
async fn rows_of(
    db: &Db,
    columns: &str,
    ids: impl Iterator<Item = i64>,
) -> Result<Vec<QueryResult>, StoreError> {
    let ids: std::collections::BTreeSet<i64> = ids.collect();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let places = vec!["?"; ids.len()].join(", ");
    let text = format!("SELECT {columns} IN ({places})");
    let values = ids.into_iter().map(Value::from).collect();
    db::patiently(db::all(&db.reader, &text, values)).await
}
