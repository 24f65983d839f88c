"""Strangers, in a process of their own: `python silence.py PORT COUNT` opens connections and waits.

None of them ever says anything. Whichever is closed is opened again a second later, for ever.
"""

import contextlib
import heapq
import selectors
import socket
import sys
import time

AGAIN_AFTER = 1.0


def stay(port: int, count: int) -> None:
    """Hold so many connections to a port of this computer."""
    waiting = [(time.monotonic(), number) for number in range(count)]
    with selectors.DefaultSelector() as selector:
        while True:
            now = time.monotonic()
            while waiting and waiting[0][0] <= now:
                _, number = heapq.heappop(waiting)
                stranger = socket.socket()
                stranger.setblocking(False)
                stranger.connect_ex(("127.0.0.1", port))
                selector.register(stranger, selectors.EVENT_READ, number)
            soon = waiting[0][0] - now if waiting else None
            for key, _ in selector.select(soon):
                stranger = key.fileobj  # type: ignore[assignment]  # only sockets are registered
                with contextlib.suppress(OSError):
                    if stranger.recv(1000):
                        continue
                selector.unregister(stranger)
                stranger.close()
                heapq.heappush(waiting, (time.monotonic() + AGAIN_AFTER, key.data))


if __name__ == "__main__":
    from meigen_mcp.system import allow_descriptors

    allow_descriptors(int(sys.argv[2]) + 64)
    stay(int(sys.argv[1]), int(sys.argv[2]))
