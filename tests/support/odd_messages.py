"""JSON-RPC that no proper client sends: whole messages with one or two places spoilt, and noise."""

import json
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st
from support.in_memory import Mode
from support.over_http import ENVELOPE, HELLO

_IMAGE = {"prompt": "a cat", "modelId": "z-image-turbo", "wait": 0}
_VIDEO = {"prompt": "waves", "modelId": "seedance-2-0", "duration": 5, "wait": 0}
REQUESTS: list[tuple[str, dict[str, Any]]] = [
    ("tools/list", {}),
    ("tools/call", {"name": "generate_image", "arguments": _IMAGE}),
    ("tools/call", {"name": "generate_video", "arguments": _VIDEO}),
    ("tools/call", {"name": "check_status", "arguments": {"limit": 1}}),
    ("tools/call", {"name": "list_models", "arguments": {"mediaType": "image"}}),
    ("resources/list", {}),
    ("resources/templates/list", {}),
    ("resources/read", {"uri": "meigen://models"}),
    ("resources/subscribe", {"uri": "meigen://generations"}),
    ("prompts/list", {}),
    ("prompts/get", {"name": "storyboard", "arguments": {"story": "a cat", "scenes": "3"}}),
    (
        "completion/complete",
        {
            "ref": {"type": "ref/prompt", "name": "storyboard"},
            "argument": {"name": "scenes", "value": ""},
        },
    ),
    ("logging/setLevel", {"level": "info"}),
    ("ping", {}),
    ("initialize", HELLO),
]
# What JSON allows and Python's writer does not: it is put in where its name stands as a text.
_RAW = {
    "<deep>": "[" * 700 + "]" * 700,
    "<deeper>": "[" * 30_000 + "]" * 30_000,
    "<deep object>": '{"a":' * 700 + "1" + "}" * 700,
    "<infinite>": "1e999",
    "<long number>": "9" * 5000,
}
_TEXT = st.text(st.characters(), max_size=12) | st.sampled_from(
    ["", "\x00", "\ud83d", "../../etc/passwd", "file:///etc/passwd", "x" * 5000]
)
_NUMBER = st.integers() | st.floats() | st.sampled_from([2**63, 10**400, -(10**400)])
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | _NUMBER | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=5,
)


_ANYTHING = st.one_of(JSON, JSON, JSON, st.sampled_from([*_RAW]))


ODD_LINES = [
    b"",
    b"null",
    b"[]",
    b"{}",
    b"nonsense",
    b'"text"',
    b"\xff\xfe\x00",
    b"[" * 5000,
    b'{"jsonrpc":"2.0"}',
    b'{"jsonrpc":"1.0","id":1,"method":"tools/list"}',
    b'{"jsonrpc":"2.0","id":null,"method":"tools/list"}',
    b'{"jsonrpc":"2.0","id":{"a":1},"method":"tools/list"}',
    b'{"jsonrpc":"2.0","id":2,"method":"no/such"}',
    b'{"jsonrpc":"2.0","id":3,"method":"tools/call"}',
    b'{"jsonrpc":"2.0","id":4,"method":"tools/call","params":[]}',
    b'{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":7}}',
    b'{"jsonrpc":"2.0","id":6,"method":"tools/call","params":{"name":"generate_image","arguments":[]}}',
    b'{"jsonrpc":"2.0","id":7,"method":"resources/read","params":{"uri":"meigen://../../etc/passwd"}}',
    b'{"jsonrpc":"2.0","id":8,"method":"resources/read","params":{"uri":"file:///etc/passwd"}}',
    b'{"jsonrpc":"2.0","id":9,"method":"resources/read","params":{"uri":"meigen://generations/\\ud800"}}',
    b'{"jsonrpc":"2.0","id":10,"method":"resources/list","params":{"cursor":"\\u0000"}}',
    b'{"jsonrpc":"2.0","id":11,"method":"tools/call","params":{"name":"generate_image",'
    b'"arguments":{"prompt":"\\ud800"}}}',
    b'{"jsonrpc":"2.0","id":12,"method":"tools/call","params":{"name":"generate_image",'
    b'"arguments":{"prompt":"x","wait":1e999}}}',
    b'{"jsonrpc":"2.0","result":{},"id":99}',
    b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":77}}',
    b'{"jsonrpc":"2.0","method":"notifications/initialized"}',
    json.dumps({"jsonrpc": "2.0", "method": "initialize", "params": HELLO}).encode(),
]


def message(mode: Mode, method: str, params: dict[str, Any], number: int) -> dict[str, Any]:
    """Return a proper request of an era."""
    meta = {"_meta": ENVELOPE} if mode == "auto" else {}
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": {**params, **meta}}


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every value within a value."""
    if path:
        yield path
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _places(inner, (*path, name))


def _changed(value: Any, path: tuple[Any, ...], new: Any, *, gone: bool) -> Any:
    """Return a copy in which one place has another value or is gone."""
    name, *rest = path
    if rest:
        return {**value, name: _changed(value[name], tuple(rest), new, gone=gone)}
    others = {key: inner for key, inner in value.items() if key != name}
    return others if gone else {**others, name: new}


@st.composite
def spoilt(draw: st.DrawFn, mode: Mode, number: int = 1) -> Any:
    """A proper request in which up to two places are missing or hold any JSON."""
    method, params = draw(st.sampled_from(REQUESTS))
    made = message(mode, method, params, number)
    for _ in range(draw(st.integers(0, 2))):
        places = list(_places(made))
        inner = [path for path in places if len(path) > 1 and path[1] != "_meta"]
        path = draw(st.sampled_from(inner or places) | st.sampled_from(places))
        made = _changed(made, path, draw(_ANYTHING), gone=draw(st.integers(0, 3)) == 0)
    return made


def written(value: Any) -> bytes:
    """Return a value as JSON, with what only looks like it too."""
    text = json.dumps(value)
    for name, raw in _RAW.items():
        text = text.replace(f'"{name}"', raw)
    return text.encode()


def bodies(mode: Mode) -> st.SearchStrategy[bytes]:
    """Return what may come instead of a message: a spoilt one, a batch, any JSON, any bytes."""
    return st.one_of(
        *[spoilt(mode).map(written)] * 6,
        st.lists(spoilt(mode), max_size=3).map(written),
        _ANYTHING.map(written),
        st.binary(max_size=40),
        spoilt(mode).map(lambda value: written(value)[:-1]),
    )
