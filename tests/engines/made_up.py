"""Events at random, with everything that a reader must see: every class and unit, tools, bills that several ledgers have
seen, parts that contradict their whole, repeats, numbers that are none, lines that are no events, and hostile names.
"""
import copy
import json
import random

from usage import CLASSES, FLAT, LATER, OUTCOMES, QUALITIES, TYPE, UNITS, bill_of, is_whole, judge, parts, scope

NAMES = ("team-a", 'team "b", c', "équipe\n4", "=cmd()", "'; DROP TABLE usage; --", "{}")
MODELS = ("gpt-5-2025-08-07", "gpt-4o", "o'3")
PERIODS = ("", "2026-10-10T12:00:00Z", "2026-10-11T00:00:00Z", "")


def events(seed, count):
    """Lines, in the order in which they arrive."""
    rng, lines, works = random.Random(seed), [], []
    for n in range(count):
        event = one(rng, n)
        if works and rng.random() < 0.05:
            # Another ledger bills the same work, later.
            event = copy.deepcopy(rng.choice(works))
            event |= {"source": f"//tokenweir/{rng.randrange(9)}-other", "id": f"bill-{n}", "time": f"2026-10-1{rng.randrange(2, 6)}T00:00:00.000Z"}
        elif judge(json.dumps(event))[1] is None and bill_of(event["data"]):
            works.append(event)
        text = json.dumps(event, ensure_ascii=rng.random() < 0.5)
        lines.append(text)
        if rng.random() < 0.05:
            lines.insert(rng.randrange(len(lines)), text)
        if rng.random() < 0.03:
            lines.append(rng.choice(("", "no event", "null", "[]", "{}", text[: len(text) // 2], text.replace(".v1", ".v2"))))
    return lines


def one(rng, n):
    def some(numbers, most=1000):
        return {name: rng.randrange(most) for name in numbers if rng.random() < 0.4}

    is_sum = rng.random() < 0.05
    target = {"provider": rng.choice(("azure.ai.openai", "azure.ai.inference")), "api": rng.choice((*LATER, "chat_completions", "images")), "resource": rng.choice(("eu.example", "us.example")),
              "deployment": rng.choice((None, "prod", "ptu")), "model": rng.choice((None, *MODELS))}  # fmt: skip
    for name, words in {"deployment_served": ("spill",), "model_requested": MODELS, "service_tier": ("default", "flex", "priority"), "speed": ("fast",), "inference_geo": ("us",), "region": ("West Europe",)}.items():
        if rng.random() < 0.3:
            target[name] = rng.choice(words)
    tokens = {"input": rng.choice((None, 0, rng.randrange(3000))), "output": rng.choice((None, 0, rng.randrange(900))), "total": 7}
    tokens |= some(("input_cached", "input_cached_audio", "input_cached_image", "input_cache_write", "input_cache_write_long", "input_audio", "input_image", "output_audio", "output_image", "output_reasoning"))
    if rng.random() < 0.1:
        tokens["other"] = {"details.news": 5}
    data = {
        "schema_version": "1.1", "caller": {"id": rng.choice(NAMES), "id_source": "header", "trust": "mtls"}, "target": target, "tokens": tokens,
        "accounting": {"input_source": "reported", "output_source": "reported", "input_quality": rng.choice(QUALITIES), "output_quality": rng.choice(QUALITIES), "reasons": [], "rules": "2026-11"},
        "ids": {}, "reporter": {"instance": "b", "version": "1"},
    }  # fmt: skip
    if rng.random() < 0.6:
        data["caller"] |= {"department": rng.choice(("Legal & Risk", "Données")), "cost_center": rng.choice(("1", "CC-2"))}
    if rng.random() < 0.3:
        data["units"] = some(UNITS, 100_000)
    if rng.random() < 0.2:
        data["tools"] = [{"tool": tool, "input": rng.choice((None, 900)), "output": rng.randrange(500)} | some(("input_cached", "input_image", "output_image"))
                         | ({"model": 'gpt-image "1"'} if rng.random() < 0.7 else {}) for tool in rng.sample(("image_generation", "svg", "advisor"), 2)]  # fmt: skip
    if is_sum:
        data |= {"calls": rng.randrange(1, 500), "from": "2026-10-10T00:00:00.000Z", "to": "2026-10-10T01:00:00.000Z"}
    else:
        data |= {"stream": {"outcome": rng.choice(OUTCOMES)}, "request": {"status": 200} | ({"size": "1024x1024", "quality": "high"} if rng.random() < 0.2 else {}), "timing": {}}
    if rng.random() < 0.4:
        data["ids"] = {"response_id": f"resp_{rng.randrange(10**6)}"}
        data["accounting"] |= rng.choice(({}, {"deferred": True}, {"reported_output": 3}, {"reported_output": 0}))
    if rng.random() < 0.04:
        odd, name = rng.choice(((data["tokens"], "input_cached"), (data.setdefault("units", {}), "images")))
        odd[name] = rng.choice((-1, 1.5, 10**14, 2**63, 10**30, True))
    if rng.random() < 0.02:
        data.pop(rng.choice(("caller", "target", "tokens", "accounting")))
    if rng.random() < 0.02:
        data.get("accounting", {})["output_quality"] = "splendid"
    time = rng.choice(("2026-10-10T11:59:59.999Z", "2026-10-10T12:00:00.000Z", "2026-10-10T23:59:59.999Z", "2026-10-11T00:00:00.000Z", None if rng.random() < 0.1 else f"2026-10-1{rng.randrange(2)}T07:08:09.010Z"))
    return {"specversion": "1.0", "id": f"{n // 3}", "source": f"//tokenweir/{n % 3}", "type": TYPE % ("summary" if is_sum else "usage"), "time": time, "subject": "s", "partitionkey": "s", "sequence": f"{n:020}", "data": data}


def prices(lines, seed):
    """Prices for most of what was used, two periods of three."""
    rng, used = random.Random(seed), set()
    for line in lines:
        try:
            event = json.loads(line)
            if not is_whole(event, "calls" in event["data"]):
                continue
            for _, model, name, _, quantity in parts(event):
                if quantity and name in CLASSES:
                    used.add((*scope(event["data"], model).values(), name))
        except (ValueError, AttributeError, KeyError, TypeError):
            continue
    rows = []
    for texts in sorted(used):
        for begin, end in zip(PERIODS, PERIODS[1:]):
            if rng.random() < 0.8:
                rows.append(dict(zip(FLAT, (*texts, begin, end, str(rng.choice((0, 10**12 + rng.randrange(10**13), 3 * 10**17))), "EUR"))))
    return rows
