"""deploy/flink on a real cluster: Kafka -> Flink SQL -> Kafka, with a task manager killed and a move to a new cluster.

The broker is the one that tests/kafka/run starts. The cluster is one job manager and one task manager,
on loopback, in folders that go away; every process is ended at the end.
"""
import csv
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request

from engines import ROOT, rows_of

EVENTS, PRICES, DAILY, LEFT_OUT = "ai-usage", "ai-usage-prices", "ai-usage-daily", "ai-usage-left-out"
PARTITIONS = 4
GROUPS = {EVENTS: "ai-usage-daily", PRICES: "ai-usage-daily-prices"}
START_SECONDS_MAX = 600  # a cold JVM beside busy compilers
SETTLE_SECONDS_MAX = 1800
PACED = 4000  # messages a second where the job shall be in the middle of them
OPEN = ["java.lang", "java.net", "java.io", "java.nio", "sun.nio.ch", "java.lang.reflect", "java.text", "java.time", "java.util",
        "java.util.concurrent", "java.util.concurrent.atomic", "java.util.concurrent.locks"]  # fmt: skip
OPENS = ["--add-exports=java.base/sun.net.util=ALL-UNNAMED", "--add-exports=java.security.jgss/sun.security.krb5=ALL-UNNAMED",
         *(f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in OPEN)]  # fmt: skip
CONFIG = """jobmanager.rpc.address: 127.0.0.1
jobmanager.rpc.port: {rpc}
jobmanager.bind-host: 127.0.0.1
taskmanager.bind-host: 127.0.0.1
taskmanager.host: 127.0.0.1
rest.address: 127.0.0.1
rest.bind-address: 127.0.0.1
rest.port: {rest}
parallelism.default: 2
taskmanager.numberOfTaskSlots: 4
taskmanager.cpu.cores: 2
taskmanager.memory.framework.heap.size: 128m
taskmanager.memory.task.heap.size: 512m
taskmanager.memory.framework.off-heap.size: 128m
taskmanager.memory.task.off-heap.size: 0m
taskmanager.memory.network.min: 64m
taskmanager.memory.network.max: 64m
taskmanager.memory.managed.size: 512m
taskmanager.memory.jvm-metaspace.size: 256m
taskmanager.memory.jvm-overhead.min: 192m
taskmanager.memory.jvm-overhead.max: 192m
heartbeat.interval: 5000
heartbeat.timeout: 60000
io.tmp.dirs: {scratch}/tmp
"""
LOGGING = """rootLogger.level = INFO
rootLogger.appenderRef.c.ref = c
appender.c.type = CONSOLE
appender.c.name = c
appender.c.layout.type = PatternLayout
appender.c.layout.pattern = %d{HH:mm:ss,SSS} %-5p %c{1} - %m%n
"""


