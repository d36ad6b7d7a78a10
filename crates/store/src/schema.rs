//! The page that shows the schema: tables, columns and what refers to what.

use std::collections::BTreeMap;

use crate::db;
use crate::error::StoreError;
use crate::instant::get;
use crate::open::Store;

const HEAD: &str = "# Entities

Generated from the migrated schema by `./just bless`; do not edit.
A line joins a column named after a table, or one with a foreign key, to that table.

```mermaid
erDiagram
";

#[derive(Debug)]
struct Column {
    name: String,
    kind: String,
    is_primary: bool,
    is_nullable: bool,
}

#[derive(Debug, Default)]
struct Table {
    columns: Vec<Column>,
    /// Column to table.
    references: BTreeMap<String, String>,
}

impl Store {
    /// An entity diagram of the live schema and a list of its columns, as Markdown. Drawn from
    /// SQLite: both databases have the same tables.
    ///
    /// # Errors
    /// [`StoreError`], also on PostgreSQL.
    pub async fn schema_diagram(&self) -> Result<String, StoreError> {
        if !self.is_embedded() {
            let why = "the diagram is drawn from a SQLite database";
            return Err(StoreError::Start(why.to_owned()));
        }
        let mut tables = BTreeMap::new();
        let text = "SELECT name FROM sqlite_master WHERE type = 'table' \
                    AND name NOT LIKE 'sqlite_%' AND name NOT LIKE 'seaql_%'";
        for row in db::all(&self.db.reader, text, Vec::new()).await? {
            let name: String = get(&row, "name")?;
            tables.insert(name.clone(), self.table(&name).await?);
        }
        let named: Vec<String> = tables.keys().cloned().collect();
        for (name, table) in &mut tables {
            refer_by_name(name, table, &named);
        }
        Ok(page(&tables))
    }

    async fn table(&self, name: &str) -> Result<Table, StoreError> {
        let mut table = Table::default();
        let text = r#"SELECT name, type, pk, "notnull" AS required FROM pragma_table_info(?)"#;
        for row in db::all(&self.db.reader, text, vec![name.into()]).await? {
            let is_primary = get::<i64>(&row, "pk")? > 0;
            let is_required = get::<i64>(&row, "required")? > 0;
            table.columns.push(Column {
                name: get(&row, "name")?,
                kind: get::<String>(&row, "type")?.to_lowercase(),
                is_primary,
                is_nullable: !is_primary && !is_required,
            });
        }
        let text = r#"SELECT "from" AS source, "table" AS target FROM pragma_foreign_key_list(?)"#;
        for row in db::all(&self.db.reader, text, vec![name.into()]).await? {
            let (source, target) = (get(&row, "source")?, get(&row, "target")?);
            table.references.insert(source, target);
        }
        Ok(table)
    }
}

/// Rows of the hot path carry no foreign keys; their columns are named after what they mean.
fn refer_by_name(name: &str, table: &mut Table, tables: &[String]) {
    for column in &table.columns {
        let Some(target) = column.name.strip_suffix("_id") else {
            continue;
        };
        if target != name && tables.iter().any(|t| t == target) {
            let declared = table.references.entry(column.name.clone());
            declared.or_insert_with(|| target.to_owned());
        }
    }
}

fn page(tables: &BTreeMap<String, Table>) -> String {
    let mut page = HEAD.to_owned();
    for (name, table) in tables {
        for (column, target) in &table.references {
            line(
                &mut page,
                format_args!("    {target} ||--o{{ {name} : \"{column}\""),
            );
        }
    }
    for (name, table) in tables {
        line(&mut page, format_args!("    {name} {{"));
        for column in &table.columns {
            let mut marks = Vec::new();
            if column.is_primary {
                marks.push("PK");
            }
            if table.references.contains_key(&column.name) {
                marks.push("FK");
            }
            let text = format!(
                "        {} {} {}",
                column.kind,
                column.name,
                marks.join(", ")
            );
            line(&mut page, format_args!("{}", text.trim_end()));
        }
        line(&mut page, format_args!("    }}"));
    }
    page.push_str("```\n");
    for (name, table) in tables {
        line(&mut page, format_args!("\n## {name}\n"));
        page.push_str("| column | type | null | refers to |\n|---|---|---|---|\n");
        for column in &table.columns {
            let null = if column.is_nullable { "yes" } else { "" };
            let target = table.references.get(&column.name);
            let target = target.map_or("", String::as_str);
            let name = if column.is_primary {
                format!("**{}**", column.name)
            } else {
                column.name.clone()
            };
            let kind = &column.kind;
            line(
                &mut page,
                format_args!("| {name} | {kind} | {null} | {target} |"),
            );
        }
    }
    page
}

fn line(page: &mut String, text: std::fmt::Arguments<'_>) {
    page.push_str(&text.to_string());
    page.push('\n');
}
