//! Rows one by one: each is bound to a statement that stays prepared.
//!
//! A batch of hundreds of rows needs no round trip here, because SQLite runs on the thread of who
//! asks. To bind a row costs a fraction of writing it down as JSON and unfolding that again.

use rusqlite::Connection;
use rusqlite::types::Null;
use sea_orm::DbBackend;

use super::script::Column;
use super::{BatchSql, Cell, NULL_INT, Rows, Sink, Table, push_without_zeros};
use crate::error::StoreError;

/// Values of rows, one row after the other.
#[derive(Debug, Default)]
pub(super) struct Cells {
    values: Vec<Kept>,
    /// All texts, one after the other.
    texts: String,
}

#[derive(Debug, Clone, Copy)]
enum Kept {
    Int(i64),
    /// Where it begins and ends.
    Text(usize, usize),
    Null,
}

impl Cells {
    pub(super) fn extend(&mut self, row: &[Cell<'_>]) {
        self.values.reserve(row.len());
        for cell in row {
            let kept = match cell {
                Cell::Int(value) => Kept::Int(*value),
                Cell::Bool(value) => Kept::Int(i64::from(*value)),
                Cell::Null => Kept::Null,
                Cell::Text(text) => self.keep(text),
            };
            self.values.push(kept);
        }
    }

    fn keep(&mut self, text: &str) -> Kept {
        let begins = self.texts.len();
        push_without_zeros(&mut self.texts, text);
        Kept::Text(begins, self.texts.len())
    }
}

impl BatchSql {
    /// The statement for one row.
    pub(crate) fn text_for_one_row(&self) -> &str {
        self.of_one_row.get_or_init(|| self.for_one_row())
    }

    fn text_of_json(&self) -> &str {
        let render = || self.render(DbBackend::Sqlite, 0);
        self.of_json.get_or_init(render)
    }

    /// It has a parameter for each column.
    fn for_one_row(&self) -> String {
        let columns = self.shape.iter().map(|c| c.0);
        let places: Vec<String> = (1..=self.shape.len()).map(|i| format!("?{i}")).collect();
        let mut text = self.template.replace("{fail}", " OR FAIL");
        if text.contains("SELECT {columns}") {
            let values = format!("VALUES ({}", places.join(", "));
            text = text
                .replace("SELECT {columns}", &values)
                .replace(" FROM {rows} v WHERE true", ")")
                .replace(" FROM {rows} v", ")");
        }
        let names: Vec<&str> = columns.clone().collect();
        text = text
            .replace("{columns}", &names.join(", "))
            .replace(" FROM {rows} v", "");
        // The longest first, so that none is taken for the beginning of another.
        let mut named: Vec<(&str, &String)> = columns.zip(&places).collect();
        named.sort_unstable_by_key(|(name, _)| std::cmp::Reverse(name.len()));
        for (name, place) in named {
            text = text.replace(&format!("v.{name}"), place);
        }
        text
    }
}

/// Writes all rows, table after table.
///
/// # Errors
/// [`StoreError::Embedded`]: what was written before it stays until the transaction is rolled back.
pub(crate) fn write(connection: &Connection, parts: &[Rows]) -> Result<(), StoreError> {
    for part in parts.iter().filter(|part| part.count > 0) {
        let Sink::Cells(cells) = part.sink()? else {
            return Err(part.sql.misplaced());
        };
        let mut statement = connection.prepare_cached(part.sql.text_for_one_row())?;
        for row in cells.values.chunks_exact(part.sql.shape.len()) {
            for (place, kept) in (1_usize..).zip(row) {
                match kept {
                    Kept::Int(value) => statement.raw_bind_parameter(place, value)?,
                    Kept::Text(begins, ends) => {
                        let text = cells.texts.get(*begins..*ends).unwrap_or_default();
                        statement.raw_bind_parameter(place, text)?;
                    }
                    Kept::Null => statement.raw_bind_parameter(place, Null)?,
                }
            }
            statement.raw_execute()?;
        }
    }
    Ok(())
}

/// Runs queries over rows in the form of JSON. One table each, in order.
///
/// # Errors
/// [`StoreError::Embedded`].
pub(crate) fn read<const N: usize>(
    connection: &Connection,
    parts: [Rows; N],
) -> Result<[Table; N], StoreError> {
    let mut tables = parts.each_ref().map(|part| Table::empty(part.sql.yields));
    for (table, part) in tables.iter_mut().zip(parts) {
        if part.count == 0 {
            continue;
        }
        let sql = part.sql;
        let json = part.into_json()?;
        let mut statement = connection.prepare_cached(sql.text_of_json())?;
        let mut rows = statement.query([json])?;
        while let Some(row) = rows.next()? {
            for (place, column) in table.columns_mut().enumerate() {
                match column {
                    Column::Int(values) => {
                        let value: Option<i64> = row.get(place)?;
                        values.push(value.unwrap_or(NULL_INT));
                    }
                    Column::Text(values) => values.push(row.get(place)?),
                }
            }
        }
    }
    Ok(tables)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::Form;
    use crate::rows::Kind::{Bool, Int, Text};

    static PUT: BatchSql = BatchSql::new(
        &[("id", Int), ("id_card", Text), ("seen", Bool)],
        "INSERT{fail} INTO guest ({columns}, kind) SELECT {columns}, 'new' FROM {rows} v WHERE true \
         ON CONFLICT (id) DO UPDATE SET seen = excluded.seen",
    );
    static CHANGE: BatchSql = BatchSql::new(
        &[("id", Int), ("id_card", Text)],
        "UPDATE{fail} guest SET id_card = v.id_card FROM {rows} v WHERE guest.id = v.id",
    );
    static FIND: BatchSql = BatchSql::query(
        &[("id", Int)],
        &[("id", Int), ("id_card", Text), ("visits", Int)],
        "SELECT g.id, g.id_card, g.visits FROM guest g \
         WHERE g.id IN (SELECT v.id FROM {rows} v) ORDER BY g.id",
    );

    fn guests() -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        let table = "CREATE TABLE guest (id INTEGER PRIMARY KEY, id_card TEXT, seen INTEGER, \
                     kind TEXT, visits INTEGER)";
        connection.execute(table, []).unwrap();
        connection
    }