def wait(test, seconds, what):
    end = time.monotonic() + seconds
    while not test():
        if time.monotonic() > end:
            raise SystemExit(f"{what}: not within {seconds} s")
        time.sleep(0.3)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Cluster:
    def __init__(self, libraries, scratch, brokers):
        self.scratch, self.running, self.brokers = scratch, [], brokers
        self.classpath = ":".join(f"{folder}/*" for folder in libraries)
        self.conf = scratch / "conf"
        for folder in (self.conf, scratch / "tmp"):
            folder.mkdir(exist_ok=True)
        (self.conf / "log4j.properties").write_text(LOGGING)

    def start(self):
        self.rest = free_port()
        (self.conf / "config.yaml").write_text(CONFIG.format(rpc=free_port(), rest=self.rest, scratch=self.scratch))
        self.spawn("jobmanager", "512m", [], "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint")
        wait(self.is_up, START_SECONDS_MAX, "job manager")
        self.start_task_manager()
        wait(lambda: self.get("/overview")["slots-total"] >= 4, START_SECONDS_MAX, "task manager")

    def start_task_manager(self):
        limits = ["-XX:MaxDirectMemorySize=192m", "-XX:MaxMetaspaceSize=256m"]
        self.task_manager = self.spawn("taskmanager", "640m", limits, "org.apache.flink.runtime.taskexecutor.TaskManagerRunner")

    def java(self, heap, more):
        logging = f"-Dlog4j.configurationFile={self.conf}/log4j.properties"
        return ["java", f"-Xmx{heap}", "-XX:+UseSerialGC", *more, *OPENS, logging, "-cp", self.classpath]

    def spawn(self, name, heap, more, main):
        with open(self.scratch / f"{name}.log", "ab") as log:
            command = [*self.java(heap, more), main, "--configDir", str(self.conf)]
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.running.append(process)
        return process

    def end(self, process):
        process.send_signal(signal.SIGKILL)
        process.wait()
        self.running.remove(process)

    def close(self):
        for process in self.running[:]:
            self.end(process)

    def is_up(self):
        try:
            return bool(self.get("/overview"))
        except OSError:
            return False

    def get(self, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.rest}{path}", data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.load(answer)

    def submit(self, name, words, first=""):
        """Runs a file of deploy/flink with its words in CAPITALS replaced, and `first` before it."""
        text = first + (ROOT / "deploy/flink" / name).read_text()
        for word, value in {"BROKERS": self.brokers, **words}.items():
            text = text.replace(f"'{word}'", f"'{value}'")
        file = self.scratch / name
        file.write_text(text)
        command = [*self.java("512m", []), str(ROOT / "deploy/flink/RunSql.java"), str(self.conf), str(file)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=2 * START_SECONDS_MAX)
        found = re.findall(r"Job ID: ([0-9a-f]{32})", done.stdout)
        if not found:
            said = [line for line in (done.stdout + done.stderr).splitlines() if not line.startswith("\tat ") and " INFO " not in line]
            raise SystemExit(f"{name} gave no job:\n" + "\n".join(said)[:4000])
        return found[0]

    def load(self, prices):
        job = self.submit("prices.sql", {"PRICES": f"file://{prices}"})
        wait(lambda: self.state(job) == "FINISHED", START_SECONDS_MAX, "prices")

    def state(self, job):
        return self.get(f"/jobs/{job}")["state"]

    def is_restored(self, job):
        restored = self.get(f"/jobs/{job}/checkpoints")["latest"].get("restored")
        return restored and all(v["status"] in ("RUNNING", "FINISHED") for v in self.get(f"/jobs/{job}")["vertices"])

    def stop_with_savepoint(self, job):
        target = {"targetDirectory": f"file://{self.scratch}/savepoints", "drain": False}
        request = self.get(f"/jobs/{job}/stop", target)["request-id"]
        wait(lambda: self.get(f"/jobs/{job}/savepoints/{request}")["status"]["id"] == "COMPLETED", START_SECONDS_MAX, "savepoint")
        return self.get(f"/jobs/{job}/savepoints/{request}")["operation"]["location"]


class Topics:
    def __init__(self, brokers):
        from confluent_kafka import Consumer, Producer, TopicPartition
        from confluent_kafka.admin import AdminClient, NewTopic

        compacted = {"cleanup.policy": "compact"}
        new = [NewTopic(EVENTS, PARTITIONS, 1), *(NewTopic(topic, 1, 1, config=compacted) for topic in (PRICES, DAILY, LEFT_OUT))]
        admin = AdminClient({"bootstrap.servers": brokers})
        for future in admin.create_topics(new).values():
            future.result()
        self.producer = Producer({"bootstrap.servers": brokers, "enable.idempotence": True, "linger.ms": 50, "queue.buffering.max.messages": 200_000})
        self.groups = {topic: Consumer({"bootstrap.servers": brokers, "group.id": group, "enable.auto.commit": False}) for topic, group in GROUPS.items()}
        self.watch = Consumer({"bootstrap.servers": brokers, "group.id": "watch", "enable.auto.commit": False})
        self.partitions = {EVENTS: [TopicPartition(EVENTS, p) for p in range(PARTITIONS)], PRICES: [TopicPartition(PRICES, 0)]}
        self.whole = lambda topic: [TopicPartition(topic, 0, 0)]
        self.sent = 0

    def send(self, lines, count, rate=None):
        """The next messages of a file; the key is the payer's, as the sidecar has it."""
        began, first = time.monotonic(), self.sent
        for line in lines:
            key = re.search(rb'"partitionkey": ?"((?:[^"\\]|\\.)*)"', line[:900])
            self.producer.produce(EVENTS, line.rstrip(b"\n"), key=key and key.group(1))
            self.sent += 1
            if self.sent % 1000 == 0:
                self.producer.poll(0)
                if rate:
                    time.sleep(max(0, (self.sent - first) / rate - (time.monotonic() - began)))
            if self.sent - first >= count:
                break
        self.producer.flush()

    def are_read(self):
        """Flink commits offsets with each checkpoint, before which it has written the sums that belong to them."""
        return all(self.is_read(topic) for topic in GROUPS)

    def is_read(self, topic):
        committed = self.groups[topic].committed(self.partitions[topic], timeout=10)
        ends = [self.watch.get_watermark_offsets(p, timeout=10)[1] for p in self.partitions[topic]]
        return all(p.offset == end or not end for p, end in zip(committed, ends))

    def latest(self, topic):
        """The last value of each key."""
        from decimal import Decimal

        values, changes = {}, 0
        self.watch.assign(self.whole(topic))
        while messages := self.watch.consume(5000, 5):
            for message in messages:
                values[message.key()] = message.value()
            changes += len(messages)
        return [json.loads(value, parse_float=Decimal) for value in values.values() if value is not None], changes


