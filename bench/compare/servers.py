"""Servers to be measured: how each is started on a free port of the loopback, in a folder of its own, and ended.

Every configuration is written out here and printed with the results, so that anybody can object to it. A server is ended
by its process id; nothing of it outlives the run, epmd of RabbitMQ included.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import time

import fetch

START_TIMEOUT_S = 60
FETCHED = object()   # in a version's words: the program that was fetched


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for_port(port, process):
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError("it ended at once; see its log")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise RuntimeError("it does not listen")


class Server:
    """One process on one port. Subclasses say what to run; `settings` is shown beside the results."""

    program = None
    settings = ""
    fetched = None      # the name of what fetch.py must have; found[name] is where it is, or why it is not
    found = {}
    version = ()        # what tells the program's version

    @classmethod
    def complaint(cls):
        """Why it cannot be measured here, or None."""
        if cls.fetched and isinstance(cls.found.get(cls.fetched), (Exception, type(None))):
            return str(cls.found.get(cls.fetched) or "it was not fetched")
        if cls.program and not shutil.which(cls.program):
            return f"{cls.program} is not installed"
        return None

    @classmethod
    def described(cls):
        """Its settings, and the program's version if it tells."""
        words = [cls.found[cls.fetched] if word is FETCHED else word for word in cls.version]
        try:
            told = subprocess.run(words, capture_output=True, text=True, timeout=20, check=False) if words else None
        except OSError:
            told = None
        lines = (told.stdout or told.stderr).strip().splitlines() if told else []
        return f"{cls.settings}; {lines[0].strip()}" if lines else cls.settings

    def __init__(self, folder, build):
        self.folder, self.build = folder, build
        self.port = free_port()
        os.makedirs(folder, exist_ok=True)

    def command(self):
        raise NotImplementedError

    def environment(self):
        return dict(os.environ)

    def start(self):
        with open(os.path.join(self.folder, "server.log"), "wb") as log:
            self.process = subprocess.Popen(
                self.command(), cwd=self.folder, env=self.environment(), stdin=subprocess.DEVNULL,
                stdout=log, stderr=subprocess.STDOUT)
        wait_for_port(self.port, self.process)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    @property
    def url(self):
        return f"127.0.0.1:{self.port}"

    def _pids(self):
        """The server's process and its descendants."""
        parents = {}
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{name}/stat") as stat:
                    parents[int(name)] = int(stat.read().rsplit(")", 1)[1].split()[1])
            except OSError:
                pass  # it has just ended
        found = [self.process.pid]
        for pid in found:
            found += [child for child, parent in parents.items() if parent == pid]
        return found

    def anonymous_mb(self):
        """Memory that no file stands behind, now."""
        kib = 0
        for pid in self._pids():
            try:
                with open(f"/proc/{pid}/status") as status:
                    kib += sum(int(line.split()[1]) for line in status if line.startswith("RssAnon"))
            except OSError:
                pass
        return kib / 1024

    def turn_p99_us(self):
        """CPU time of its loop's turns, once it has ended; None: it does not tell."""
        return None

    def usage(self):
        """CPU seconds and bytes written so far."""
        cpu_s, written = 0.0, 0
        for pid in self._pids():
            try:
                with open(f"/proc/{pid}/stat") as stat:
                    fields = stat.read().rsplit(")", 1)[1].split()
                cpu_s += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
                with open(f"/proc/{pid}/io") as io:
                    written += next(int(line.split()[1]) for line in io if line.startswith("write_bytes"))
            except OSError:
                pass
        return cpu_s, written


class Crier(Server):
    settings = "defaults"

    def command(self):
        return [f"{self.build}/bin/crierd", "--data", "data", "--listen", self.url]

    def turn_p99_us(self):
        with open(os.path.join(self.folder, "server.log")) as log:
            found = re.search(r"TURNS .* p99 (\d+) us", log.read())
        return int(found[1]) if found else None


class Redis(Server):
    program = "redis-server"
    version = ("redis-server", "--version")
    appendfsync = "always"

    def command(self):
        return ["redis-server", "--bind", "127.0.0.1", "--port", str(self.port), "--dir", self.folder, "--save", "",
                "--appendonly", "yes", "--appendfsync", self.appendfsync, "--daemonize", "no",
                "--maxclients", "15000"]

    settings = "appendonly yes, appendfsync always, save ''"


class RedisEverysec(Redis):
    appendfsync = "everysec"
    settings = "appendonly yes, appendfsync everysec (its default), save ''"