    fn found(connection: &Connection, ids: &[i64]) -> (Vec<i64>, Vec<String>, Vec<i64>) {
        let mut rows = FIND.rows(Form::Json);
        for id in ids {
            rows.push([(*id).into()]);
        }
        let [table] = read(connection, [rows]).unwrap();
        let texts = table.texts(1).to_vec();
        (table.ints(0).to_vec(), texts, table.ints(2).to_vec())
    }

    #[test]
    fn a_statement_for_many_rows_becomes_one_for_one_row() {
        assert_eq!(
            PUT.text_for_one_row(),
            "INSERT OR FAIL INTO guest (id, id_card, seen, kind) VALUES (?1, ?2, ?3, 'new') \
             ON CONFLICT (id) DO UPDATE SET seen = excluded.seen"
        );
        assert_eq!(
            CHANGE.text_for_one_row(),
            "UPDATE OR FAIL guest SET id_card = ?2 WHERE guest.id = ?1"
        );
    }

    #[test]
    fn rows_are_written_and_read() {
        let guests = guests();
        let mut put = PUT.rows(Form::OneByOne);
        put.push([1.into(), "a\0b".into(), true.into()]);
        put.push([2.into(), "é".into(), false.into()]);
        let mut change = CHANGE.rows(Form::OneByOne);
        change.push([2.into(), "ü".into()]);
        change.push([3.into(), "of nobody".into()]);
        write(&guests, &[put, change]).unwrap();
        let (ids, cards, visits) = found(&guests, &[1, 2, 3]);
        assert_eq!((ids, visits), (vec![1, 2], vec![NULL_INT, NULL_INT]));
        assert_eq!(cards, ["ab", "ü"]);
    }

    #[test]
    fn rows_that_do_not_fit_are_refused() {
        for (form, card) in [(Form::Json, "a".into()), (Form::OneByOne, Cell::Null)] {
            let mut put = PUT.rows(form);
            put.push([1.into(), card, true.into()]);
            assert!(write(&guests(), &[put]).is_err());
        }
        let mut find = FIND.rows(Form::OneByOne);
        find.push([1.into()]);
        assert!(read(&guests(), [find]).is_err());
    }
}
