#!/usr/bin/env bash
# A good guess: `import httpx` loads what the client needs; what its command line needs (`pip install "httpx[cli]"`) is loaded by
# the command `httpx`, or where somebody asked for that extra.
#
# What happens: the package imports its own command line, and leaves it out only if that fails. So as soon as any other package has
# brought click, rich and pygments, every `import httpx` of that environment loads them too: some 120 modules more, and about twice
# the time. Nothing says so, since the import succeeds either way.
#
# Seen with httpx 0.28.1, click 8.3.1, rich 14.2.0, pygments 2.19.2 on Python 3.11.7, on 2026-11-28. The time is printed, not judged.
#
# Why it matters here: a client waits for the server that it starts. This package had asked for rich for one line of progress in a
# terminal, and each start whose list of models is not kept paid some 30 ms for it before it answered `tools/list`.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
cat >load.py <<'PY'
import sys
import time

before = len(sys.modules)
began = time.perf_counter()
import httpx

took = 1000 * (time.perf_counter() - began)
extra = [name for name in ("click", "rich", "pygments") if name in sys.modules]
print(httpx.__version__, len(sys.modules) - before, "-".join(extra) or "none", round(took))
PY
venv/bin/pip install -q "httpx==0.28.1" 2>/dev/null
venv/bin/python load.py >/dev/null # its bytecode
read -r version alone without milliseconds <<<"$(venv/bin/python load.py)"
echo "httpx $version by itself: $alone modules, of its command line $without, $milliseconds ms"
venv/bin/pip install -q "click==8.3.1" "rich==14.2.0" "pygments==2.19.2" 2>/dev/null
venv/bin/python load.py >/dev/null
read -r version beside with milliseconds <<<"$(venv/bin/python load.py)"
echo "httpx $version beside click, rich and pygments: $beside modules, of its command line $with, $milliseconds ms"
[ "$without" = none ] && [ "$with" = click-rich-pygments ] && [ "$beside" -gt $((alone + 80)) ] || { echo "it changed"; exit 1; }
