"""What `--key` names: a generation of the account, for ever."""

import hashlib
import json
from uuid import UUID, uuid5

from meigen_mcp.ledger.ledger import Ledger
from meigen_mcp.reports import EXPIRED
from meigen_mcp.service.service import Service
from meigen_mcp.settings import Settings

_KEYS = UUID("c4d0f6f2-2a4b-5a0e-9a38-5a7a1a5d1b0e")


async def request_id_of(settings: Settings, ledger: Ledger, service: Service, key: str) -> str:
    """Return the request id that a key stands for.

    It is made of the token and the key alone, so that a machine that has lost its ledger sends the
    same one, and MeiGen knows it. The ledger keeps it, since a token is renewed.

    Args:
        settings: what the environment says.
        ledger: where keys are kept.
        service: knows what became of them.
        key: any text.
    """
    token = hashlib.sha256((settings.token or "").encode()).hexdigest()
    request_id = uuid5(_KEYS, json.dumps([settings.base_url, token, key]))
    name = hashlib.sha256(json.dumps([settings.base_url, key]).encode()).hexdigest()
    kept = UUID(await ledger.calls.keep_name(name, str(request_id)))
    while (job := await service.record(str(kept))) is not None and job.error == EXPIRED:
        kept = uuid5(kept, "sent too late, and so never made")
    return str(kept)
