#!/usr/bin/env bash
# A good guess: mcpo that was installed with an mcp that it can use (`mcp<2`) starts.
#
# What happens: it ends at once with "TypeError: FastAPI.__init__() got an unexpected keyword argument 'ssl_certfile'". mcpo
# hands its two TLS settings to FastAPI, set or not, as well as to uvicorn, which reads them. Until 0.144 FastAPI took any
# name and kept what it did not know; since 0.145 it takes only its own. mcpo asks for `fastapi>=0.115.12`, so a fresh
# installation has a newer one. With `fastapi<0.145` it starts.
#
# Seen with mcpo 0.0.20, mcp 1.30.0 and FastAPI 0.165.0, against FastAPI 0.144.0, on 2026-11-28.
#
# Why it matters here: whoever puts Open WebUI in front of this server by `pip install mcpo` takes the error for one of the
# server's. It needs two bounds: `pip install mcpo 'mcp<2' 'fastapi<0.145'`.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
cat >server.py <<'PY'
import json
import sys

for line in sys.stdin:
    message = json.loads(line)
    if message["method"] == "initialize":
        version = message["params"]["protocolVersion"]
        info = {"name": "one", "version": "1"}
        result = {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": info}
    elif message["method"] == "tools/list":
        result = {"tools": [{"name": "one", "inputSchema": {"type": "object", "properties": {}}}]}
    else:
        continue
    print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}), flush=True)
PY
starts() { # FastAPI's version: how mcpo fares with it
    venv/bin/pip install -q "mcpo==0.0.20" "mcp==1.30.0" "fastapi==$1" 2>/dev/null
    port=$(venv/bin/python -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    venv/bin/mcpo --host 127.0.0.1 --port "$port" -- venv/bin/python server.py >"$1.log" 2>&1 &
    pid=$!
    for _ in $(seq 1 240); do
        if curl -sf "http://127.0.0.1:$port/openapi.json" >page.json; then
            kill "$pid"
            wait "$pid" 2>/dev/null || true
            grep -q '"/one"' page.json && echo "serves the tool" && return
        fi
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.25
    done
    kill "$pid" 2>/dev/null || true
    tr -d '\n│' <"$1.log" | grep -o "unexpected keyword argument 'ssl_certfile'" || echo "ends otherwise"
}
old=$(starts 0.144.0)
new=$(starts 0.165.0)
echo "mcpo 0.0.20 with FastAPI 0.144.0: $old"
echo "mcpo 0.0.20 with FastAPI 0.165.0: $new"
[ "$old" = "serves the tool" ] && [ "$new" = "unexpected keyword argument 'ssl_certfile'" ] || { echo "it changed"; exit 1; }
