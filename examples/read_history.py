"""Read the whole history as CSV: `python examples/read_history.py > history.csv`.

It needs the settings that your chat client gives its server: the token, and MEIGEN_DATA_DIR if you
set it. The records are resources of the server, newest first; the file behind them is its own.
"""

import csv
import json
import os
import sys
from collections.abc import AsyncIterator
from typing import Any

import anyio
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp_types import TextResourceContents

SERVER = StdioServerParameters(
    command=sys.executable, args=["-m", "meigen_mcp", "serve"], env=dict(os.environ)
)
COLUMNS = ("createdAt", "status", "modelId", "creditsUsed", "prompt", "mediaUrls")


async def records(client: Client) -> AsyncIterator[dict[str, Any]]:
    """Yield every record of the account, page by page."""
    cursor = None
    while True:
        page = await client.list_resources(cursor=cursor)
        uris = [str(resource.uri) for resource in page.resources]
        for uri in uris:
            kind, *rest = uri.removeprefix("meigen://").split("/")
            if kind != "generations" or len(rest) != 1:  # the list itself, a medium, the models
                continue
            for content in (await client.read_resource(uri)).contents:
                if isinstance(content, TextResourceContents):
                    yield json.loads(content.text)
        if (cursor := page.next_cursor) is None:
            return


async def main() -> None:
    """Write a row for each record."""
    rows = csv.DictWriter(sys.stdout, COLUMNS, extrasaction="ignore", lineterminator="\n")
    rows.writeheader()
    async with Client(stdio_client(SERVER)) as client:
        async for record in records(client):
            rows.writerow({**record, "mediaUrls": " ".join(record.get("mediaUrls", ()))})


if __name__ == "__main__":
    anyio.run(main)
