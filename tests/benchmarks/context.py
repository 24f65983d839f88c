"""What a conversation carries: the list of tools, and a result."""

import json

from .processes import MODEL, OURS, connected, environment, instant, temporary
from .report import Part, Row
from .size import Size

MOST_TOOLS = 8000
MOST_RESULT = 1200
PEER = 9603
"""Bytes of a peer's seven tools without output schemas, as measured elsewhere."""
PROMPT = (
    "A lighthouse on a cliff at dusk, waves breaking below, warm light in the windows, painted in"
    " thick oil with visible brush strokes, wide shot"
)


async def run(size: Size) -> Part:
    """Ask for both over the wire. No time is involved, so a short run judges them too."""
    del size
    with temporary() as folder:
        async with (
            instant() as origin,
            connected(
                OURS,
                environment(
                    folder,
                    origin,
                    MEIGEN_OUTPUT_DIR=str(folder / "Pictures" / "MeiGen"),
                    MEIGEN_POLL_INTERVAL="0.1",
                ),
            ) as server,
        ):
            listed = await server.request("tools/list")
            made = await server.request(
                "tools/call",
                name="generate_image",
                arguments={"prompt": f"{PROMPT}, 0.1 s", "modelId": MODEL, "aspectRatio": "16:9"},
            )
    assert made["structuredContent"]["status"] == "completed", made
    tools = len(_json(listed))
    text = len("".join(part.get("text", "") for part in made["content"]).encode())
    return Part(
        [
            Row(
                "context: four tools as JSON, output schemas included",
                f"{MOST_TOOLS:,} bytes",
                f"{tools:,} bytes",
                f"{tools / PEER:.2f} x a peer's 7 without",
                tools <= MOST_TOOLS,
            ),
            Row(
                "context: text of a completed image",
                f"{MOST_RESULT:,} bytes",
                f"{text:,} bytes",
                f"{text / MOST_RESULT:.2f} x",
                text <= MOST_RESULT,
            ),
        ]
    )


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
