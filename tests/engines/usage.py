"""What the engines must find: an independent reading of usage events, as slow and as plain as can be.

A row is a dict of KEYS, `quantity`, `cost` (10^-18 of the currency; None: nothing of it has a price) and `unpriced`. `sums`
reads events and prices; `left_out` counts the lines that do not count. The rules are those of src/report.
"""
import collections
import csv
import datetime
import json

KEYS = ("day", "caller", "department", "cost_center", "resource", "region", "deployment", "model", "service_tier", "tool", "class", "quality")
SCOPE = ("deployment", "resource", "model", "region", "service_tier", "speed", "inference_geo", "size", "quality", "provider")
FLAT = (*SCOPE, "class", "from", "to", "unit", "currency")
TOKENS = ("input", "output", "input_cached", "input_cached_audio", "input_cached_image", "input_cache_write",
          "input_cache_write_long", "input_audio", "input_image", "output_audio", "output_image")  # fmt: skip
TOOL_TOKENS = ("input", "output", "input_cached", "input_image", "output_image")
UNITS = ("audio_ms", "video_ms", "images", "characters", "pages", "search_units", "web_searches", "web_fetches")
QUALITIES = ("exact", "estimated", "lower_bound", "unknown")  # from the best to the worst
OUTCOMES = ("complete", "client_disconnect", "upstream_error", "upstream_eof", "timeout", "shutdown", "crashed", "rejected", "upstream_status")
LATER = ("responses", "assistants", "batch", "video")  # calls of these may begin work that goes on after them
NUMBER_MAX = 10**14
TYPE = "dev.tokenweir.%s.v1"
REPEAT = "repeat of an event or a bill"


def left_out(lines):
    return dict(read(lines)[1])


def read(lines, by_arrival=False):
    """The events that count, each once, and why other lines do not. Of bills the earliest counts, or the one that came
    first."""
    events, why = {}, collections.Counter()
    for line in filter(str.strip, lines):
        event, reason = judge(line)
        if reason:
            why[reason] += 1
        elif (event["source"], event["id"]) in events:
            why[REPEAT] += 1
        else:
            events[event["source"], event["id"]] = event
    kept, bills = [], {}
    in_order = list(events.values())
    if not by_arrival:
        in_order.sort(key=lambda e: (moment(e["time"]), e["source"], e["id"]))
    for event in in_order:
        bill = bill_of(event["data"])
        if bill and bill in bills:
            why[REPEAT] += 1
            continue
        bills[bill] = event
        kept.append(event)
    return kept, why


def judge(line):
    try:
        event = json.loads(line)
    except ValueError:
        return None, "no event of this schema"
    kind = event.get("type") if isinstance(event, dict) else None
    if kind == TYPE % "control":
        return None, "control event"
    if kind not in (TYPE % "usage", TYPE % "summary"):
        return None, "no event of this schema"
    try:
        whole = is_whole(event, kind == TYPE % "summary")
    except (AttributeError, KeyError, TypeError, ValueError):
        whole = False
    if not whole:
        return None, "event that is not whole"
    if (event["data"].get("stream") or {}).get("outcome") == "rejected":
        return None, "call that was rejected"
    return event, None


def is_whole(event, is_sum):
    data = event["data"]
    numbers = [data["tokens"].get(name) for name in TOKENS] + [(data.get("units") or {}).get(name) for name in UNITS]
    numbers += [tool.get(name) for tool in data.get("tools") or () for name in TOOL_TOKENS]
    moment(event["time"])
    accounting = data["accounting"]
    return (
        all(isinstance(text, str) for text in (event["source"], event["id"], data["caller"]["id"]))
        and isinstance(data["target"], dict)
        and all(n is None or is_number(n) for n in numbers)
        and accounting["input_quality"] in QUALITIES
        and accounting["output_quality"] in QUALITIES
        and (is_number(data["calls"]) if is_sum else data["stream"]["outcome"] in OUTCOMES)
    )


def is_number(value):
    return type(value) is int and 0 <= value < NUMBER_MAX


def moment(text):
    return datetime.datetime.fromisoformat(text).astimezone(datetime.timezone.utc)


def bill_of(data):
    accounting = data["accounting"]
    own = (accounting.get("reported_output") or 0) > 0 and data["target"].get("api") in LATER
    work = (data.get("ids") or {}).get("response_id")
    return (data["target"].get("resource"), work) if work is not None and (accounting.get("deferred") or own) else None


