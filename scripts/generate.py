"""Writes the generated pages of docs/ from a running demo (see scripts/demo.sh).

    generate.py openapi      docs/openapi.json, from /openapi.json
    generate.py entities     docs/reference/entities.md, from the schema of the demo's database
    generate.py --check      writes nothing; fails when a committed page is not that of the code
"""

import json
import os
import sqlite3
import sys
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def openapi() -> str:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(os.environ["TOLLGATE_ORIGIN"] + "/openapi.json", timeout=30) as reply:
        document = json.load(reply)
    # The address of this demo is no part of the contract.
    document.pop("servers", None)
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def entities() -> str:
    folder = Path(os.environ["TOLLGATE_DATA"])
    files = [f for f in sorted(folder.rglob("*")) if f.is_file() and is_sqlite(f)]
    if not files:
        sys.exit(f"generate: no SQLite database in {folder}")
    tables = {}
    for file in files:
        with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as db:
            tables.update(schema(db))
    return page(tables)


def is_sqlite(file: Path) -> bool:
    with file.open("rb") as f:
        return f.read(16) == b"SQLite format 3\0"


def schema(db: sqlite3.Connection) -> dict:
    names = db.execute(
        "select name from sqlite_master where type = 'table'"
        " and name not like 'sqlite_%' and name not like 'seaql_%' order by name"
    ).fetchall()
    tables = {}
    for (name,) in names:
        columns = db.execute("select name, type, pk, \"notnull\" from pragma_table_info(?)", (name,)).fetchall()
        declared = db.execute('select "from", "table" from pragma_foreign_key_list(?)', (name,)).fetchall()
        tables[name] = {"columns": columns, "references": dict(declared)}
    return tables


def references(name: str, table: dict, tables: dict) -> dict:
    """Column to table: declared foreign keys, and columns named after a table (`plan_id`).

    Rows of the hot path carry no foreign keys, yet they refer to something all the same.
    """
    found = {}
    for column, _, _, _ in table["columns"]:
        target = column.removesuffix("_id")
        if column.endswith("_id") and target in tables and target != name:
            found[column] = target
    found.update(table["references"])
    return found


def page(tables: dict) -> str:
    lines = [
        "# Entities",
        "",
        "Generated from the migrated schema by `./just erd`; do not edit.",
        "A line joins a column named after a table, or one with a foreign key, to that table.",
        "",
        "```mermaid",
        "erDiagram",
    ]
    for name, table in sorted(tables.items()):
        for column, target in sorted(references(name, table, tables).items()):
            lines.append(f'    {target} ||--o{{ {name} : "{column}"')
    for name, table in sorted(tables.items()):
        refs = references(name, table, tables)
        lines.append(f"    {name} {{")
        for column, kind, primary, _ in table["columns"]:
            marks = ([] if not primary else ["PK"]) + (["FK"] if column in refs else [])
            kind = kind.lower().split("(")[0].replace(" ", "_") or "any"
            lines.append(f"        {kind} {column} {', '.join(marks)}".rstrip())
        lines.append("    }")
    lines += ["```", ""]
    for name, table in sorted(tables.items()):
        refs = references(name, table, tables)
        lines += [f"## {name}", "", "| column | type | null | refers to |", "|---|---|---|---|"]
        for column, kind, primary, notnull in table["columns"]:
            null = "" if notnull or primary else "yes"
            label = f"**{column}**" if primary else column
            lines.append(f"| {label} | {kind.lower()} | {null} | {refs.get(column, '')} |")
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


PAGES = {
    "openapi": (ROOT / "docs/openapi.json", openapi),
    "entities": (ROOT / "docs/reference/entities.md", entities),
}
RECIPES = {"openapi": "openapi", "entities": "erd"}


def main(arguments: list) -> int:
    check = arguments == ["--check"]
    if not check and (not arguments or any(a not in PAGES for a in arguments)):
        print(__doc__, file=sys.stderr)
        return 2
    stale = 0
    for name in PAGES if check else arguments:
        path, make = PAGES[name]
        text = make()
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            print(f"generate: wrote {path.relative_to(ROOT)}", file=sys.stderr)
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            stale += 1
            print(f"generate: {path.relative_to(ROOT)} is stale; run ./just {RECIPES[name]}", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
