"""Writes the intent of a call down, after which money may move."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import anyio

from meigen_mcp import errors
from meigen_mcp.errors import LedgerUnavailable, Refusal
from meigen_mcp.generation import Generation
from meigen_mcp.ledger.asking import acting
from meigen_mcp.ledger.calls import AskFirst, Terms
from meigen_mcp.ledger.ledger import Ledger
from meigen_mcp.people import wire_key
from meigen_mcp.service.aftermath import as_far_as_known
from meigen_mcp.service.delivery import Marks, under_way
from meigen_mcp.service.repeats import must_agree
from meigen_mcp.service.results import Outcome
from meigen_mcp.service.unforeseen import unforeseen


async def write_intent(
    ledger: Ledger, draft: Generation, terms: Terms, sent: Mapping[str, Any], marks: Marks
) -> Generation | AskFirst | Outcome:
    """Write an intent down; a call that is cancelled meanwhile still knows of it.

    Args:
        ledger: of whoever asks.
        draft: what is to be made.
        terms: what it may cost, and who may adopt it.
        sent: what MeiGen is sent, but for the key.
        marks: where it is noted that the call had no answer.

    Returns:
        What the ledger says; or what is told where it cannot say whether it was written.

    Raises:
        Refusal: the client has gone; its repetition is another call.
        MeigenError: nothing was written, and why.
    """
    delivery = under_way.get()
    if delivery is not None and delivery.left is False:
        raise Refusal("The client of this call has gone. Nothing was sent or charged.")
    key = {"idempotencyKey": wire_key(acting.get(), draft.request_id)}
    job = replace(draft, body=json.dumps({**sent, **key}, ensure_ascii=False))
    broken: errors.MeigenError
    try:
        with anyio.CancelScope(shield=True):
            added = await ledger.calls.add(job, terms)
    except LedgerUnavailable as error:
        if not error.unsure:
            raise
        broken = error
    except errors.MeigenError:
        raise
    except Exception as error:  # noqa: BLE001  # it may be written: the call is told its id
        broken = unforeseen("writing an intent", error)
    else:
        if isinstance(added, Generation):
            must_agree(job, added)
        return added
    if terms.adoptable:
        await marks.note(job, answered=False)
    return as_far_as_known(job, broken)
