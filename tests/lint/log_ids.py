#!/usr/bin/env python3
"""log_ids.py TREE: every id that crierd logs as a warning or an error is explained in docs/operations.md or configuration.md."""
import pathlib
import re
import sys

tree = pathlib.Path(sys.argv[1])
LINE = re.compile(r'(?:LOG_(WARN|ERROR)\s*\(|LOG_LEVEL_(WARN|ERROR)\s*,)[^;"]*?"([A-Z][A-Z0-9]*(?:-[A-Z0-9]+)*)"')
documents = "".join((tree / "docs" / name).read_text() for name in ("operations.md", "configuration.md"))
ids = {}
for folder in ("broker", "storage"):
    for path in sorted((tree / folder).rglob("*.[ch]")):
        for match in LINE.finditer(path.read_text()):
            ids.setdefault(match[3], path.relative_to(tree))
missing = [name for name in sorted(ids) if f"`{name}" not in documents]
for name in missing:
    print(f"{ids[name]}: {name} is not explained in docs/operations.md")
if len(ids) < 10:
    sys.exit("log_ids.py found next to nothing: has the logging changed?")
sys.exit(1 if missing else 0)
