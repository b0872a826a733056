"""The engines that run inside this process: each gives the rows of `usage.sums`, and the lines that it left out by reason."""
import json
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
COLUMNS = ("quantity", "cost", "unpriced")


def statements(sql):
    """Statements, which end at a semicolon at the end of a line; comments are left out."""
    text = "\n".join(re.sub(r"(^|\s)--.*$", "", line).rstrip() for line in sql.splitlines())
    return [part for part in re.split(r";\n|;$", text) if part.strip()]


def rows_of(records):
    return [row | {name: None if row[name] is None else int(row[name]) for name in COLUMNS} for row in records]


def duckdb(events, prices, scratch, memory="512MB"):
    """`events`: a file or a pattern."""
    import duckdb

    db = duckdb.connect(f"{scratch}/duckdb.db", config={"threads": 2, "memory_limit": memory})
    db.execute("SET VARIABLE events = ?", [str(events)])
    db.execute("SET VARIABLE prices = ?", [str(prices)])
    for statement in statements((ROOT / "deploy/duckdb/rollup.sql").read_text()):
        db.execute(statement)
    result = db.execute("FROM daily")
    names = [column[0] for column in result.description]
    return rows_of(dict(zip(names, row)) for row in result.fetchall()), dict(db.execute("FROM left_out WHERE lines > 0").fetchall())


def chdb(events, prices, scratch):
    from chdb import session

    db = session.Session(f"{scratch}/chdb")

    def query(sql):
        return [json.loads(line) for line in str(db.query(sql, "JSONEachRow")).splitlines()]

    for name, path in {"events": events, "prices": prices}.items():
        query(f"SET param_{name} = '{path}'")
    query("SET output_format_json_quote_64bit_integers = 1")
    for statement in statements((ROOT / "deploy/clickhouse/rollup.sql").read_text()):
        query(statement)
    left_out = query("SELECT * FROM tokenweir.left_out WHERE lines > 0")
    rows = rows_of(query("SELECT * FROM tokenweir.daily"))
    db.close()
    return rows, {row["reason"]: int(row["lines"]) for row in left_out}