def some_wrong(prices, path):
    """Every other price, and a wrong one."""
    with open(prices, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(row | {"unit": str(int(row["unit"]) + 1)} for row in rows[::2])
    return path


def flink(events, prices, scratch, libraries, say, plain=False):
    brokers = os.environ.get("TOKENWEIR_TEST_BROKERS")
    if not brokers:
        raise SystemExit("no broker: run this under tests/kafka/run")
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="flink-", dir=scratch))
    topics, cluster = Topics(brokers), Cluster(libraries, scratch, brokers)
    words = {"CHECKPOINTS": f"file://{scratch}/checkpoints"}
    total = sum(1 for _ in open(events, "rb"))
    lines = open(events, "rb")
    try:
        cluster.start()
        cluster.load(prices if plain else some_wrong(prices, scratch / "first-prices.csv"))
        job = cluster.submit("rollup.sql", words)
        began = time.monotonic()
        say(f"Flink runs job {job}")
        if not plain:
            topics.send(lines, total // 3, PACED)
            wait(lambda: cluster.get(f"/jobs/{job}/checkpoints")["counts"]["completed"] >= 1, START_SECONDS_MAX, "checkpoint")
            topics.send(lines, total // 50)
            cluster.end(cluster.task_manager)
            say(f"task manager killed after {topics.sent} messages")
            topics.send(lines, total // 6)
            cluster.start_task_manager()
            wait(lambda: cluster.is_restored(job), START_SECONDS_MAX, "restored job")
            say("the job runs again from its last checkpoint")
            topics.send(lines, total // 6, PACED)
            savepoint = cluster.stop_with_savepoint(job)
            say(f"stopped with a savepoint after {topics.sent} messages; the whole cluster goes")
            topics.send(lines, total // 6)
            cluster.close()
            cluster.start()
            job = cluster.submit("rollup.sql", words, f"SET 'execution.state-recovery.path' = '{savepoint}';\n")
            say(f"a new cluster goes on from the savepoint: job {job}")
            cluster.load(prices)
            say("every other price was missing, and the rest too high, until now")
        topics.send(lines, total)
        wait(topics.are_read, SETTLE_SECONDS_MAX, "the sums")
        took = time.monotonic() - began
        points = cluster.get(f"/jobs/{job}/checkpoints")
        state = (points["latest"].get("completed") or {}).get("state_size") or 0
        peak = re.search(r"VmHWM:\s+(\d+)", pathlib.Path(f"/proc/{cluster.task_manager.pid}/status").read_text())
        rows, changes = topics.latest(DAILY)
        say(f"{topics.sent} messages in {took:.0f} s, {topics.sent / took:.0f} a second; {changes} changes of {len(rows)} sums; "
            f"state {state / 1e6:.1f} MB, task manager at most {int(peak.group(1)) / 1000:.0f} MB")  # fmt: skip
        left_out = {row["reason"]: row["messages"] for row in topics.latest(LEFT_OUT)[0]}
        return rows_of(rows), left_out
    finally:
        lines.close()
        cluster.close()
        if not os.environ.get("TOKENWEIR_TEST_KEEP"):
            shutil.rmtree(scratch, ignore_errors=True)
