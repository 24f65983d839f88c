"""A scripted chat model on loopback.

It reads which script is meant from the last message of the person (`SCRIPT name`), counts what its
calls were answered with since, and makes the next call of the script; after the last it says which
URLs it saw. It keeps nothing but what it was sent: a conversation is in each request.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from .apis import APIS, TOOLS, Call, Events, Move, Talk, say_chat

VIDEO = {"prompt": "a red fox runs", "modelId": "seedance-2-0"}
SCRIPTS: Mapping[str, Sequence[tuple[str, Mapping[str, Any]]]] = {
    "all": (
        ("list_models", {}),
        ("generate_image", {"prompt": "a red fox"}),
        ("generate_image", {"prompt": "a red fox", "aspectRatio": "wide"}),
        ("generate_video", VIDEO),
        *(("check_status", {"requestId": "$ID", "wait": 60}),) * 4,
    ),
    "image": (("generate_image", {"prompt": "a red fox"}),),
    "video": (("generate_video", {**VIDEO, "modelId": "happyhorse-1.0"}),),
    "wait": (("generate_video", {**VIDEO, "prompt": "a slow fox, sandbox:stall", "wait": 12}),),
    "list": (("check_status", {}),),
}
"""What is called, one after another; `$ID` is the request that was named last. `check_status` is
called again while something is not done."""
FILLED: Mapping[str, Any] = {"maxCredits": 500, "duration": 5, "limit": 10, "wait": 25}
"""What a sensible model says where its client makes it fill in an argument that may be left out;
for all others it says 0, "", [] or {}."""
_EMPTY = {"string": "", "number": 0, "integer": 0, "boolean": False, "array": [], "object": {}}
_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_URL = re.compile(r"https?://[\w.:]+/media/[\w.-]+\w")


def next_move(talk: Talk) -> Move:
    """Return the next call, by the client's name of its tool, or what is said at the end."""
    if not talk.script:
        return "ok"
    if talk.since and (asked := re.findall(r"SAY (\w+)", talk.since[-1])):
        return f"ANSWERED {asked[-1]}"
    done = len(talk.results)
    steps = SCRIPTS.get(talk.script, ())
    last = talk.results[-1][1] if talk.results else ""
    waits = done > 0 and talk.results[-1][0] == "check_status"
    if done >= len(steps) or (waits and talk.script == "all" and not _unfinished(last)):
        seen = dict.fromkeys(
            _URL.findall(" ".join([*(text for _, text in talk.results), *talk.since]))
        )
        return f"DONE {talk.script} {' '.join(seen)}"
    tool, given = steps[done]
    name = next((name for name in talk.tools if tool in name), "")
    if not name and "ToolSearch" in talk.tools:  # Claude Code has it find the tools first
        name = f"mcp__meigen__{tool}"
        if "ToolSearch" not in talk.called:
            query = f"select:{','.join(_deferred())}"
            return Call("ToolSearch", {"query": query, "max_results": 9})
    if not name:
        return f"MISSING {tool} in {list(talk.tools)}"
    ids = [found for _, text in talk.results for found in _ID.findall(text.partition("media/")[0])]
    arguments = {n: ids[-1] if v == "$ID" and ids else v for n, v in given.items()}
    schema = talk.tools.get(name, {})
    for needed in schema.get("required", ()):
        if needed not in arguments:
            arguments[needed] = _filler(needed, schema["properties"][needed])
    return Call(name, arguments, talk.spaces.get(name, ""))


def _deferred() -> Iterator[str]:
    return (f"mcp__meigen__{tool}" for tool in TOOLS)


def _unfinished(text: str) -> bool:
    return "media/" not in text and ("processing" in text or "queued" in text)


def _filler(name: str, schema: Mapping[str, Any]) -> Any:
    if name in FILLED:
        return FILLED[name]
    kind = schema.get("type", "string")
    return None if isinstance(kind, list) and "null" in kind else _EMPTY[str(kind).lower()]


# --- the server ---------------------------------------------------------------------------------


class Model:
    """The model as a server.

    Attributes:
        talks: what each request that had a script said, oldest first.
        said: what it said last of all to each of them.
        bodies: the requests themselves.
    """

    def __init__(self) -> None:
        self.talks: list[Talk] = []
        self.said: list[Move] = []
        self.bodies: list[Any] = []
        self.app = Starlette(
            routes=[Route("/{path:path}", self._serve, methods=["GET", "POST", "HEAD"])]
        )

    async def _serve(self, request: Request) -> Response:
        path = request.path_params["path"]
        if request.method != "POST":
            row = {"id": "scripted", "object": "model", "type": "model", "display_name": "Scripted"}
            return JSONResponse({"object": "list", "data": [row], "models": [], "has_more": False})
        body = json.loads(await request.body() or b"{}")
        if path.endswith("count_tokens") or "countTokens" in path:
            return JSONResponse({"input_tokens": 1, "totalTokens": 1})
        found = [(read, say) for ending, read, say in APIS if re.search(ending, path)]
        if not found:
            return JSONResponse({"error": {"message": f"no {path}"}}, 404)
        read, say = found[0]
        talk = read(body)
        move = next_move(talk)
        if isinstance(move, str) and "final_answer" in talk.tools:  # as smolagents wants it
            move = Call("final_answer", {"answer": move})
        self.bodies.append(body)
        if talk.script:
            self.talks.append(talk)
            self.said.append(move)
        whole, events = say(move, len(self.bodies))
        if body.get("stream") or "streamGenerate" in path:
            return Response("".join(_sse(events, say is say_chat)), media_type="text/event-stream")
        return JSONResponse(whole)


def _sse(events: Events, ends: bool) -> Iterator[str]:
    for event in events:
        if "type" in event:
            yield f"event: {event['type']}\n"
        yield f"data: {json.dumps(event)}\n\n"
    if ends:
        yield "data: [DONE]\n\n"
