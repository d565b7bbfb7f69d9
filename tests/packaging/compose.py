"""compose.py ROOT: docker-compose.yml and Dockerfile fit each other and the tree. There is no Docker engine here, so the
files are held against what they name: stages, volumes, commands, packages, files."""
import pathlib
import re
import sys

import yaml

root = pathlib.Path(sys.argv[1])
compose = yaml.safe_load((root / "docker-compose.yml").read_text())
dockerfile = (root / "Dockerfile").read_text().replace("\\\n", " ")
problems = []


def check(good, what):
    if not good:
        problems.append(what)


stages = re.findall(r"^FROM \S+ AS (\S+)$", dockerfile, re.M)
services = compose["services"]
check(set(services) == {"broker", "order", "inventory", "email", "analytics"}, f"services: {sorted(services)}")

copied = set(re.findall(r"/source/build/package/examples/(\w+)", dockerfile))
examples = (root / "examples/order-processing/CMakeLists.txt").read_text()
for name in copied:
    service = re.fullmatch(r"(\w+)_service", name)
    known = f"add_executable({name} " in examples or (
        service and re.search(rf"foreach\(service [^)]*\b{service[1]}\b", examples))
    check(known, f"Dockerfile copies {name}, which is not built")

for name, service in services.items():
    check(service["build"]["target"] in stages, f"{name}: no stage {service['build']['target']}")
    check("crier" in service["healthcheck"]["test"] and "ping" in service["healthcheck"]["test"],
          f"{name}: its health is not asked for with crier ping")
    for volume in service.get("volumes", []):
        check(volume.split(":")[0] in compose["volumes"], f"{name}: no volume {volume}")
    if name == "broker":
        check(any(v.endswith(":/var/lib/crier") for v in service["volumes"]), "broker: its data has no volume")
        continue
    check(service["depends_on"]["broker"]["condition"] == "service_healthy", f"{name}: does not wait for the broker")
    command = " ".join(service["command"])
    check(f"{name}_service " in command, f"{name}: runs {command}")
    check("--run compose" in command and "--url crier://broker:27437" in command, f"{name}: runs {command}")
    for word in re.findall(r"\b(\w+_service|make_orders)\b", command):
        check(word in copied, f"{name}: {word} is not in the image")

# What a build needs stands in ./dev, once more in the Dockerfile.
needed = re.search(r"BUILD_PACKAGES=\(([^)]*)\)", (root / "dev").read_text())[1].split()
build_stage = dockerfile[dockerfile.index(" AS build"):dockerfile.index(" AS broker")]
for package in needed:
    check(re.search(rf"(?<!\S){re.escape(package)}(?!\S)", build_stage), f"Dockerfile does not install {package}")

for problem in problems:
    print(problem, file=sys.stderr)
sys.exit(1 if problems else 0)
