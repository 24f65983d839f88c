#!/usr/bin/env bash
# A good guess: a Python program that cancels a call of a tool and then leaves its MCP session ends cleanly.
#
# What happens: with mcp 1.x over stdio the program ends with an ExceptionGroup (BrokenResourceError). Cancelling the
# waiting task tells the server nothing, so the call goes on there. The session is closed first and the process after it;
# whatever the server says in between, such as the answer of that call when its stdin ends, is handed to a stream that
# nobody reads any more, and that error is not caught (ClosedResourceError, its neighbour, is).
#
# Seen with mcp 1.30.0 on 2026-11-27, also through langchain-mcp-adapters 0.3.2, which uses it.
#
# Why it matters here: a server that answers waiting calls when its input ends, as this one does, is right for everybody
# who closes the input first, and makes such a program fail at its very end. Nothing is lost by it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q 'mcp==1.30.0'
cat >server.py <<'PY'
import json
import sys

waiting = []


def say(number, result):
    print(json.dumps({"jsonrpc": "2.0", "id": number, "result": result}), flush=True)


for line in sys.stdin:
    message = json.loads(line)
    if message["method"] == "initialize":
        version = message["params"]["protocolVersion"]
        info = {"name": "slow", "version": "1"}
        say(message["id"], {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": info})
    elif message["method"] == "tools/call":
        waiting.append(message["id"])
print(f"stdin ended, {len(waiting)} waiting", file=sys.stderr)
for number in waiting:
    say(number, {"content": [{"type": "text", "text": "late"}]})
PY
cat >check.py <<'PY'
import asyncio
import sys

from mcp import ClientSession, StdioServerParameters, stdio_client


async def main(cancel):
    parameters = StdioServerParameters(command=sys.executable, args=["server.py"])
    async with stdio_client(parameters) as streams, ClientSession(*streams) as session:
        await session.initialize()
        if cancel:
            call = asyncio.create_task(session.call_tool("wait", {}))
            await asyncio.sleep(1)
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)


def ended(cancel):
    try:
        asyncio.run(main(cancel))
    except BaseExceptionGroup as group:
        while isinstance(group, BaseExceptionGroup):
            (group,) = group.exceptions
        return type(group).__name__
    return "cleanly"


without, with_one = ended(False), ended(True)
print("no call:", without)
print("a cancelled call:", with_one)
assert (without, with_one) == ("cleanly", "BrokenResourceError"), "it changed"
PY
venv/bin/python check.py
