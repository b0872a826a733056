"""Reads the capture topic as anybody may who has the key: with a JOSE library, and nothing of tokenweir.

    read.py PRIVATE.pem < events.jsonl

prints for each side of each call: its id, the side, its parts, its bytes, their SHA-256, and whether it has its end.
"""
import base64
import collections
import hashlib
import io
import json
import sys

import zstandard
from jwcrypto import jwe, jwk

with open(sys.argv[1], "rb") as file:
    key = jwk.JWK.from_pem(file.read())
parts = collections.defaultdict(dict)
for line in sys.stdin:
    event = json.loads(line)
    if event["type"] != "dev.tokenweir.content.v1":
        continue
    data = event["data"]
    token = jwe.JWE()
    token.deserialize(json.dumps(data["jwe"]))
    token.decrypt(key)  # checks the tag, and with it the protected header
    protected = data["jwe"]["protected"]
    header = json.loads(base64.urlsafe_b64decode(protected + "=" * (-len(protected) % 4)))
    for name, said in data.items():
        if name not in ("schema_version", "reporter", "jwe"):
            assert header[name] == said, (event["id"], name, header[name], said)
    assert header["id"] == event["id"]
    frames = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(token.payload), read_across_frames=True)
    parts[data["call"], data["side"]][data["part"]] = (frames.read(), data["last"])
for (call, side), found in parts.items():
    assert sorted(found) == list(range(len(found))), (call, side, sorted(found))
    whole = b"".join(found[part][0] for part in sorted(found))
    print(json.dumps({"call": call, "side": side, "parts": len(found), "bytes": len(whole),
                      "sha256": hashlib.sha256(whole).hexdigest(), "last": found[len(found) - 1][1]}))
