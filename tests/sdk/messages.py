"""The clients of Anthropic's SDK through the sidecar, as applications use them.

    messages.py BASE_URL SHARED_SECRET

Each call has an id of its own, and asks for the answer that its model is named after. Prints one JSON line per call, which the Rust
test holds against the usage events and against what its service sent: id, model, stream, ending, and the text and
the usage that the client ended up with. Exits 1, after a traceback, if a call ends in any other way than it should.
"""
import asyncio
import itertools
import json
import sys

import anthropic

BASE_URL, SHARED_SECRET = sys.argv[1:]
KEY = "a-key-of-the-test"
PARALLEL = 20
NUMBERS = itertools.count(1)
# A retry would be a second call with an event of its own.
COMMON = {"max_retries": 0, "timeout": 60}
WHOLE = ["text", "tools", "thinking", "repeated", "searched"]
BETA = ["advised"]  # iterations are told to those who ask for them
HALF = ["failed"]


def foundry(kind=anthropic.AnthropicFoundry):
    """It sends the key by two names."""
    return kind(base_url=BASE_URL + "/anthropic", api_key=KEY, **COMMON)


def plain():
    """It sends the key by the name that older versions of the SDK and other languages use."""
    return anthropic.Anthropic(base_url=BASE_URL + "/gw", default_headers={"x-api-key": KEY}, **COMMON)


def asked(model, number):
    headers = {"x-tokenweir-auth": SHARED_SECRET, "x-ms-client-request-id": number}
    return {"model": model, "messages": [{"role": "user", "content": "Name a colour."}], "extra_headers": headers}


def said(message):
    """All that was said, in order: texts, thoughts, and the inputs of tools."""
    parts = []
    for block in message.content:
        if block.type in ("tool_use", "server_tool_use"):
            parts.append(json.dumps(block.input))
        elif block.type in ("text", "thinking"):
            parts.append(getattr(block, block.type))
    return parts


def report(number, model, stream, ending, message=None):
    usage = message and message.usage.to_dict(mode="json")
    print(json.dumps({"id": number, "model": model, "stream": stream, "ending": ending,
                      "said": said(message) if message else [], "usage": usage}), flush=True)


def whole(messages, model):
    number = f"call-{next(NUMBERS):03}"
    report(number, model, False, "complete", messages.create(max_tokens=64, **asked(model, number)))


def streamed(messages, model, leave_after=None):
    number = f"call-{next(NUMBERS):03}"
    ending = "complete"
    try:
        with messages.stream(max_tokens=64, **asked(model, number)) as stream:
            for count, _ in enumerate(stream, 1):
                if count == leave_after:
                    ending = "left"
                    break
            message = stream.current_message_snapshot
    except anthropic.APIStatusError as error:
        assert error.body["error"]["type"] == "overloaded_error", error
        return report(number, model, True, "failed")
    report(number, model, True, ending, message)


def counted(messages):
    number = f"call-{next(NUMBERS):03}"
    assert messages.count_tokens(**asked("text", number)).input_tokens == 2095
    report(number, "text", False, "counted")


def limited(messages):
    number = f"call-{next(NUMBERS):03}"
    try:
        messages.create(max_tokens=64, **asked("limited", number))
    except anthropic.RateLimitError:
        return report(number, "limited", False, "status")
    raise AssertionError("it was not refused")


async def many():
    async def one(client, model):
        number = f"call-{next(NUMBERS):03}"
        async with client.messages.stream(max_tokens=64, **asked(model, number)) as stream:
            report(number, model, True, "complete", await stream.get_final_message())

    async with foundry(anthropic.AsyncAnthropicFoundry) as client:
        models = itertools.islice(itertools.cycle(WHOLE), PARALLEL)
        await asyncio.gather(*(one(client, model) for model in models))


def main():
    for client in [foundry(), plain()]:
        for messages, models in [(client.messages, WHOLE), (client.beta.messages, WHOLE + BETA)]:
            for model in models:
                whole(messages, model)
                streamed(messages, model)
            for model in HALF:
                streamed(messages, model)
            streamed(messages, "endless", leave_after=5)
            limited(messages)
            counted(messages)
    asyncio.run(many())


main()
