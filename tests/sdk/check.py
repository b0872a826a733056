"""Real SDK clients through the sidecar: what they receive must be what the service sent.

    check.py BASE_URL FIXTURES_DIR SHARED_SECRET [VECTOR]

With VECTOR, a JSON list, it asks for embeddings, and that is what each must be. Every call has a caller of its own. Prints one JSON line per call, which the Rust test holds against
the usage events: caller, client, fixture, stream, include_usage, ending. Exits 1, after a traceback,
if a client received anything else than the fixture says.
"""
import asyncio
import itertools
import json
import pathlib
import sys

import openai

BASE_URL, FIXTURES_DIR, SHARED_SECRET, *VECTOR = sys.argv[1:]
FIXTURES = [json.loads(path.read_text("utf-8")) for path in sorted(pathlib.Path(FIXTURES_DIR).glob("*.json"))]
API_VERSION = "2024-10-21"
PARALLEL = 50
NUMBERS = itertools.count(1)
# A retry would be a second call with an event of its own.
COMMON = {"api_key": "a-key-of-the-test", "max_retries": 0, "timeout": 60}


def azure(kind=openai.AzureOpenAI):
    return kind(azure_endpoint=BASE_URL, api_version=API_VERSION, **COMMON)


def plain():
    return openai.OpenAI(base_url=BASE_URL + "/openai/v1", **COMMON)


def arguments(fixture, caller, stream, include_usage):
    options = {"stream": True} if stream else {}
    if include_usage:
        options["stream_options"] = {"include_usage": True}
    headers = {"x-apim-subscription-id": caller, "x-tokenweir-auth": SHARED_SECRET}
    return {**fixture["request"], **options, "model": fixture["deployment"], "extra_headers": headers}


class Joined:
    """A stream's deltas, joined as an application would."""

    def __init__(self, fixture):
        self.choices = [{"content": "", "refusal": "", "calls": [], "finish": None} for _ in fixture["choices"]]
        self.usage = None

    def add(self, chunk):
        self.usage = chunk.usage or self.usage
        for part in chunk.choices:
            choice = self.choices[part.index]
            choice["finish"] = part.finish_reason or choice["finish"]
            if part.delta is None:  # an event of the asynchronous content filter
                continue
            choice["content"] += part.delta.content or ""
            choice["refusal"] += part.delta.refusal or ""
            for call in part.delta.tool_calls or []:
                if call.index == len(choice["calls"]):
                    choice["calls"].append([call.id, call.function.name, ""])
                choice["calls"][call.index][2] += call.function.arguments or ""


def whole(completion):
    joined = Joined({"choices": completion.choices})
    joined.usage = completion.usage
    for choice, part in zip(joined.choices, completion.choices):
        message = part.message
        choice.update(content=message.content or "", refusal=message.refusal or "", finish=part.finish_reason)
        choice["calls"] = [[c.id, c.function.name, c.function.arguments] for c in message.tool_calls or []]
    return joined


def compare(fixture, joined, reports):
    """The client has what the fixture says, and usage exactly if the service was to report it."""
    expected = []
    for choice in fixture["choices"]:
        message = choice["message"]
        calls = [[c["id"], c["function"]["name"], c["function"]["arguments"]] for c in message.get("tool_calls", [])]
        expected.append({"content": message.get("content") or "", "refusal": message.get("refusal") or "",
                         "calls": calls, "finish": choice["finish_reason"]})
    assert joined.choices == expected, (fixture["name"], joined.choices, expected)
    got = joined.usage and {key: getattr(joined.usage, key) for key in fixture["usage"]}
    assert got == (fixture["usage"] if reports else None), (fixture["name"], got)


def is_cut(fixture):
    return "cut_after" in fixture.get("delivery", {})


def report(caller, client, fixture, stream, include_usage, ending):
    print(json.dumps({"caller": caller, "client": client, "fixture": fixture["name"], "stream": stream,
                      "include_usage": include_usage, "ending": ending}), flush=True)


def call(name, client, fixture, stream, include_usage=False, leave_after=None):
    caller = f"sdk-{next(NUMBERS):03}"
    ending = "complete"
    try:
        answer = client.chat.completions.create(**arguments(fixture, caller, stream, include_usage))
        if stream:
            joined = Joined(fixture)
            for number, chunk in enumerate(answer, 1):
                joined.add(chunk)
                if number == leave_after:
                    answer.close()
                    ending = "left"
                    break
        else:
            joined = whole(answer)
        if ending == "complete" and not (stream and is_cut(fixture)):
            compare(fixture, joined, include_usage or not stream)
    except openai.APIStatusError as error:
        assert error.status_code == fixture["error"]["status"], error
        ending = "status"
    except openai.APIConnectionError:
        ending = "broken"
    assert (ending == "broken") == (stream and is_cut(fixture)), (fixture["name"], ending)
    report(caller, name, fixture, stream, include_usage, ending)


async def one_of_many(client, fixture, include_usage):
    caller = f"sdk-{next(NUMBERS):03}"
    joined = Joined(fixture)
    async for chunk in await client.chat.completions.create(**arguments(fixture, caller, True, include_usage)):
        joined.add(chunk)
    compare(fixture, joined, include_usage)
    report(caller, "many at once", fixture, True, include_usage, "complete")


async def one_whole(client, fixture):
    caller = f"sdk-{next(NUMBERS):03}"
    compare(fixture, whole(await client.chat.completions.create(**arguments(fixture, caller, False, False))), True)
    report(caller, "many at once", fixture, False, False, "complete")


async def many(fixtures):
    async with azure(openai.AsyncAzureOpenAI) as client:
        rounds = itertools.islice(itertools.cycle(fixtures), PARALLEL)
        await asyncio.gather(*(one_of_many(client, f, number % 2 == 0) for number, f in enumerate(rounds)))
        await asyncio.gather(*(one_whole(client, f) for f in fixtures))


def main():
    clients = {"AzureOpenAI": azure(), "OpenAI": plain()}
    for name, client in clients.items():
        for fixture in FIXTURES:
            for stream, include_usage in [(False, False), (True, False), (True, True)]:
                call(name, client, fixture, stream, include_usage)
        call(name, client, next(f for f in FIXTURES if f["name"] == "boathouse-draft"), True, leave_after=20)
    asyncio.run(many([f for f in FIXTURES if "choices" in f and not is_cut(f)]))


def embeddings(vector):
    for name, client in {"AzureOpenAI": azure(), "OpenAI": plain()}.items():
        for options in [{}, {"encoding_format": "float"}]:  # by default the SDK asks for base64, and decodes it
            caller = f"sdk-{next(NUMBERS):03}"
            headers = {"x-apim-subscription-id": caller, "x-tokenweir-auth": SHARED_SECRET}
            answer = client.embeddings.create(input="A weir.", model="embed", extra_headers=headers, **options)
            assert answer.data[0].embedding == vector, answer
            report(caller, name, {"name": "embeddings"}, False, False, "complete")


if VECTOR:
    embeddings(json.loads(VECTOR[0]))
else:
    main()
