"""Images and sound by the real SDK, as applications ask for them.

    media.py BASE_URL SHARED_SECRET

Every call has a caller of its own. Prints one JSON line per call: caller, model, stream, and the answer as the client has it: an
object, a list of a stream's events, or the bytes of a sound in base64.
"""
import base64
import itertools
import json
import sys

import openai

BASE_URL, SHARED_SECRET = sys.argv[1:]
NUMBERS = itertools.count(1)
# A retry would be a second call with an event of its own.
COMMON = {"api_key": "a-key-of-the-test", "max_retries": 0, "timeout": 60}
# Larger than one read of a socket, and with what looks like a part of a form.
SOUND = ("f.wav", b'RIFF\r\n--\r\nContent-Disposition: form-data; name="model"\r\n\r\nnone\r\n' + bytes(300_000))


def report(model, answer, stream=False):
    def call(create, **options):
        caller = f"media-{next(NUMBERS):03}"
        headers = {"x-apim-subscription-id": caller, "x-tokenweir-auth": SHARED_SECRET}
        received = answer(create(model=model, extra_headers=headers, **options))
        print(json.dumps({"caller": caller, "model": model, "stream": stream, "answer": received}), flush=True)
    return call


def whole(answer):
    return answer.to_dict(mode="json")


def events(stream):
    return [whole(event) for event in stream]


def sound(answer):
    return base64.b64encode(answer.content).decode()


CLIENTS = [openai.OpenAI(base_url=BASE_URL + "/openai/v1", **COMMON),
           openai.AzureOpenAI(azure_endpoint=BASE_URL, api_version="2025-04-01-preview", **COMMON)]

for client in CLIENTS:
    report("image", whole)(client.images.generate, prompt="A weir.", n=2)
    report("drawn", whole)(client.images.generate, prompt="A weir.", size="1024x1024", quality="hd")
    report("image", events, stream=True)(client.images.generate, prompt="A weir.", stream=True, partial_images=1)
    transcribe = client.audio.transcriptions.create
    report("scribe", whole)(transcribe, file=SOUND, response_format="json")
    report("seconds", whole)(transcribe, file=SOUND, response_format="verbose_json")
    report("whisper", whole)(transcribe, file=SOUND, response_format="verbose_json")
    report("voice", sound)(client.audio.speech.create, voice="alloy", input="Gr\u00fcn, bitte \U0001f600.")
