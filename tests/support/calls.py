"""Calls and records for tests of the ledger."""

import time
from dataclasses import replace
from decimal import Decimal
from typing import Any
from uuid import uuid4

from support.records import EMPTY

from meigen_mcp.catalogue.pricing import Quote
from meigen_mcp.generation import Generation
from meigen_mcp.ledger.calls import Terms
from meigen_mcp.ledger.ledger import Ledger

NOW = float(round(time.time()))


def intent(prompt: str = "a red cube", **fields: Any) -> Generation:
    """Return what a call would write down, under an id of its own."""
    call = replace(
        EMPTY,
        request_id=str(uuid4()),
        model_id="nanobanana-2",
        prompt=prompt,
        arguments={"prompt": prompt},
        quote=Quote(Decimal(5), "exact", "5 per image"),
        reserved=Decimal(5),
        created_at=NOW,
        next_look=NOW,
    )
    return replace(call, **fields)


async def added(ledger: Ledger, job: Generation | None = None, **terms: Any) -> Generation:
    """Write an intent down."""
    result = await ledger.calls.add(job or intent(), Terms(**terms))
    assert isinstance(result, Generation)
    return result


async def changed(ledger: Ledger, job: Generation, **fields: Any) -> Generation:
    """Give some fields of a record other values."""
    return await ledger.records.change(job, lambda fresh: replace(fresh, **fields))
