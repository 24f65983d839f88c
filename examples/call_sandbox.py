"""Call MeiGen's API over plain HTTP, as any client of it does, without risk: on the sandbox.

    meigen-mcp sandbox                                        # in one terminal
    python examples/call_sandbox.py http://127.0.0.1:8787     # in another

The reply to the submission gets lost on purpose. The same request with the same idempotency key
finds the job that was accepted all the same: what was paid for is neither lost nor paid twice.
"""

import sys
import time
from uuid import uuid4

import httpx

TOKEN = "meigen_sk_" + "example0" * 4  # any of this shape: each has a sandbox account of its own
SUBMISSION = {
    "prompt": "sandbox:lose-reply A lighthouse at dusk",
    "modelId": "nanobanana-2",
    "aspectRatio": "3:2",
    "idempotencyKey": str(uuid4()),
}


def main(origin: str) -> None:
    """Submit one image, twice as it must be, and wait for it."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with httpx.Client(base_url=f"{origin}/api", headers=headers) as api:
        try:
            job = api.post("/generate/v2", json=SUBMISSION).raise_for_status().json()
        except httpx.TransportError:
            print("the reply was lost")
            job = api.post("/generate/v2", json=SUBMISSION).raise_for_status().json()
        print(f"accepted {'before' if job['deduped'] else 'now'}: {job['creditsUsed']} credits")

        while job["status"] == "processing":
            time.sleep(0.2)
            found = api.get(f"/generate/v2/status/{job['generationId']}")
            job = found.raise_for_status().json()
        print(f"{job['status']}: {job['imageUrl']}")


if __name__ == "__main__":
    main(*sys.argv[1:])