class RedisNo(Redis):
    appendfsync = "no"
    settings = "appendonly yes, appendfsync no, save ''"


class Nats(Server):
    program = "nats-server"
    settings = "core, no JetStream"
    version = ("nats-server", "--version")

    def nats(self):
        return self.found[self.fetched] if self.fetched else "nats-server"

    def command(self):
        return [self.nats(), "-a", "127.0.0.1", "-p", str(self.port)]


class NatsNewer(Nats):
    program, fetched, version = None, "nats", (FETCHED, "--version")


class JetStream(Nats):
    settings = "file storage, one replica, sync_interval at its default (2 minutes)"

    def command(self):
        return [*super().command(), "-js", "-sd", os.path.join(self.folder, "js")]


class JetStreamNewer(JetStream):
    program, fetched, version = None, "nats", (FETCHED, "--version")


class Kafka(Server):
    program, fetched = "java", "kafka"
    flush = ""
    node = "one KRaft node, heap of 1 GB; one partition, acks=all, librdkafka's defaults"
    settings = f"{fetch.KAFKA}, {node}; flushed by the kernel (its default)"

    def java(self, *words):
        return ["java", "-Xms1g", "-Xmx1g", "-XX:+UseG1GC", "-cp", self.found["kafka"], *words]

    def configure(self):
        path, controller = os.path.join(self.folder, "server.properties"), free_port()
        with open(path, "w") as config:
            config.write(f"process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@127.0.0.1:{controller}\n"
                         f"listeners=PLAINTEXT://{self.url},CONTROLLER://127.0.0.1:{controller}\n"
                         f"advertised.listeners=PLAINTEXT://{self.url}\ncontroller.listener.names=CONTROLLER\n"
                         "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\n"
                         "offsets.topic.replication.factor=1\ntransaction.state.log.replication.factor=1\n"
                         f"transaction.state.log.min.isr=1\nlog.dirs={self.folder}/kafka\n{self.flush}")
        return path

    def command(self):
        path = self.configure()
        subprocess.run(self.java("kafka.tools.StorageTool", "format", "-t", "4L6g3nShT-eMCtK--X86sw", "-c", path),
                       cwd=self.folder, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=True)
        return self.java("kafka.Kafka", path)


class KafkaFsync(Kafka):
    flush = "log.flush.interval.messages=1\n"
    settings = f"{fetch.KAFKA}, {Kafka.node}; log.flush.interval.messages=1: fsync before every acknowledgement"


class Mosquitto(Server):
    program = "mosquitto"
    version = ("mosquitto", "-h")
    settings = "max_inflight_messages 0, max_queued_messages 0 (no limits: it would drop), no persistence"

    def command(self):
        path = os.path.join(self.folder, "mosquitto.conf")
        with open(path, "w") as config:
            config.write(f"listener {self.port} 127.0.0.1\nallow_anonymous true\n"
                         "max_inflight_messages 0\nmax_queued_messages 0\n")
        return ["mosquitto", "-c", path]


class RabbitMQ(Server):
    program = "rabbitmq-server"
    settings = "quorum queue, publisher confirms, prefetch 2000 (shared group: 256 for each of 8 consumers), no plugins"

    def environment(self):
        self.epmd_port, config = free_port(), os.path.join(self.folder, "rabbitmq.conf")
        with open(config, "w") as file:
            file.write(f"listeners.tcp.default = {self.url}\n")
        return dict(
            os.environ, HOME=self.folder, ERL_EPMD_PORT=str(self.epmd_port),
            RABBITMQ_NODENAME=f"bench{self.port}@localhost", RABBITMQ_CONFIG_FILE=config,
            RABBITMQ_DIST_PORT=str(free_port()), RABBITMQ_MNESIA_BASE=os.path.join(self.folder, "mnesia"),
            RABBITMQ_LOG_BASE=os.path.join(self.folder, "log"), RABBITMQ_PID_FILE=os.path.join(self.folder, "pid"),
            RABBITMQ_ENABLED_PLUGINS_FILE=os.path.join(self.folder, "plugins"))

    def command(self):
        return ["/usr/lib/rabbitmq/bin/rabbitmq-server"]

    def start(self):
        environment = self.environment()
        self.environment = lambda: environment  # the same ports for both
        self.epmd = subprocess.Popen(["epmd", "-port", str(self.epmd_port), "-address", "127.0.0.1"],
                                     stdin=subprocess.DEVNULL)
        super().start()

    def stop(self):
        super().stop()
        self.epmd.terminate()
        self.epmd.wait()
