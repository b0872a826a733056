"""A response in the background by the real SDK, one step at a time, so that the sidecar can die in between.

    background.py BASE_URL CALLER SECRET create        prints the response's id
    background.py BASE_URL CALLER SECRET poll ID       prints its status and its output tokens
    background.py BASE_URL CALLER SECRET stream ID     the same, of a stream that is resumed
    background.py BASE_URL CALLER SECRET cancel ID     the same, of a response that is broken off
"""
import json
import sys

import openai

BASE_URL, CALLER, SHARED_SECRET, STEP, *ID = sys.argv[1:]
HEADERS = {"x-apim-subscription-id": CALLER, "x-tokenweir-auth": SHARED_SECRET}
# A retry would hide that a call failed.
client = openai.OpenAI(base_url=BASE_URL + "/openai/v1", api_key="a-key-of-the-test", max_retries=0, timeout=60,
                       default_headers=HEADERS)


def told(response):
    tokens = response.usage and response.usage.output_tokens
    print(json.dumps({"id": response.id, "status": response.status, "output_tokens": tokens}))


if STEP == "create":
    told(client.responses.create(model="team-r", input="Name a colour.", background=True))
elif STEP == "poll":
    told(client.responses.retrieve(ID[0]))
elif STEP == "cancel":
    told(client.responses.cancel(ID[0]))
else:
    for event in client.responses.retrieve(ID[0], stream=True, starting_after=0):
        if event.type == "response.completed":
            told(event.response)
