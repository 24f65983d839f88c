"""What clients say to a chat model and are told by it, in the APIs of four makers."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

TOOLS = ("generate_image", "generate_video", "check_status", "list_models")


@dataclass
class Talk:
    """What a request says.

    Attributes:
        script: what the person asks for; empty: nothing of ours.
        tools: the parameters of each tool, by the name that the client gave it.
        results: of the tools that are ours, what each call since then was answered with.
        spaces: the namespace that a tool is in, for clients that have such.
        called: every tool that has answered.
        since: what was said to the model since, by the person (`SAY words`) or their client.
    """

    script: str = ""
    tools: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    results: list[tuple[str, str]] = field(default_factory=list)
    spaces: dict[str, str] = field(default_factory=dict)
    called: set[str] = field(default_factory=set)
    since: list[str] = field(default_factory=list)

    def said(self, text: str) -> None:
        """Take a message of the person."""
        if found := re.findall(r"SCRIPT (\w+)", text):
            self.script, self.results, self.since = found[-1], [], []
        else:
            self.since.append(text)

    def answered(self, name: str, result: Any) -> None:
        """Take what a call was answered with."""
        self.called.add(name)
        if ours := next((tool for tool in TOOLS if tool in name), None):
            text = result if isinstance(result, str) else json.dumps(result)
            self.results.append((ours, text))

    def offer(self, tool: Mapping[str, Any], space: str = "") -> None:
        """Take a tool that the model may call."""
        told = tool.get("function") or tool
        name = told.get("name", "")
        keys = ("parameters", "input_schema", "parametersJsonSchema")
        self.tools[name] = next((told[key] for key in keys if told.get(key)), {})
        self.spaces[name] = space


class Call(NamedTuple):
    """A call of a tool, by the name and in the namespace that the client gave it."""

    name: str
    arguments: Mapping[str, Any]
    space: str = ""


Move = Call | str
"""What the model does: a call, or words."""


def read_chat(body: Mapping[str, Any]) -> Talk:
    """Read a request of OpenAI's Chat Completions."""
    talk, names = Talk(), dict[str, str]()
    for message in body["messages"]:
        for call in message.get("tool_calls") or ():
            names[call["id"]] = call["function"]["name"]
        text = _words(message.get("content"))
        if called := re.search(r"^Calling tools:.*'name': '(\w+)'", text, re.DOTALL):
            names[""] = called[1]  # smolagents tells of calls in words
        elif message["role"] == "user" and text.startswith(("Observation", "Error")):
            talk.answered(names[""], text)
        elif message["role"] == "user":
            talk.said(text)
        elif message["role"] == "tool":
            talk.answered(names.get(message["tool_call_id"], ""), message["content"])
    for tool in body.get("tools") or ():
        talk.offer(tool)
    return talk


def read_responses(body: Mapping[str, Any]) -> Talk:
    """Read a request of OpenAI's Responses."""
    talk, names = Talk(), dict[str, str]()
    items = body["input"]
    for item in [{"role": "user", "content": items}] if isinstance(items, str) else items:
        if item.get("type") == "function_call":
            names[item["call_id"]] = item["name"]
        elif item.get("type") == "function_call_output":
            talk.answered(names.get(item["call_id"], ""), item["output"])
        elif item.get("role") == "user":
            talk.said(_words(item.get("content")))
    for tool in body.get("tools") or ():
        for inner in tool.get("tools") or (tool,):
            talk.offer(inner, tool["name"] if "tools" in tool else "")
    return talk


def read_anthropic(body: Mapping[str, Any]) -> Talk:
    """Read a request of Anthropic's Messages."""
    talk, names = Talk(), dict[str, str]()
    for message in body["messages"]:
        blocks = message["content"]
        for block in [{"type": "text", "text": blocks}] if isinstance(blocks, str) else blocks:
            if block["type"] == "tool_use":
                names[block["id"]] = block["name"]
            elif block["type"] == "tool_result":
                talk.answered(names.get(block["tool_use_id"], ""), block.get("content"))
            elif message["role"] == "user":
                talk.said(block.get("text", ""))
    for tool in body.get("tools") or ():
        talk.offer(tool)
    return talk


def read_gemini(body: Mapping[str, Any]) -> Talk:
    """Read a request of Google's generateContent."""
    talk = Talk()
    for content in body["contents"]:
        for part in content.get("parts") or ():
            if "functionResponse" in part:
                more = [p for p in content["parts"] if "inlineData" in p]
                answer = part["functionResponse"]
                talk.answered(answer["name"], [answer["response"], *more])
            elif content.get("role") == "user":
                talk.said(part.get("text", ""))
    for tool in body.get("tools") or ():
        for told in tool.get("functionDeclarations") or ():
            talk.offer(told)
    return talk


