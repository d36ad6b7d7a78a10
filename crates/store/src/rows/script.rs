//! Several batches in one round trip.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use sea_orm::sqlx::error::BoxDynError;
use sea_orm::sqlx::postgres::PgArguments;
use sea_orm::sqlx::{self, AssertSqlSafe, PgPool};
use sea_orm::{ConnectionTrait, DbBackend, DbErr, QueryResult, RuntimeErr, Statement};

use super::{BatchSql, Kind, NULL_INT, Rows, Sink};
use crate::db::answered;
use crate::error::StoreError;

/// What becomes of the statements of batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Use {
    Alone,
    Read,
    Write,
}

/// By use, database and statements.
type Key = (Use, bool, Vec<usize>);

static TEXTS: Mutex<BTreeMap<Key, Arc<str>>> = Mutex::new(BTreeMap::new());

/// The text for these batches, rendered once.
pub(super) fn text(used: Use, backend: DbBackend, parts: &[Rows]) -> Arc<str> {
    let is_postgres = backend == DbBackend::Postgres;
    let statements = parts.iter().map(|p| std::ptr::from_ref(p.sql).addr());
    let key = (used, is_postgres, statements.collect());
    let mut texts = TEXTS.lock().unwrap_or_else(PoisonError::into_inner);
    let text = texts.entry(key).or_insert_with(|| {
        let mut after = 0_usize;
        let rendered = parts.iter().map(|part| {
            let text = part.sql.render(backend, after);
            after = after.saturating_add(part.sql.parameters(backend));
            (part.sql, text)
        });
        let rendered: Vec<(&BatchSql, String)> = rendered.collect();
        Arc::from(match used {
            Use::Alone => rendered.into_iter().map(|(_, text)| text).collect(),
            Use::Read => reading(&rendered, is_postgres),
            Use::Write => writing(&rendered, is_postgres),
        })
    });
    Arc::clone(text)
}

/// One row that holds an array a column.
fn reading(parts: &[(&BatchSql, String)], is_postgres: bool) -> String {
    let pages: Vec<String> = parts
        .iter()
        .enumerate()
        .map(|(i, (sql, text))| {
            let columns = sql
                .yields
                .iter()
                .map(|(name, kind)| match (kind, is_postgres) {
                    (Kind::Text | Kind::OptText, false) => format!("json_group_array({name})"),
                    (_, false) => format!("json_group_array(COALESCE({name}, {NULL_INT}))"),
                    (Kind::Text | Kind::OptText, true) => format!("array_agg({name})"),
                    (_, true) => format!("array_agg(COALESCE({name}, '{NULL_INT}'::bigint))"),
                });
            let columns: Vec<String> = columns.collect();
            let columns = columns.join(", ");
            format!("(SELECT {columns} FROM ({text}) t{i}) p{i}")
        })
        .collect();
    format!("SELECT * FROM {}", pages.join(" CROSS JOIN "))
}

fn writing(parts: &[(&BatchSql, String)], is_postgres: bool) -> String {
    let mut texts = parts.iter().map(|(_, text)| text.as_str());
    if !is_postgres {
        return texts.collect::<Vec<_>>().join(";\n");
    }
    // They touch different tables, so it does not matter that all of them see the state before. The
    // first is the statement itself: it is run to its end before the others, which come in no order
    // that can be relied on. So whoever locks in that order locks what the first changes before all
    // else, and two that meet there wait for each other only there.
    let first = texts.next().unwrap_or("SELECT 1");
    let named: Vec<String> = texts
        .enumerate()
        .map(|(i, text)| format!("w{i} AS ({text})"))
        .collect();
    if named.is_empty() {
        return first.to_owned();
    }
    format!("WITH {}\n{first}", named.join(",\n"))
}

fn statement(
    used: Use,
    backend: DbBackend,
    parts: Vec<Rows>,
) -> Result<Option<Statement>, StoreError> {
    let parts: Vec<Rows> = parts.into_iter().filter(|p| p.count > 0).collect();
    if parts.is_empty() {
        return Ok(None);
    }
    let text = text(used, backend, &parts);
    let mut values = Vec::new();
    for part in parts {
        part.into_values(&mut values)?;
    }
    Ok(Some(Statement::from_sql_and_values(
        backend, &*text, values,
    )))
}

/// Runs the statements, each over its own table, those without rows left out.
pub(crate) async fn write<C: ConnectionTrait>(db: &C, parts: Vec<Rows>) -> Result<(), StoreError> {
    let backend = db.get_database_backend();
    if let Some(statement) = statement(Use::Write, backend, parts)? {
        answered(backend, db.execute_raw(statement)).await?;
    }
    Ok(())
}

