"""Calls that wait for the person's yes, by the request id that their repetition names."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, Self

from meigen_mcp.catalogue.pricing import Quote
from meigen_mcp.errors import ApprovalEnded
from meigen_mcp.generation import Generation

_canonical = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode
OFFERED_FOR = 3600.0
"""Seconds for which an offer stands, and with it every yes to it."""
MOST_OFFERS = 100
"""Of all accounts. Each holds a whole prompt; the oldest without a yes gives way."""

Event = Literal["offered", "asked", "automatic", "not askable", "declined"]


def fingerprint(tool: str, arguments: Mapping[str, Any]) -> str:
    """Return the text by which two calls are identical: the tool and its generation arguments."""
    return _canonical([tool, arguments])


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A call at a price that the person has to agree to.

    Attributes:
        fingerprint: the tool and its generation arguments; the offer is for no other call.
        model_id: the model that the quote is for.
        made_at: seconds since the epoch.
        asked: questions that a person may have seen, answered or not.
        automatic: questions that were answered faster than anybody reads.
        declined: the person said no.
        approved_at: when the person said yes in a terminal.
    """

    request_id: str
    account: str
    fingerprint: str
    model_id: str
    quote: Quote
    made_at: float
    asked: int = 0
    automatic: int = 0
    declined: bool = False
    approved_at: float | None = None

    @classmethod
    def of(cls, job: Generation) -> Self:
        """Return the new offer of a draft."""
        return cls(
            request_id=job.request_id,
            account=job.account,
            fingerprint=fingerprint(job.tool, job.arguments),
            model_id=job.model_id,
            quote=job.quote,
            made_at=job.created_at,
        )

    def covers(self, quote: Quote) -> bool:
        """Say whether a yes to this offer is one to a price as well."""
        if self.quote.credits is None:
            return True
        dearer = quote.credits is None or quote.credits > self.quote.credits
        return not dearer and (quote.bounded or not self.quote.bounded)

    @property
    def unseen(self) -> bool:
        """Whether no person can have seen it: only then may the model pass their yes on."""
        return not (self.asked or self.declined)

    def after(self, event: Event) -> Self:
        """Return the offer after something happened to it."""
        match event:
            case "asked":
                return replace(self, asked=self.asked + 1)
            case "automatic":  # so nobody saw that question
                return replace(self, asked=max(0, self.asked - 1), automatic=self.automatic + 1)
            case "not askable":
                return replace(self, asked=max(0, self.asked - 1))
            case "declined":
                return replace(self, declined=True, approved_at=None)
            case "offered":
                return self


class Offers(Protocol):
    """The offers of an account; every method may raise `LedgerUnavailable`."""

    async def note(self, offer: Offer, event: Event) -> Offer:
        """Keep what happened to an offer, or to a new one, and return it as it is then.

        Args:
            offer: as it was read; what happened to it meanwhile counts as well.
            event: what happened.
        """
        ...

    async def standing(self, request_id: str, now: float) -> list[Offer]:
        """Return all that stand under an id, the newest first."""
        ...

    async def approve(self, request_id: str, now: float, person: str | None = None) -> Offer | None:
        """Note the yes to the newest standing offer with an id.

        Args:
            request_id: its id, which two people may both have chosen.
            now: the time.
            person: whose it is; None: whoever's, if it is one person's.

        Raises:
            SeveralPeople: it is not.
        """
        ...

    async def forget(self, made_before: float) -> None:
        """Take out what was offered before a time: it holds what was asked for.

        That is of all accounts, or the person's.
        """
        ...


def ended(request_id: str) -> ApprovalEnded:
    """Return the error of an offer that is needed, and has ended or was used."""
    return ApprovalEnded(
        f"The person's yes to requestId {request_id} has ended or was used. Nothing was sent or"
        " charged."
    )
