//! The catalogue: models, price versions and rates.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use billing_core::id::PriceVersionId;
use billing_core::meter::Meter;
use billing_core::money::Currency;
use billing_core::port::catalogue::{Catalogue, CatalogueError, PriceEdition};
use billing_core::price::{
    ContextThreshold, ModelName, PriceVersion, Rate, ServiceTier, Variant, When,
};
use billing_core::price_book::{ModelFacts, PriceBook, PricedModel};
use sea_orm::{ConnectionTrait, QueryResult};
use time::OffsetDateTime;

use crate::db;
use crate::error::StoreError;
use crate::instant::{get, instant, micros};
use crate::open::Store;
use crate::pricing_rules;
use crate::rows::BatchSql;
use crate::rows::Kind::{Bool, Int, OptInt, Text};

/// How many rows one statement takes.
const CHUNK: usize = 4096;
/// How many price versions are read at a time.
const READ_CHUNK: usize = 256;

static MODELS: BatchSql = BatchSql::new(
    &[
        ("name", Text),
        ("provider", Text),
        ("mode", Text),
        ("max_input_tokens", OptInt),
        ("max_output_tokens", OptInt),
    ],
    "INSERT INTO model ({columns}) SELECT {columns} FROM {rows} v WHERE true \
     ON CONFLICT (name) DO UPDATE SET provider = excluded.provider, mode = excluded.mode, \
     max_input_tokens = excluded.max_input_tokens, max_output_tokens = excluded.max_output_tokens",
);

static VERSIONS: BatchSql = BatchSql::new(
    &[
        ("id", Int),
        ("model", Text),
        ("currency", Text),
        ("effective_from", Int),
        ("price_edition_id", Int),
    ],
    "INSERT INTO price_version ({columns}) SELECT {columns} FROM {rows} v",
);

static RATES: BatchSql = BatchSql::new(
    &[
        ("price_version_id", Int),
        ("meter", Text),
        ("tier", Text),
        ("above_prompt", Int),
        ("inclusive", Bool),
        ("price", Text),
    ],
    "INSERT INTO rate ({columns}) SELECT {columns} FROM {rows} v",
);

static VARIANT_RATES: BatchSql = BatchSql::new(
    &[
        ("price_version_id", Int),
        ("condition", Text),
        ("meter", Text),
        ("tier", Text),
        ("above_prompt", Int),
        ("inclusive", Bool),
        ("price", Text),
    ],
    "INSERT INTO variant_rate ({columns}) SELECT {columns} FROM {rows} v",
);

static SOLD: BatchSql = BatchSql::new(
    &[("model", Text)],
    "SELECT DISTINCT p.model FROM price_version p \
     WHERE p.model IN (SELECT v.model FROM {rows} v)",
);

static VERSIONS_BY_ID: BatchSql = BatchSql::new(
    &[("id", Int)],
    "SELECT p.id, p.model, p.currency, p.effective_from FROM price_version p \
     WHERE p.id IN (SELECT v.id FROM {rows} v)",
);

static RATES_BY_ID: BatchSql = BatchSql::new(
    &[("id", Int)],
    "SELECT r.* FROM rate r WHERE r.price_version_id IN (SELECT v.id FROM {rows} v)",
);

static VARIANT_RATES_BY_ID: BatchSql = BatchSql::new(
    &[("id", Int)],
    "SELECT r.* FROM variant_rate r WHERE r.price_version_id IN (SELECT v.id FROM {rows} v)",
);

#[async_trait]
impl Catalogue for Store {
    async fn price_book(&self) -> Result<PriceBook, CatalogueError> {
        let tx = self.db.snapshot().await?;
        let result = book(&tx).await;
        db::finish(tx, result).await
    }

    async fn record(
        &self,
        edition: PriceEdition,
        now: OffsetDateTime,
    ) -> Result<(), CatalogueError> {
        let tx = self.db.begin().await?;
        let result = record(&tx, &edition, now).await;
        db::finish(tx, result).await?;
        Ok(())
    }
}

async fn record<C: ConnectionTrait>(
    tx: &C,
    edition: &PriceEdition,
    now: OffsetDateTime,
) -> Result<(), CatalogueError> {
    let sold = sold_of(tx, edition, now).await?;
    edition.ahead_of(now, |model| sold.contains(model))?;
    let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    let text = "INSERT INTO price_edition (source, recorded_at, versions, facts) \
                VALUES (?, ?, ?, ?) RETURNING id";
    let values = vec![
        edition.source.as_str().into(),
        micros(now).into(),
        count(edition.versions.len()).into(),
        count(edition.facts.len()).into(),
    ];
    let row = db::one(tx, text, values).await?;
    let row = row.ok_or_else(|| StoreError::unreadable("price_edition", "no id came back"))?;
    let id: i64 = get(&row, "id")?;
    record_models(tx, edition).await?;
    record_prices(tx, edition, id).await?;
    pricing_rules::record_sales(tx, &edition.sales, id).await?;
    pricing_rules::record_tiers(tx, &edition.tiers, id).await?;
    db::note_change(tx, "prices", None, micros(now)).await?;
    Ok(())
}

