#!/usr/bin/env bash
# A good guess: an argument of an MCP tool that its schema does not list under `required` may be left out in smolagents.
#
# What happens: it may not. `required` of the tool's schema is never looked at; smolagents asks its model for every
# argument, and refuses a call that leaves one out before the server sees it ("Argument times is required"). Null does not
# stand for it either ("has type 'null'"). Only the keyword `nullable`, which is OpenAPI's and not JSON Schema's, makes an
# argument one that may be left out, and hardly any server writes it.
#
# Seen with smolagents 1.26.0, mcpadapt as it comes with it, and mcp 1.30.0 on 2026-11-27.
#
# Why it matters here: what must be left out with some models (the length of a reference clip, a draft) comes as 0 or false
# from there; unless these count as left out, every such call is refused. Texts, lists and objects come empty.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q 'smolagents[mcp]==1.26.0' 'mcp==1.30.0'
cat >server.py <<'PY'
from mcp.server.fastmcp import FastMCP

server = FastMCP("greeter")


@server.tool()
def greet(name: str, times: int = 1) -> str:
    """Greet somebody."""
    return " ".join([f"hello {name}"] * times)


server.run()
PY
cat >check.py <<'PY'
import sys

from mcp import StdioServerParameters
from smolagents import MCPClient
from smolagents.models import get_tool_json_schema
from smolagents.tools import validate_tool_arguments

with MCPClient(StdioServerParameters(command=sys.executable, args=["server.py"])) as (tool,):
    asked = get_tool_json_schema(tool)["function"]["parameters"]["required"]
    said = []
    for given in ({"name": "a"}, {"name": "a", "times": None}):
        try:
            validate_tool_arguments(tool, given)
            said.append("taken")
        except (TypeError, ValueError) as problem:
            said.append(str(problem))
print("the model is asked for:", asked)
print("left out:", said[0])
print("null:", said[1])
assert asked == ["name", "times"], "it changed"
assert said[0] == "Argument times is required", "it changed"
assert "'null'" in said[1], "it changed"
PY
venv/bin/python check.py
