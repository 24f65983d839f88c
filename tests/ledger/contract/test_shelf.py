"""Contract: what is kept besides generations."""

from support.calls import NOW

from meigen_mcp.ledger.ledger import Ledger
from meigen_mcp.ledger.uploads import CLIPS_GOOD_FOR, GOOD_FOR


async def test_a_copy_is_used_again_as_long_as_it_is_surely_there(
    ledger: Ledger, other: Ledger
) -> None:
    """By every process; several are asked for at once."""
    await ledger.uploads.keep("a" * 64, "https://u.example/a", NOW)
    await ledger.uploads.keep("b" * 64, "https://u.example/b", NOW + 5)
    hashes = ["a" * 64, "b" * 64, "c" * 64]
    assert await other.uploads.urls(hashes, NOW + GOOD_FOR - 1) == {
        "a" * 64: "https://u.example/a",
        "b" * 64: "https://u.example/b",
    }
    assert await other.uploads.urls(hashes, NOW + GOOD_FOR) == {"b" * 64: "https://u.example/b"}
    await other.uploads.keep("a" * 64, "https://u.example/new", NOW + 9)
    assert (await ledger.uploads.urls(hashes[:1], NOW + 9)) == {"a" * 64: "https://u.example/new"}


async def test_a_copy_of_a_clip_is_used_again_for_days(ledger: Ledger, other: Ledger) -> None:
    """As long as it was kept for; a clock that was set back counts for nothing."""
    good_for = CLIPS_GOOD_FOR
    await ledger.uploads.keep("clip", "https://u.example/c", NOW, good_for)
    assert [
        await other.uploads.urls(["clip"], now, good_for)
        for now in (NOW - 1, NOW, NOW + good_for - 1, NOW + good_for)
    ] == [{}, {"clip": "https://u.example/c"}, {"clip": "https://u.example/c"}, {}]


async def test_the_live_list_is_kept_as_it_was_fetched(ledger: Ledger, other: Ledger) -> None:
    """For the next start, without any network."""
    assert await ledger.live_lists.load() is None
    for number in (1, 2):
        await ledger.live_lists.keep({"models": [number]}, NOW + number)
    assert await other.live_lists.load() == ({"models": [2]}, NOW + 2)