/// The models that have a price, of those whose new one begins before an instant.
async fn sold_of<C: ConnectionTrait>(
    tx: &C,
    edition: &PriceEdition,
    now: OffsetDateTime,
) -> Result<BTreeSet<String>, StoreError> {
    let versions = edition.versions.iter().map(|(version, _)| version);
    let past: Vec<_> = versions.filter(|v| v.effective_from() < now).collect();
    let mut sold = BTreeSet::new();
    for chunk in past.chunks(CHUNK) {
        let mut rows = SOLD.rows(tx.get_database_backend());
        for version in chunk {
            rows.push([version.model().as_str().into()]);
        }
        for row in rows.query(tx).await? {
            sold.insert(get(&row, "model")?);
        }
    }
    Ok(sold)
}

async fn record_models<C: ConnectionTrait>(
    tx: &C,
    edition: &PriceEdition,
) -> Result<(), StoreError> {
    // One row a model: a statement may not touch one twice.
    let of_versions = edition
        .versions
        .iter()
        .map(|(v, f)| (v.model().as_str(), f));
    let alone = edition.facts.iter().map(|(name, f)| (name.as_str(), f));
    let facts: BTreeMap<&str, &ModelFacts> = of_versions.chain(alone).collect();
    let facts: Vec<_> = facts.into_iter().collect();
    for chunk in facts.chunks(CHUNK) {
        let mut rows = MODELS.rows(tx.get_database_backend());
        for (name, facts) in chunk {
            rows.push([
                (*name).into(),
                facts.provider.as_str().into(),
                facts.mode.as_str().into(),
                facts.max_input_tokens.map(tokens).into(),
                facts.max_output_tokens.map(tokens).into(),
            ]);
        }
        rows.run(tx).await?;
    }
    Ok(())
}

async fn record_prices<C: ConnectionTrait>(
    tx: &C,
    edition: &PriceEdition,
    id: i64,
) -> Result<(), StoreError> {
    for chunk in edition.versions.chunks(CHUNK) {
        let mut versions = VERSIONS.rows(tx.get_database_backend());
        let mut rates = RATES.rows(tx.get_database_backend());
        let mut varied = VARIANT_RATES.rows(tx.get_database_backend());
        for (version, _) in chunk {
            versions.push([
                version.id().get().into(),
                version.model().as_str().into(),
                version.currency().code().into(),
                micros(version.effective_from()).into(),
                id.into(),
            ]);
            for rate in version.rates() {
                let price = rate.price.to_string();
                rates.push([
                    version.id().get().into(),
                    rate.meter.name().into(),
                    rate.tier.name().into(),
                    rate.above.map_or(-1, |a| tokens(a.prompt_tokens)).into(),
                    rate.above.is_some_and(|a| a.inclusive).into(),
                    price.as_str().into(),
                ]);
            }
            for variant in version.variants() {
                let condition = variant.when.to_string();
                for rate in &variant.rates {
                    let price = rate.price.to_string();
                    varied.push([
                        version.id().get().into(),
                        condition.as_str().into(),
                        rate.meter.name().into(),
                        rate.tier.name().into(),
                        rate.above.map_or(-1, |a| tokens(a.prompt_tokens)).into(),
                        rate.above.is_some_and(|a| a.inclusive).into(),
                        price.as_str().into(),
                    ]);
                }
            }
        }
        versions.run(tx).await?;
        rates.run(tx).await?;
        varied.run(tx).await?;
    }
    Ok(())
}

