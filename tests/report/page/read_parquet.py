"""Reads a report as DuckDB does: read_parquet.py REPORT.parquet REPORT.csv. Prints one JSON object."""
import json
import sys

import duckdb

parquet, csv = sys.argv[1:]
db = duckdb.connect()
db.execute("CREATE TABLE parquet AS SELECT * FROM read_parquet(?)", [parquet])
db.execute("CREATE TABLE csv AS SELECT * FROM read_csv(?, header = true, all_varchar = true, nullstr = '')", [csv])
sums = "count(*), sum(calls::HUGEINT)::VARCHAR, sum(input::HUGEINT)::VARCHAR, sum(cost::DECIMAL(38, 18))::VARCHAR"
print(json.dumps({
    "types": dict(db.execute("SELECT column_name, column_type FROM (DESCRIBE parquet)").fetchall()),
    "parquet": db.execute(f"SELECT {sums} FROM parquet").fetchone(),
    "csv": db.execute(f"SELECT {sums} FROM csv").fetchone(),
    "callers": [caller for (caller,) in db.execute("SELECT caller FROM parquet ORDER BY calls").fetchall()],
    "missing": db.execute("SELECT department, missing FROM parquet ORDER BY calls LIMIT 1").fetchone(),
}))
