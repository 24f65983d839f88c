"""Whose a record is where people sign in: one account of MeiGen's is then shared by many.

The account's name in a row ends with the person, so that everything that is found by account is
found by person: records, offers, yeses, adoptions and copies of files. Without a sign-in there is
one person, without a name, and every name is as it was.
"""

import hashlib
import json
from uuid import UUID, uuid5

from meigen_mcp.generation import Generation

MARK = "#"
"""Stands before the person in an account's name; an origin and a hash have none."""
EVERYBODY = None
"""Stands for all people together: the poller's view, and that of whoever has the ledger itself."""
_KEYS = UUID("6e0d1a3c-7a55-4c7e-9d0c-8d7a1f7c2b64")


def person_id(issuer: str, subject: str) -> str:
    """Return a person's name in rows: of both together, since a subject alone may be two people."""
    return hashlib.sha256(json.dumps([issuer, subject]).encode()).hexdigest()[:32]


def named(payer: str, person: str | None) -> str:
    """Return the account of a person."""
    return f"{payer}{MARK}{person}" if person else payer


def payer_of(account: str) -> str:
    """Return whose credits they are: the account without the person."""
    return account.partition(MARK)[0]


def origin_of(account: str) -> str:
    """Return the API's origin, which stands before the space in an account's name."""
    return account.partition(" ")[0]


def person_of(account: str) -> str:
    """Return whose an account is; empty where nobody signed in."""
    return account.partition(MARK)[2]


def wire_key(person: str | None, request_id: str) -> str:
    """Return the key by which MeiGen knows a generation: another's id is not found there either."""
    return str(uuid5(_KEYS, f"{person} {request_id}")) if person else request_id


def key_in(account: str, request_id: str) -> str:
    """Return the same by the account of a row, which ends with the person."""
    return wire_key(person_of(account), request_id) if MARK in account else request_id


def key_of(job: Generation) -> str:
    """Return the same of a record."""
    return key_in(job.account, job.request_id)
