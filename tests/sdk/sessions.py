"""One session over a WebSocket by the real SDK: a response after the other, then it leaves.

    sessions.py BASE_URL CALLER SECRET CLIENT SURFACE MODEL RESPONSES

CLIENT is openai or azure, SURFACE is realtime or responses. Prints one JSON object: the events as the client has them,
and how the session ended: left (by the client, after the last response), or broken.
"""
import json
import sys

import openai
from websockets.exceptions import ConnectionClosedError

BASE_URL, CALLER, SHARED_SECRET, CLIENT, SURFACE, MODEL, RESPONSES = sys.argv[1:]
COMMON = {"api_key": "a-key-of-the-test", "timeout": 60,
          "default_headers": {"x-apim-subscription-id": CALLER, "x-tokenweir-auth": SHARED_SECRET}}
OVER = {"response.done", "response.completed"}


def client():
    if CLIENT == "azure":
        # Without a base of its own it speaks TLS only.
        return openai.AzureOpenAI(azure_endpoint=BASE_URL, api_version="2025-04-01-preview",
                                  websocket_base_url=BASE_URL.replace("http", "ws") + "/openai", **COMMON)
    return openai.OpenAI(base_url=BASE_URL + "/openai/v1", **COMMON)


def connect():
    return client().realtime.connect(model=MODEL) if SURFACE == "realtime" else client().responses.connect()


def ask(connection, events):
    if SURFACE == "realtime":
        return connection.response.create()
    last = {"previous_response_id": events[-1]["response"]["id"]} if events else {}
    connection.response.create(model=MODEL, input="Name a colour.", store=False, **last)


def session():
    events, left = [], int(RESPONSES)
    with connect() as connection:
        if SURFACE == "responses":
            ask(connection, events)
        try:
            for event in connection:
                events.append(event.to_dict(mode="json"))
                left -= event.type in OVER
                if left == 0:
                    return events, "left"
                if event.type in OVER or event.type == "session.created":
                    ask(connection, events)
        except ConnectionClosedError:
            return events, "broken"
    raise AssertionError("the service closed in good order")


EVENTS, ENDING = session()
print(json.dumps({"events": EVENTS, "ending": ENDING}))
