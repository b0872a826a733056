"""The generator's events: what is true of them, as it knows it from making them, and the flat table of its prices."""
from decimal import Decimal

from usage import CLASSES, FLAT, UNITS, judge, scope, table

ONE = 10**18
TOKEN_CLASSES = [name for name in CLASSES if name not in UNITS]
PARTS = ("input_cached", "input_cache_write", "input_audio", "input_image", "output_audio", "output_image")
KEYS = ("day", "caller", "department", "cost_center", "deployment", "model")


def facts(row):
    """What a row of an engine says, in the words of `truth`."""
    key, name, quantity = (*(row[name] for name in KEYS), row["service_tier"]), row["class"], row["quantity"]
    yield (*key, name), quantity
    yield (*key, "cost"), row["cost"] or 0
    yield ("unpriced",), row["unpriced"]
    if name == "calls":
        yield (*key, "calls of unknown numbers"), quantity if row["quality"] == "unknown" else 0
    else:
        yield (*key, row["quality"]), quantity


def truth(folder):
    for row in table(folder / "truth.csv"):
        key = (*(row[name] for name in KEYS), row["tier"])
        n = {name: int(row[name]) for name in ("input", "output", *PARTS)}
        for name in PARTS:
            yield (*key, name), n[name]
        yield (*key, "input_uncached"), n["input"] - sum(n[name] for name in PARTS if name.startswith("input"))
        yield (*key, "output_text"), n["output"] - n["output_audio"] - n["output_image"]
        yield (*key, "calls"), int(row["calls"])
        yield (*key, "calls of unknown numbers"), int(row["unknown_calls"])
        yield (*key, "cost"), int(Decimal(row["cost_full"]) * ONE)
        for quality in ("exact", "lower_bound", "estimated"):
            yield (*key, quality), int(row[quality])


def flat_prices(folder):
    """prices-full.csv, a row for each combination that occurs, class and period: the price of a deployment goes before
    that of a tier, and that before the others."""
    used, lines = set(), table(folder / "prices-full.csv")
    with open(folder / "events.jsonl", encoding="utf-8") as events:
        for line in events:
            event, why = judge(line)
            if not why:
                used.add(tuple(scope(event["data"], None).items()))
    for texts in map(dict, sorted(used)):
        for name in TOKEN_CLASSES:
            fits = [line for line in lines if line["model"] == texts["model"] and line["class"] == name]
            own = [line for line in fits if line["deployment"] == texts["deployment"]]
            of_tier = [line for line in fits if not line["deployment"] and line["service_tier"] == texts["service_tier"]]
            for line in own or of_tier or [line for line in fits if not line["deployment"] and not line["service_tier"]]:
                unit = Decimal(line["price"]) * ONE / Decimal(line["per_tokens"])
                assert unit == int(unit)
                ends = {end: text if "T" in text or not text else text + "T00:00:00Z" for end, text in (("from", line["from"]), ("to", line["to"]))}
                row = texts | ends | {"class": name, "unit": int(unit), "currency": line["currency"]}
                yield {column: row[column] for column in FLAT}
