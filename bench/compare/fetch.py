"""Servers that Debian does not package: built or fetched by their own ecosystem's client, once, into build/peers.

NATS by `go install` (a Go of its version's age and a module proxy), Kafka by Maven (a JDK and Maven Central). What cannot be
had is left out of the run, and the page says why. Versions are pinned here, so that a run can be repeated."""

import glob
import os
import shutil
import subprocess
import sys

NATS = "v2.15.2"
KAFKA = "3.9.1"
FETCH_TIMEOUT_S = 400

POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>bench</groupId><artifactId>kafka</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies><dependency>
    <groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{KAFKA}</version>
  </dependency></dependencies>
</project>
"""


class Missing(Exception):
    """Why a server cannot be had."""


def run(words, folder, **environment):
    try:
        done = subprocess.run(words, cwd=folder, env=dict(os.environ, **environment), stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=FETCH_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        raise Missing(f"{words[0]} had not ended after {FETCH_TIMEOUT_S} s") from None
    if done.returncode != 0:
        lines = done.stdout.decode(errors="replace").strip().splitlines() or [f"exit {done.returncode}"]
        print(lines[-1], file=sys.stderr)
        raise Missing(f"{words[0]} could not get it (is its registry reachable?)")


def need(*programs):
    for program in programs:
        if not shutil.which(program):
            raise Missing(f"{program} is not installed")


def nats(folder):
    """The path of nats-server."""
    place = os.path.join(folder, f"nats-{NATS}")
    program = os.path.join(place, "nats-server")
    if not os.path.exists(program):
        need("go")
        os.makedirs(place, exist_ok=True)
        run(["go", "install", f"github.com/nats-io/nats-server/v2@{NATS}"], place, GOBIN=place, GOTOOLCHAIN="local")
    return program


def kafka(folder):
    """The class path."""
    need("java")
    place = os.path.join(folder, f"kafka-{KAFKA}")
    jars = os.path.join(place, "jars")
    if not glob.glob(os.path.join(jars, "kafka_*.jar")):
        need("mvn")
        os.makedirs(place, exist_ok=True)
        with open(os.path.join(place, "pom.xml"), "w") as pom:
            pom.write(POM)
        run(["mvn", "-q", "-B", "dependency:copy-dependencies", f"-DoutputDirectory={jars}.new"], place)
        os.rename(f"{jars}.new", jars)
    return os.path.join(jars, "*")


def all_of_them(folder, say):
    """Name -> where it is, or a Missing."""
    folder = os.path.abspath(folder)
    had = {}
    for name, get in (("nats", nats), ("kafka", kafka)):
        try:
            had[name] = get(folder)
        except (Missing, OSError) as reason:
            had[name] = Missing(str(reason))
            say(f"{name}, newer than Debian's: not measured: {reason}")
    return had