/// Runs the statements as one that is a transaction by itself, on PostgreSQL: one way there and back
/// instead of three, and no value is copied on its way to the driver.
pub(crate) async fn write_alone(pool: &PgPool, parts: Vec<Rows>) -> Result<(), StoreError> {
    let parts: Vec<Rows> = parts.into_iter().filter(|p| p.count > 0).collect();
    if parts.is_empty() {
        return Ok(());
    }
    let text = text(Use::Write, DbBackend::Postgres, &parts);
    let mut arguments = PgArguments::default();
    for part in &parts {
        let Sink::Arrays(arrays) = part.sink()? else {
            return Err(part.sql.misplaced());
        };
        for array in arrays {
            let unfit = |e: BoxDynError| StoreError::Start(e.to_string());
            array.bind(&mut arguments).map_err(unfit)?;
        }
    }
    let run = sqlx::query_with(AssertSqlSafe(text), arguments).execute(pool);
    let failed = |e: sqlx::Error| DbErr::Exec(RuntimeErr::SqlxError(Arc::new(e)));
    answered(DbBackend::Postgres, async { run.await.map_err(failed) }).await?;
    Ok(())
}

/// Runs the queries, those without rows left out. One table each, in order.
pub(crate) async fn read<const N: usize, C: ConnectionTrait>(
    db: &C,
    parts: [Rows; N],
) -> Result<[Table; N], StoreError> {
    let backend = db.get_database_backend();
    let asked = [(); N];
    let mut asked = asked.map(|()| (false, &[] as super::Shape));
    for (asked, part) in asked.iter_mut().zip(&parts) {
        *asked = (part.count > 0, part.sql.yields);
    }
    let row = match statement(Use::Read, backend, parts.into())? {
        Some(statement) => answered(backend, db.query_one_raw(statement)).await?,
        None => None,
    };
    let mut next = 0;
    let mut tables = asked.map(|_| Table::default());
    let Some(row) = row else {
        return Ok(tables);
    };
    for (table, (is_asked, yields)) in tables.iter_mut().zip(asked) {
        if is_asked {
            *table = Table::of(&row, backend, yields, &mut next)?;
        }
    }
    Ok(tables)
}

/// What a query found, column by column.
#[derive(Debug, Default)]
pub(crate) struct Table(Vec<Column>);

#[derive(Debug)]
pub(super) enum Column {
    Int(Vec<i64>),
    Text(Vec<String>),
}

impl Table {
    /// One without rows.
    pub(super) fn empty(yields: super::Shape) -> Self {
        let columns = yields.iter().map(|(_, kind)| match kind {
            Kind::Text | Kind::OptText => Column::Text(Vec::new()),
            Kind::Int | Kind::OptInt | Kind::Bool => Column::Int(Vec::new()),
        });
        Self(columns.collect())
    }

    pub(super) fn columns_mut(&mut self) -> impl Iterator<Item = &mut Column> {
        self.0.iter_mut()
    }

    fn of(
        row: &QueryResult,
        backend: DbBackend,
        yields: super::Shape,
        next: &mut usize,
    ) -> Result<Self, StoreError> {
        let mut columns = Vec::with_capacity(yields.len());
        for (_, kind) in yields {
            let place = *next;
            *next = place.saturating_add(1);
            let is_text = *kind == Kind::Text;
            columns.push(match (backend, is_text) {
                (DbBackend::Postgres, false) => Column::Int(
                    row.try_get_by_index::<Option<_>>(place)?
                        .unwrap_or_default(),
                ),
                (DbBackend::Postgres, true) => Column::Text(
                    row.try_get_by_index::<Option<_>>(place)?
                        .unwrap_or_default(),
                ),
                (_, false) => Column::Int(parsed(row, place)?),
                (_, true) => Column::Text(parsed(row, place)?),
            });
        }
        Ok(Self(columns))
    }

    /// The numbers of a column; see [`null`].
    pub(crate) fn ints(&self, column: usize) -> &[i64] {
        match self.0.get(column) {
            Some(Column::Int(values)) => values,
            Some(Column::Text(_)) | None => &[],
        }
    }

    /// The texts of a column.
    pub(crate) fn texts(&self, column: usize) -> &[String] {
        match self.0.get(column) {
            Some(Column::Text(values)) => values,
            Some(Column::Int(_)) | None => &[],
        }
    }
}

fn parsed<T: serde::de::DeserializeOwned>(
    row: &QueryResult,
    place: usize,
) -> Result<T, StoreError> {
    let text: String = row.try_get_by_index(place)?;
    serde_json::from_str(&text).map_err(|e| StoreError::unreadable("batch", e.to_string()))
}

/// A number of a [`Table`], unless it stands for none.
pub(crate) fn null(value: i64) -> Option<i64> {
    Some(value).filter(|v| *v != NULL_INT)
}
