"""The tree of errors: what is drawn is what there is, and each of them says what to do next."""

import re
from collections.abc import Iterator
from typing import get_args

import pytest

from meigen_mcp import errors
from meigen_mcp.errors import (
    ApiError,
    Charged,
    InvalidArguments,
    LedgerUnavailable,
    MeigenError,
    NotFound,
    Problem,
    Refusal,
    Unforeseen,
)


def _drawn() -> Iterator[tuple[str, str | None]]:
    """Yield the names in the docstring's drawing, each with the one above it."""
    above: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"    ((?:[│ ]   )*(?:[├└]── )?)([A-Z]\w+) {2,}\S", line)
        if found:
            depth = len(found[1]) // 4
            above[depth:] = [found[2]]
            yield found[2], above[depth - 1] if depth else None


def _kinds(kind: type[MeigenError]) -> Iterator[type[MeigenError]]:
    yield kind
    for below in kind.__subclasses__():
        if below.__module__ == errors.__name__:
            yield from _kinds(below)


KINDS = list(_kinds(MeigenError))
ENDS = [kind for kind in KINDS if kind not in (MeigenError, Refusal, ApiError)]


def test_the_drawing_is_the_tree() -> None:
    """Every class in its place and no other, in the order in which they are written."""
    bases = {kind.__name__: kind.__base__ for kind in KINDS}
    drawn = list(_drawn())
    assert sorted(drawn, key=str) == sorted(
        (
            (name, base.__name__ if base and base is not Exception else None)
            for name, base in bases.items()
        ),
        key=str,
    )
    written = [name for name, value in vars(errors).items() if value in KINDS]
    assert [name for name, _ in drawn] == written


@pytest.mark.parametrize("kind", ENDS)
def test_an_error_says_what_it_costs_and_what_to_do(kind: type[MeigenError]) -> None:
    """A code, whether credits are gone, whether to repeat, and one sentence."""
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", kind.code)
    assert kind.charged in get_args(Charged)
    assert isinstance(kind.retryable, bool)
    assert re.fullmatch(r"[A-Z].+\.", kind.next)


def test_codes_are_unique() -> None:
    """One code, one class, apart from the three that only group others."""
    codes = [kind.code for kind in ENDS]
    assert len(codes) == len(set(codes))
    assert {MeigenError.code, Refusal.code, ApiError.code}.isdisjoint(codes)


@pytest.mark.parametrize("kind", [kind for kind in ENDS if issubclass(kind, Refusal)])
def test_a_refusal_of_our_own_never_costs_anything(kind: type[Refusal]) -> None:
    """Nothing was sent; but what an id stood for that no ledger knows is not known."""
    assert kind.charged == ("unknown" if kind is NotFound else "no")


OF_ITS_OWN_WORDS = (InvalidArguments, LedgerUnavailable, Unforeseen)


@pytest.mark.parametrize("kind", [kind for kind in ENDS if kind not in OF_ITS_OWN_WORDS])
def test_an_error_shows_its_sentence(kind: type[MeigenError]) -> None:
    """As its message and as its text."""
    error = kind("It is broken.")
    assert (error.message, str(error)) == ("It is broken.", "It is broken.")


@pytest.mark.parametrize("kind", [kind for kind in ENDS if issubclass(kind, ApiError)])
def test_an_error_of_the_api_keeps_its_waiting_time(kind: type[ApiError]) -> None:
    """None where the API said nothing."""
    assert (kind("No.").retry_after, kind("No.", retry_after=3).retry_after) == (None, 3)


def test_what_nobody_foresaw_is_told_by_its_reference() -> None:
    """The log has the rest."""
    assert Unforeseen("1a2b3c4d").message == (
        "Internal error of this server; its log says more under reference 1a2b3c4d. Whether"
        " something was charged is not known."
    )


def test_invalid_arguments_name_every_problem() -> None:
    """With the fix of each."""
    first = Problem("tier", '"ultra" must be "fast" or "pro"', 'use "fast"')
    second = Problem("niji7Options.iw", "3 is above 2", "use at most 2")
    one, two = InvalidArguments([first]), InvalidArguments([first, second])
    assert one.message == (
        '1 problem; nothing was sent or charged:\n- tier: "ultra" must be "fast" or "pro";'
        ' use "fast"'
    )
    assert (two.problems, two.message) == (
        (first, second),
        '2 problems; nothing was sent or charged:\n- tier: "ultra" must be "fast" or "pro";'
        ' use "fast"\n- niji7Options.iw: 3 is above 2; use at most 2',
    )