def _words(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(part.get("text", "") for part in content or ())


Events = Sequence[Mapping[str, Any]]


def say_chat(move: Move, turn: int) -> tuple[Mapping[str, Any], Events]:
    """Return an answer of Chat Completions, whole and as events."""
    message: dict[str, Any] = {"role": "assistant", "content": None}
    if isinstance(move, str):
        message["content"] = move
    else:
        call = {"name": move.name, "arguments": json.dumps(move.arguments)}
        made = {"index": 0, "id": f"call_{turn}", "type": "function", "function": call}
        message["tool_calls"] = [made]
    why = "stop" if isinstance(move, str) else "tool_calls"
    base = {"id": f"c{turn}", "created": 1, "model": "scripted"}
    used = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    choice = {"index": 0, "finish_reason": why}
    whole = {"object": "chat.completion", "choices": [{**choice, "message": message}]}
    piece = {**base, "object": "chat.completion.chunk"}
    return {**base, **whole, "usage": used}, [
        {**piece, "choices": [{"index": 0, "delta": message, "finish_reason": None}]},
        {**piece, "choices": [{**choice, "delta": {}}], "usage": used},
    ]


def say_responses(move: Move, turn: int) -> tuple[Mapping[str, Any], Events]:
    """Return an answer of Responses, whole and as events."""
    item: dict[str, Any]
    if isinstance(move, str):
        part = {"type": "output_text", "text": move, "annotations": []}
        item = {"type": "message", "id": f"m{turn}", "role": "assistant", "content": [part]}
    else:
        item = {"type": "function_call", "id": f"f{turn}", "call_id": f"call_{turn}"}
        item |= {"name": move.name, "arguments": json.dumps(move.arguments)}
        item |= {"namespace": move.space} if move.space else {}
    item["status"] = "completed"
    details: dict[str, Any] = {"input_tokens_details": {"cached_tokens": 0}}
    details |= {"output_tokens_details": {"reasoning_tokens": 0}}
    whole: dict[str, Any] = {"id": f"r{turn}", "object": "response", "created_at": 1}
    whole |= {"model": "scripted", "status": "completed", "output": [item], "error": None}
    whole |= {"tools": [], "tool_choice": "auto", "parallel_tool_calls": False}
    whole |= {"usage": {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2, **details}}
    begun = {**whole, "status": "in_progress", "output": [], "usage": None}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": begun},
        {"type": "response.output_item.added", "output_index": 0, "item": item},
    ]
    where = {"item_id": item["id"], "output_index": 0}
    if isinstance(move, str):
        text = {**where, "content_index": 0}
        empty = {"type": "output_text", "text": "", "annotations": []}
        events[1]["item"] = {**item, "content": [], "status": "in_progress"}
        events += [
            {"type": "response.content_part.added", **text, "part": empty},
            {"type": "response.output_text.delta", **text, "delta": move, "logprobs": []},
            {"type": "response.output_text.done", **text, "text": move, "logprobs": []},
            {"type": "response.content_part.done", **text, "part": item["content"][0]},
        ]
    else:
        said = item["arguments"]
        events[1]["item"] = {**item, "arguments": "", "status": "in_progress"}
        events += [
            {"type": "response.function_call_arguments.delta", **where, "delta": said},
            {"type": "response.function_call_arguments.done", **where, "arguments": said},
        ]
    events += [
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": whole},
    ]
    return whole, [{**event, "sequence_number": n} for n, event in enumerate(events)]


def say_anthropic(move: Move, turn: int) -> tuple[Mapping[str, Any], Events]:
    """Return an answer of Messages, whole and as events."""
    block: dict[str, Any]
    if isinstance(move, str):
        block, why = {"type": "text", "text": move}, "end_turn"
        empty: dict[str, Any] = {"type": "text", "text": ""}
        delta = {"type": "text_delta", "text": move}
    else:
        block = {
            "type": "tool_use",
            "id": f"toolu_{turn}",
            "name": move.name,
            "input": move.arguments,
        }
        why, empty = "tool_use", {**block, "input": {}}
        delta = {"type": "input_json_delta", "partial_json": json.dumps(move.arguments)}
    message: dict[str, Any] = {"id": f"m{turn}", "type": "message", "role": "assistant"}
    used = {"input_tokens": 1, "output_tokens": 1}
    message |= {"model": "scripted", "stop_sequence": None, "usage": used}
    begun = {**message, "content": [], "stop_reason": None}
    return {**message, "content": [block], "stop_reason": why}, [
        {"type": "message_start", "message": begun},
        {"type": "content_block_start", "index": 0, "content_block": empty},
        {"type": "content_block_delta", "index": 0, "delta": delta},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": why}, "usage": {"output_tokens": 1}},
        {"type": "message_stop"},
    ]


def say_gemini(move: Move, turn: int) -> tuple[Mapping[str, Any], Events]:
    """Return an answer of generateContent, whole and as events."""
    part: dict[str, Any] = {"text": move} if isinstance(move, str) else {}
    if not isinstance(move, str):
        part = {"functionCall": {"id": f"f{turn}", "name": move.name, "args": move.arguments}}
    candidate = {"content": {"role": "model", "parts": [part]}, "finishReason": "STOP", "index": 0}
    used = {"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2}
    whole = {"candidates": [candidate], "usageMetadata": used, "modelVersion": "scripted"}
    return whole, [whole]


APIS = (
    (r"chat/completions$", read_chat, say_chat),
    (r"responses$", read_responses, say_responses),
    (r"messages$", read_anthropic, say_anthropic),
    (r"enerateContent", read_gemini, say_gemini),
)
"""By what its path ends in: how a request is read, and an answer said."""
