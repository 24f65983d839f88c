#!/usr/bin/env bash
# A good guess: a connection that could not be made is no connection. Whether a server's certificate is refused straight or through a
# proxy, httpx raises ConnectError and its pool has as many places as before.
#
# What happens: straight, it has. Through a proxy (`CONNECT`) each refused certificate keeps a place in httpcore's pool for ever: after as
# many as `max_connections` the proxy is asked nothing more, and every request, to whichever host, waits for a place and ends with
# PoolTimeout, also once the certificate is trusted. Nothing idles out, since what failed counts as in use.
#
# Seen with httpx 0.28.1, httpcore 1.0.9, trustme 1.2.1 on Python 3.11.7, on 2026-11-28.
#
# Why it matters here: in companies a proxy shows a certificate of its own, and a server that runs for days tries again until somebody
# mends the trust. With 24 places it would have said "could not be reached" for ever after the 24th try. So each connection is a
# transport of its own here, and one that failed is closed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q "httpx==0.28.1" "httpcore==1.0.9" "trustme==1.2.1" 2>/dev/null
cat >tries.py <<'PY'
import asyncio
import contextlib
import ssl

import httpcore
import httpx
import trustme

PLACES = 2
asked = 0


async def answer(reader, writer):
    """Serve over TLS, with a certificate that nobody knows."""
    with contextlib.suppress(Exception):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        await writer.drain()
    writer.close()


async def main():
    authority = trustme.CA()
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(tls)
    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]

    async def copy(source, target):
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                target.write(data)
                await target.drain()
        target.close()

    async def lead(reader, writer):
        global asked
        asked += 1
        await reader.readuntil(b"\r\n\r\n")
        there, back = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.gather(copy(reader, back), copy(there, writer))

    proxy = await asyncio.start_server(lead, "127.0.0.1", 0)
    way = f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}"
    limits = httpx.Limits(max_connections=PLACES)
    timeout = httpx.Timeout(5, pool=0.5)
    said = {}
    for name, by in (("straight", None), ("by a proxy", way)):
        context = ssl.create_default_context()
        client = httpx.AsyncClient(
            verify=context, proxy=by, trust_env=False, limits=limits, timeout=timeout
        )
        outcomes = []
        for number in range(PLACES + 2):
            if number == PLACES + 1:  # somebody mends it
                authority.configure_trust(context)
            try:
                outcomes.append((await client.get(f"https://localhost:{port}/")).status_code)
            except httpx.HTTPError as error:
                outcomes.append(type(error).__name__)
        said[name] = outcomes
        print(f"{name}: {', '.join(map(str, outcomes))}", flush=True)
    print(f"httpx {httpx.__version__}, httpcore {httpcore.__version__}; the proxy was asked {asked} times")
    refused = ["ConnectError"] * PLACES
    expected = {
        "straight": [*refused, "ConnectError", 200],
        "by a proxy": [*refused, "PoolTimeout", "PoolTimeout"],
    }
    if (said, asked) != (expected, PLACES):
        raise SystemExit("it changed")


asyncio.run(main())
PY
venv/bin/python -W ignore tries.py 2>errors || { cat errors; exit 1; }
