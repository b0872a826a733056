"""deploy/connect through Redpanda Connect's open core: events from a file instead of Kafka, requests to a receiver on
loopback that drops repeats as OpenMeter and Lago do."""
import collections
import http.server
import json
import os
import re
import subprocess
import threading

from engines import ROOT

FOLDER = ROOT / "deploy/connect"
SECONDS_MAX = 900
CLASS, QUALITY = "class", "quality"
SHOWN = ("department", "cost_center", "resource", "region", "deployment", "model", "service_tier", "tool", CLASS, QUALITY)


class Receiver(http.server.ThreadingHTTPServer):
    """Keeps what is posted; the first request of each receiver fails, so that it comes twice."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.lock, self.bodies, self.failed = threading.Lock(), [], False
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.bodies.append((self.headers, body))
            status, self.server.failed = (204 if self.server.failed else 503), True
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def key(day, caller, part):
    return (day, caller, *(part[name] for name in SHOWN))


def openmeter(receiver):
    """Quantities by day, caller and the rest; repeats by source and id."""
    sums, seen = collections.Counter(), set()
    for headers, body in receiver.bodies:
        assert headers["Content-Type"] == "application/cloudevents-batch+json" and headers["Authorization"] == "Bearer secret"
        assert len(body) <= 100
        for event in body:
            assert event["specversion"] == "1.0" and event["type"] == "ai_usage"
            if (event["source"], event["id"]) not in seen:
                seen.add((event["source"], event["id"]))
                sums[key(event["time"][:10], event["subject"], event["data"])] += event["data"]["quantity"]
    return sums


def lago(receiver):
    """The same; repeats by transaction and timestamp."""
    import datetime

    sums, seen = collections.Counter(), set()
    for headers, body in receiver.bodies:
        assert headers["Authorization"] == "Bearer secret" and len(body["events"]) <= 100
        for event in body["events"]:
            assert event["code"] == "ai_usage"
            if (event["transaction_id"], event["timestamp"]) not in seen:
                seen.add((event["transaction_id"], event["timestamp"]))
                day = datetime.datetime.fromtimestamp(event["timestamp"], datetime.timezone.utc).date().isoformat()
                sums[key(day, event["external_subscription_id"], event["properties"])] += int(event["properties"]["quantity"])
    return sums


TARGETS = {"openmeter": (openmeter, "OPENMETER_URL", "OPENMETER_TOKEN"), "lago": (lago, "LAGO_URL", "LAGO_API_KEY")}


def run(binary, recipe, events, scratch, environment):
    """Runs a recipe with its input replaced, in the recipes' folder, as they say."""
    text = (FOLDER / f"{recipe}.yaml").read_text()
    file_input = f"input:\n  file: {{paths: [{json.dumps(str(events))}], scanner: {{lines: {{}}}}}}\n\n"
    text, replaced = re.subn(r"(?ms)^input:\n.*?(?=^\S)", lambda _: file_input, text)
    assert replaced == 1
    config = scratch / f"{recipe}.yaml"
    config.write_text(text)
    command = [str(binary), "-c", str(config), "--set", "http.enabled=false", "--set", "logger.level=OFF"]
    subprocess.run(command, cwd=FOLDER, env={**os.environ, **environment}, check=True, timeout=SECONDS_MAX)


def connect(binary, target, events, scratch):
    """The sums that a receiver makes, and how many messages were left out."""
    read, url, secret = TARGETS[target]
    left_out, bills, receiver = scratch / "left-out.jsonl", scratch / "bills", Receiver()
    bills.mkdir()
    address = f"http://127.0.0.1:{receiver.server_address[1]}/"
    try:
        run(binary, target, events, scratch, {url: address, secret: "secret", "LEFT_OUT": str(left_out), "BILLS": str(bills)})
    finally:
        receiver.shutdown()
        receiver.server_close()
    lines = left_out.read_text().splitlines() if left_out.exists() else []
    return read(receiver), len(lines)


def is_archived(binary, events, scratch):
    """The files of the archive hold the same bytes."""
    run(binary, "archive", events, scratch, {"ARCHIVE": str(scratch / "archive")})
    (file,) = (scratch / "archive").rglob("*.jsonl")
    return file.read_bytes() == events.read_bytes()