def take(whole, part):
    """A part of a number, or what is left of it, and the rest."""
    part = min(part or 0, whole)
    return part, whole - part


def token_parts(n):
    n = collections.defaultdict(int, {name: value or 0 for name, value in n.items() if not isinstance(value, dict)})
    cached, left = take(n["input"], n["input_cached"])
    write, left = take(left, n["input_cache_write"])
    cached_audio, cached = take(cached, n["input_cached_audio"])
    cached_image, cached = take(cached, n["input_cached_image"])
    write_long, write = take(write, n["input_cache_write_long"])
    audio, left = take(left, max(n["input_audio"] - cached_audio, 0))
    image, left = take(left, max(n["input_image"] - cached_image, 0))
    output_audio, text = take(n["output"], n["output_audio"])
    output_image, text = take(text, n["output_image"])
    return {
        "input_uncached": left, "input_cached": cached, "input_cached_audio": cached_audio, "input_cached_image": cached_image,
        "input_cache_write": write, "input_cache_write_long": write_long, "input_audio": audio, "input_image": image,
        "output_text": text, "output_audio": output_audio, "output_image": output_image,
    }  # fmt: skip


CLASSES = (*token_parts({}), *UNITS)


def parts(event):
    """(tool, model of the tool or None, class, quality, quantity)."""
    data, accounting = event["data"], event["data"]["accounting"]
    quality = {side: "unknown" if data["tokens"].get(side) is None else accounting[f"{side}_quality"] for side in ("input", "output")}
    yield "", None, "calls", max(quality.values(), key=QUALITIES.index), data.get("calls", 1)
    for name, number in token_parts(data["tokens"]).items():
        yield "", None, name, quality[name.partition("_")[0]], number
    for name in UNITS:
        yield "", None, name, "", (data.get("units") or {}).get(name) or 0
    for tool in data.get("tools") or ():
        for name, number in token_parts({name: tool.get(name) for name in TOOL_TOKENS}).items():
            yield tool["tool"], tool.get("model") or "", name, "", number


def scope(data, tool_model):
    """What the price of a part depends on."""
    target, request = data["target"], data.get("request") or {}
    texts = {name: target.get(name) or "" for name in SCOPE} | {name: request.get(name) or "" for name in ("size", "quality")}
    texts["model"] = target.get("model") or target.get("model_requested") or ""
    texts["deployment"] = target.get("deployment_served") or texts["deployment"]
    if target.get("api") == "batch":
        texts["service_tier"] = "batch"
    if tool_model is not None:
        texts |= {"model": tool_model, "deployment": ""}
    return texts


class Prices:
    """The flat table: a row for each combination of SCOPE, class and period."""

    def __init__(self, rows):
        self.rows = collections.defaultdict(list)
        for row in rows:
            ends = [moment(row[end]) if row[end] else None for end in ("from", "to")]
            self.rows[tuple(row[name] for name in (*SCOPE, "class"))].append((*ends, int(row["unit"])))

    def unit(self, texts, name, time):
        for begin, end, unit in self.rows.get((*(texts[key] for key in SCOPE), name), ()):
            if (begin is None or time >= begin) and (end is None or time < end):
                return unit
        return None


def sums(lines, price_rows, by_arrival=False):
    prices, rows = Prices(price_rows), {}
    for event in read(lines, by_arrival)[0]:
        data, time = event["data"], moment(event["time"])
        for tool, model, name, quality, quantity in parts(event):
            if not quantity:
                continue
            texts = scope(data, model)
            shown = {key: data["caller"].get(key) or "" for key in ("department", "cost_center")} | {
                "day": time.date().isoformat(), "caller": data["caller"]["id"], "deployment": data["target"].get("deployment") or "",
                "tool": tool, "class": name, "quality": quality}  # fmt: skip
            key = tuple((texts | shown)[key] for key in KEYS)
            row = rows.setdefault(key, {"quantity": 0, "cost": None, "unpriced": 0})
            row["quantity"] += quantity
            unit = None if name == "calls" else prices.unit(texts, name, time)
            if unit is not None:
                row["cost"] = (row["cost"] or 0) + quantity * unit
            elif name != "calls":
                row["unpriced"] += quantity
    return [dict(zip(KEYS, key)) | row for key, row in sorted(rows.items())]


def table(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