fn tokens(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Some rows at a time: rows take many times the memory of what is made of them, and memory that was
/// once used for them stays with the process.
async fn book<C: ConnectionTrait>(tx: &C) -> Result<PriceBook, CatalogueError> {
    let most = i64::try_from(READ_CHUNK).unwrap_or(i64::MAX);
    let mut by_model: BTreeMap<ModelName, Vec<Arc<PriceVersion>>> = BTreeMap::new();
    let mut last = i64::MIN;
    loop {
        let text = "SELECT id FROM price_version WHERE id > ? ORDER BY id LIMIT ?";
        let rows = db::all(tx, text, vec![last.into(), most.into()]).await?;
        let ids = rows.iter().map(|row| get(row, "id"));
        let ids: Vec<i64> = ids.collect::<Result<_, _>>()?;
        let Some(id) = ids.last() else { break };
        last = *id;
        for version in versions(tx, &ids).await? {
            let model = version.model().clone();
            by_model.entry(model).or_default().push(Arc::new(version));
        }
    }
    let mut models: Vec<PricedModel> = Vec::new();
    loop {
        let last = models.last().map_or("", |model| model.name.as_str());
        let text = "SELECT * FROM model WHERE name > ? ORDER BY name LIMIT ?";
        let rows = db::all(tx, text, vec![last.into(), most.into()]).await?;
        if rows.is_empty() {
            let sales = pricing_rules::sales(tx).await?;
            let tiers = pricing_rules::tiers(tx).await?;
            let book = PriceBook::new(models).with_sales(sales);
            return Ok(book.with_tiers(tiers));
        }
        for row in rows {
            let name = ModelName::new(&get::<String>(&row, "name")?);
            // One text for the model and its prices.
            let (name, versions) = by_model.remove_entry(&name).unwrap_or((name, Vec::new()));
            models.push(PricedModel::new(name, facts(&row)?, versions));
        }
    }
}

fn facts(row: &QueryResult) -> Result<ModelFacts, StoreError> {
    let tokens = |column| {
        let count: Option<i64> = get(row, column)?;
        Ok::<_, StoreError>(count.and_then(|n| u64::try_from(n).ok()))
    };
    Ok(ModelFacts {
        provider: get(row, "provider")?,
        mode: get(row, "mode")?,
        max_input_tokens: tokens("max_input_tokens")?,
        max_output_tokens: tokens("max_output_tokens")?,
    })
}

/// The price versions with these ids, as far as they are on record.
pub(crate) async fn versions<C: ConnectionTrait>(
    tx: &C,
    ids: &[i64],
) -> Result<Vec<PriceVersion>, CatalogueError> {
    let mut versions = VERSIONS_BY_ID.rows(tx.get_database_backend());
    let mut rates = RATES_BY_ID.rows(tx.get_database_backend());
    let mut varied = VARIANT_RATES_BY_ID.rows(tx.get_database_backend());
    for id in ids {
        versions.push([(*id).into()]);
        rates.push([(*id).into()]);
        varied.push([(*id).into()]);
    }
    let rates = by_version(rates.query(tx).await?)?;
    let varied = by_version(varied.query(tx).await?)?;
    versions_of(&versions.query(tx).await?, rates, varied)
}

/// Rates by the version that they are of.
type OfVersions = BTreeMap<i64, Vec<QueryResult>>;

fn by_version(rates: Vec<QueryResult>) -> Result<OfVersions, StoreError> {
    let mut of_versions = OfVersions::new();
    for rate in rates {
        let id = get(&rate, "price_version_id")?;
        of_versions.entry(id).or_default().push(rate);
    }
    Ok(of_versions)
}

fn versions_of(
    versions: &[QueryResult],
    mut rates: OfVersions,
    mut varied: OfVersions,
) -> Result<Vec<PriceVersion>, CatalogueError> {
    versions
        .iter()
        .map(|row| {
            let id: i64 = get(row, "id")?;
            let model: String = get(row, "model")?;
            let unreadable = |why: String| CatalogueError::Unreadable {
                model: model.clone(),
                why,
            };
            let rates = rates.remove(&id).unwrap_or_default().into_iter();
            let rates: Result<Vec<Rate>, CatalogueError> = rates
                .map(|rate| read_rate(&rate)?.map_err(unreadable))
                .collect();
            let mut by_condition: BTreeMap<String, Vec<Rate>> = BTreeMap::new();
            for row in varied.remove(&id).unwrap_or_default() {
                let rate = read_rate(&row)?.map_err(unreadable)?;
                let condition = get(&row, "condition")?;
                by_condition.entry(condition).or_default().push(rate);
            }
            let variants = by_condition.into_iter().map(|(condition, rates)| {
                let when: When = condition.parse().map_err(|e| unreadable(format!("{e}")))?;
                Variant::new(when, rates).map_err(|e| unreadable(e.to_string()))
            });
            let variants = variants.collect::<Result<Vec<_>, CatalogueError>>()?;
            let currency: String = get(row, "currency")?;
            let currency = Currency::parse(&currency).map_err(|e| unreadable(e.to_string()))?;
            let from = instant("price_version", get(row, "effective_from")?)?;
            let (id, name) = (PriceVersionId::new(id), ModelName::new(&model));
            PriceVersion::new(id, name, currency, from, rates?)
                .and_then(|version| version.with_variants(variants))
                .map_err(|e| unreadable(e.to_string()))
        })
        .collect()
}

fn read_rate(row: &QueryResult) -> Result<Result<Rate, String>, StoreError> {
    let meter: String = get(row, "meter")?;
    let tier: String = get(row, "tier")?;
    let above: i64 = get(row, "above_prompt")?;
    let inclusive: bool = get(row, "inclusive")?;
    let price: String = get(row, "price")?;
    let tiers = ServiceTier::ALL.iter();
    let rate = || {
        Ok(Rate {
            meter: meter.parse::<Meter>().map_err(|e| e.to_string())?,
            tier: *tiers
                .clone()
                .find(|t| t.name() == tier)
                .ok_or_else(|| format!("\"{tier}\" is not a tier"))?,
            above: u64::try_from(above)
                .ok()
                .map(|prompt_tokens| ContextThreshold {
                    prompt_tokens,
                    inclusive,
                }),
            price: price.parse().map_err(|e| format!("{e}"))?,
        })
    };
    Ok(rate())
}
