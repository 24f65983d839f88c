"""`meigen-mcp image` and `video`: what a chat does, for a terminal and for a script."""

import json
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.calls import added, changed, intent
from support.in_memory import InMemory, make_settings
from support.workbench import Faulty, answers, refused

from meigen_mcp.app import open_account, open_ledger, run_service
from meigen_mcp.commands import jobs, orders
from meigen_mcp.commands.exits import BY_WEIGHT, Exit, advise, exit_of
from meigen_mcp.commands.keys import request_id_of
from meigen_mcp.commands.orders import Order
from meigen_mcp.commands.results import Results
from meigen_mcp.commands.typed import prompts_in
from meigen_mcp.reports import EXPIRED
from meigen_mcp.sandbox.emulator import Emulator
from meigen_mcp.settings import Settings

PRICE = 5
MODEL = {"modelId": "nanobanana-2"}
OTHER_TOKEN = "meigen_sk_" + "0ther-32" * 4


class Someone:
    """The person at the terminal, with one answer to everything."""

    def __init__(self, *, agrees: bool) -> None:
        self.agrees = agrees
        self.asked: list[str] = []

    async def __call__(self, question: str) -> bool:
        """Answer."""
        self.asked.append(question)
        return self.agrees


def order(*prompts: str, **fields: Any) -> Order:
    """Return an order of images; several if it says so."""
    return Order("generate_image", MODEL, prompts or ("a red cube",), **fields)


class Script:
    """Runs orders on a sandbox, and reads what they print."""

    def __init__(
        self, settings: Settings, emulator: Emulator, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.settings = settings
        self.emulator = emulator
        self._capsys = capsys

    async def run(
        self, ordered: Order, ask: Someone | None = None, **settings: Any
    ) -> tuple[Exit, list[dict[str, Any]]]:
        """Run one; return how it ends and the objects that it prints."""
        chosen = replace(self.settings, **settings)
        shown, wire = Results(as_json=True), InMemory(self.emulator)
        status = await orders.run(chosen, ordered, shown, ask, wire)
        printed = self._capsys.readouterr().out.splitlines()
        return status, [json.loads(line) for line in printed]

    @property
    def charged(self) -> int:
        """The credits that the sandbox took."""
        return sum(account.charged() for account in self.emulator.accounts.values())


@pytest.fixture
def script(settings: Settings, emulator: Emulator, capsys: pytest.CaptureFixture[str]) -> Script:
    """Return what runs orders on the sandbox of a test."""
    return Script(settings, emulator, capsys)


async def test_a_call_is_over_when_its_file_is_there(script: Script) -> None:
    """One object with the fields that a chat gets, without advice to a model."""
    status, (answer,) = await script.run(order())
    assert (status, answer["status"], answer["creditsUsed"]) == (Exit.DONE, "completed", PRICE)
    assert [Path(name).stat().st_size > 0 for name in answer["files"]] == [True]
    assert "next" not in answer


async def test_what_could_not_be_saved_is_said_beside_the_url(
    settings: Settings, emulator: Emulator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On stderr, with the reason that a person can act on."""
    (tmp_path / "no folder").write_bytes(b"")
    chosen = replace(settings, output_dir=tmp_path / "no folder")
    await orders.run(chosen, order(), Results(as_json=False), None, InMemory(emulator))
    said = capsys.readouterr()
    assert said.out.startswith("http://127.0.0.1:8000/media/")
    assert said.err.splitlines() == [
        "completed: a red cube (5 credits)",
        f"not saved, or not whole: {tmp_path / 'no folder'} cannot be written.",
    ]


async def test_without_json_the_file_alone_is_on_stdout(
    settings: Settings, emulator: Emulator, capsys: pytest.CaptureFixture[str]
) -> None:
    """So that a shell can take it; where nothing is saved, it is the URL."""
    said = []
    for output in (settings.output_dir, None):
        chosen = replace(settings, output_dir=output)
        shown = Results(as_json=False, saves=output is not None)
        await orders.run(chosen, order(), shown, None, InMemory(emulator))
        said.append(capsys.readouterr())
    assert [bool(each.err) for each in said] == [False, False]
    assert Path(said[0].out.removesuffix("\n")).is_file()
    assert said[1].out.startswith("http://127.0.0.1:8000/media/")


async def test_a_key_names_one_generation_for_ever(script: Script) -> None:
    """Called again it is that one; with other arguments it is refused, and says which key."""
    first, again, other = [
        await script.run(order(prompt, key="poster, süß\n")) for prompt in ("a", "a", "b")
    ]
    assert (first[0], again) == (Exit.DONE, first)
    assert (other[0], script.charged) == (Exit.REFUSED, PRICE)
    assert other[1][0]["error"]["message"].startswith("The key poster, süß\n names a generation")


async def test_a_key_whose_generation_failed_says_how_it_is_tried_anew(script: Script) -> None:
    """Called again it is the same failure, and nothing is sent; in a file a line more makes one."""
    bad = "sandbox:fail"
    one = [(await script.run(order(bad, key="k")))[1][0] for _ in range(2)]
    assert one[0] == one[1]
    assert one[0]["next"] == (
        "Its key goes on naming this one, which is not made again. To try it anew, choose another"
        " --key."
    )
    for prompts in ((bad, "a"), (bad, "a", bad)):
        many = (await script.run(order(*prompts, several=True, key="k")))[1]
    assert {answer.get("next") for answer in many} == {
        None,
        "Its line goes on naming this one, which is not made again. To try it anew, change its"
        " words, or write the line once more.",
    }
    assert len({answer["requestId"] for answer in many}) == 3
    assert "next" not in (await script.run(order(bad)))[1][0]
    expired = {"status": "failed", "error": {"code": EXPIRED.code, "charged": "no"}}
    assert advise(expired, key=True) == "Its key is free again: run the same command to make it."


async def test_a_comment_more_makes_nothing_again(script: Script) -> None:
    """A line keeps its key wherever it moves to, so a file goes on that was explained meanwhile."""
    first, again = [
        prompts_in(StringIO(text))[0] for text in ("a\nb\n", "# two foxes\n\na\n# and more\nb\n")
    ]
    for prompts in (first, again):
        await script.run(order(*prompts, several=True, key="k"))
    assert script.charged == 2 * PRICE


async def test_a_key_holds_on_a_machine_that_has_lost_its_ledger(
    script: Script, tmp_path: Path
) -> None:
    """The token and the key make the same request id, and MeiGen knows that one."""
    for folder in ("one", "another"):
        status, (answer,) = await script.run(order(key="k"), data_dir=tmp_path / folder)
        assert (status, answer["status"]) == (Exit.DONE, "completed")
    assert script.charged == PRICE


async def _id_of(settings: Settings, emulator: Emulator, key: str) -> str:
    async with (
        open_account(settings, InMemory(emulator)) as account,
        run_service(settings, account) as service,
    ):
        return await request_id_of(settings, account.ledger, service, key)


async def test_a_key_holds_when_the_token_is_renewed(
    settings: Settings, emulator: Emulator, tmp_path: Path
) -> None:
    """The ledger keeps it; elsewhere two accounts may use the same key for their own."""
    renewed = replace(settings, token=OTHER_TOKEN)
    ids = [
        await _id_of(settings, emulator, "k"),
        await _id_of(renewed, emulator, "k"),
        await _id_of(replace(renewed, data_dir=tmp_path / "elsewhere"), emulator, "k"),
    ]
    assert [ids[0] == ids[1], ids[0] == ids[2]] == [True, False]


async def test_what_was_never_sent_does_not_use_a_key_up(
    settings: Settings, emulator: Emulator
) -> None:
    """An order that goes on after hours makes what had grown too old to be sent."""
    first = await _id_of(settings, emulator, "k")
    ledger = open_ledger(settings)
    job = await added(ledger, intent(request_id=first, next_look=None))
    await changed(ledger, job, status="failed", error=EXPIRED, finished_at=job.created_at)
    await ledger.close()
    again = [await _id_of(settings, emulator, "k") for _ in range(2)]
    assert [again[0] == again[1], again[0] == first] == [True, False]


# --- how it ends --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prompt", "more", "end", "code"),
    [
        ("sandbox:fail", {}, Exit.REFUNDED, "provider_error"),
        ("sandbox:refuse", {}, Exit.REFUNDED, "moderation"),
        ("sandbox:no-credits", {}, Exit.REFUSED, "insufficient_credits"),
        (" ", {}, Exit.REFUSED, "invalid_arguments"),
        ("a", {"token": None}, Exit.REFUSED, "missing_token"),
        ("a", {"max_per_generation": Decimal(4)}, Exit.OVER_CAP, "over_cap"),
        ("a", {"max_per_day": Decimal(4)}, Exit.OVER_CAP, "over_cap"),
    ],
    ids=str,
)
async def test_each_end_has_its_exit_status(
    prompt: str, more: Mapping[str, Any], end: Exit, code: str, script: Script
) -> None:
    """And its error, as in a chat."""
    status, (answer,) = await script.run(order(prompt), **more)
    assert (status, answer["error"]["code"]) == (end, code)


async def test_why_one_waits_is_said_once_and_it_is_made_when_meigen_is_back(
    settings: Settings,
    emulator: Emulator,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On stderr also where no progress is shown: a script would wait in silence."""
    said: list[str] = []

    async def away(request: httpx.Request, inner: httpx.AsyncBaseTransport) -> httpx.Response:
        said.append(capsys.readouterr().err)
        return await (inner.handle_async_request(request) if any(said) else refused(request, inner))

    monkeypatch.setattr("meigen_mcp.service.answering.ACCEPTANCE", 0.0)
    wire = Faulty(InMemory(emulator))
    wire.faults["submit"] = [away] * 9
    assert await orders.run(settings, order(), Results(as_json=True), None, wire) is Exit.DONE
    said.append(capsys.readouterr().err)
    why = "MeiGen could not be reached; nothing was sent. It is tried again by itself."
    assert "".join(said).splitlines() == [f"queued: {why}"]


async def test_a_lost_reply_that_nobody_can_look_up_ends_as_not_known(
    script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And says how it is settled; called again it is looked up, and never repeated."""
    lost = answers(404, b"<html>")

    async def broken(self: InMemory, request: Any) -> Any:
        return await lost(request, self)

    monkeypatch.setattr(InMemory, "handle_async_request", broken)
    ends = [await script.run(order(key="k")) for _ in range(2)]
    assert [(status, answer["status"]) for status, (answer,) in ends] == [(7, "unknown")] * 2
    name = ends[0][1][0]["requestId"]
    assert f"`meigen-mcp jobs {name} --settle charged`" in ends[0][1][0]["next"]


@pytest.mark.parametrize(
    ("answer", "end"),
    [
        ({"status": "failed", "error": {"charged": "yes"}}, Exit.CHARGED),
        ({"status": "failed", "error": {"charged": "unknown"}}, Exit.UNKNOWN),
        ({"status": "refused", "error": {"charged": "unknown"}}, Exit.UNKNOWN),
        ({"status": "processing"}, Exit.UNKNOWN),
    ],
    ids=str,
)
def test_what_is_rare_has_its_exit_status_too(answer: Mapping[str, Any], end: Exit) -> None:
    """By what is known of the money."""
    assert exit_of(answer) is end


def test_of_several_ends_the_one_about_money_counts() -> None:
    """Every end has its place among the others."""
    assert sorted(BY_WEIGHT) == sorted(Exit)
    assert BY_WEIGHT[-3:] == (Exit.REFUNDED, Exit.CHARGED, Exit.UNKNOWN)


# --- the person's yes ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("yes_up_to", "person", "end", "asked"),
    [
        (None, None, Exit.NEEDS_YES, 0),
        (Decimal(4), None, Exit.NEEDS_YES, 0),
        (Decimal(5), None, Exit.DONE, 0),
        (Decimal(5), True, Exit.DONE, 0),
        (Decimal(4), True, Exit.DONE, 1),
        (None, True, Exit.DONE, 1),
        (None, False, Exit.NEEDS_YES, 1),
    ],
)
async def test_what_needs_a_yes_gets_it_beforehand_or_in_a_terminal(
    yes_up_to: Decimal | None, person: bool | None, end: Exit, asked: int, script: Script
) -> None:
    """Without a terminal nothing is asked, and nothing is sent."""
    someone = None if person is None else Someone(agrees=person)
    status, (answer,) = await script.run(
        order(yes_up_to=yes_up_to), someone, confirm_above=Decimal(0)
    )
    assert (status, 0 if someone is None else len(someone.asked)) == (end, asked)
    assert script.charged == (PRICE if end is Exit.DONE else 0)
    if answer["status"] == "needs_approval":
        assert answer["next"].startswith("Run it again with --yes-up-to 5, ")


@pytest.mark.parametrize("above", [None, Decimal(100)])
async def test_a_yes_up_to_less_is_none_to_more(above: Decimal | None, script: Script) -> None:
    """Also where nothing would be asked otherwise: who names a sum means it as the most."""
    await script.run(order(), confirm_above=above)
    status, (answer,) = await script.run(order(yes_up_to=Decimal(4)), confirm_above=above)
    assert (status, script.charged) == (Exit.NEEDS_YES, PRICE)
    assert answer["next"].startswith("Run it again with --yes-up-to 5, ")


async def test_a_yes_beforehand_is_none_to_what_others_spend(script: Script) -> None:
    """Where nothing would have been asked it counts for its own call alone."""
    for _ in range(2):
        await script.run(order(), confirm_above=Decimal(20))
        await script.run(order(yes_up_to=Decimal(5)), confirm_above=Decimal(20))
    status, _ = await script.run(order(), confirm_above=Decimal(20))
    assert (status, script.charged) == (Exit.NEEDS_YES, 4 * PRICE)


async def test_a_yes_up_to_less_sends_nothing_that_waits(script: Script) -> None:
    """What was agreed to once, and waits for credits, is asked about by its price again."""
    waiting = order("sandbox:no-credits", key="k", yes_up_to=Decimal(5))
    first, _ = await script.run(waiting)
    posts = len(script.emulator.posts)
    second, _ = await script.run(replace(waiting, yes_up_to=Decimal(4)))
    assert (first, second, len(script.emulator.posts)) == (Exit.REFUSED, Exit.NEEDS_YES, posts)


@pytest.mark.parametrize("sandbox", ["", "mine"])
async def test_what_waits_in_a_sandbox_that_ends_is_not_promised_to_be_sent(
    sandbox: str, script: Script
) -> None:
    """The next command has another one, which knows nothing of it."""
    ended, (answer,) = await script.run(order("sandbox:no-credits"), sandbox=sandbox)
    assert (ended, answer["next"]) == (
        Exit.REFUSED,
        "Mend that and run the same command again: it is sent with the same key."
        if sandbox
        else "This sandbox ends with this command; one with a name remembers: --sandbox NAME.",
    )


async def test_small_calls_that_have_added_up_need_a_yes_too(script: Script) -> None:
    """And it is said that they are why."""
    for _ in range(2):
        status, (answer,) = await script.run(order(), confirm_above=Decimal(7))
    assert (status, script.charged) == (Exit.NEEDS_YES, PRICE)
    assert answer["next"].startswith(
        "5 credits were spent or reserved unasked in the last hour. Run it "
    )


async def test_a_quote_is_shown_and_nothing_kept(script: Script) -> None:
    """`--dry-run` needs no key and no yes; over a cap it ends as the call would."""
    quoting = replace(order("a", "b", several=True), arguments={**MODEL, "dryRun": True})
    status, found = await script.run(quoting)
    assert (status, [answer["quote"]["credits"] for answer in found]) == (Exit.DONE, [5, 5])
    status, found = await script.run(quoting, max_per_generation=Decimal(4))
    assert (status, [answer["status"] for answer in found]) == (Exit.OVER_CAP, ["refused"] * 2)
    assert (script.charged, script.emulator.posts) == (0, [])


# --- several prompts ----------------------------------------------------------------------------


async def test_several_prompts_have_one_quote_and_one_yes(script: Script) -> None:
    """Two alike are two; how they end is told as they end."""
    someone = Someone(agrees=True)
    several = order("a", "b", "a", several=True, key="set")
    status, found = await script.run(several, someone, confirm_above=Decimal(1))
    assert (status, sorted(answer["prompt"] for answer in found)) == (Exit.DONE, ["a", "a", "b"])
    assert someone.asked == ["Make 3 images for 15 credits? (3 x (5 credits per image = 5))"]
    assert (script.charged, len({answer["generationId"] for answer in found})) == (15, 3)


@pytest.mark.parametrize(
    ("yes_up_to", "end", "charged"), [(14, Exit.NEEDS_YES, 0), (15, Exit.DONE, 15)]
)
async def test_a_yes_beforehand_is_to_all_together(
    yes_up_to: int, end: Exit, charged: int, script: Script
) -> None:
    """Without it nothing is begun."""
    several = order(*"abc", several=True, key="set", yes_up_to=Decimal(yes_up_to))
    status, found = await script.run(several, confirm_above=Decimal(1))
    assert (status, script.charged) == (end, charged)
    assert found[0].get("quote", {}).get("credits") == (15 if end else PRICE)


async def test_what_is_made_already_is_neither_quoted_nor_made_again(script: Script) -> None:
    """After an end in the middle, and when the file has grown or was sorted."""
    someone = Someone(agrees=True)
    ends = [
        await script.run(order(*lines, several=True, key="set"), someone, confirm_above=Decimal(1))
        for lines in ("ab", "bca", "cab")
    ]
    assert [status for status, _ in ends] == [Exit.DONE] * 3
    assert [question[:24] for question in someone.asked] == [
        "Make 2 images for 10 cre", "Make 1 image for 5 credi"
    ]  # fmt: skip
    assert [script.charged, len(ends[2][1])] == [15, 3]


FORGOTTEN = (
    "What it was asked with, and its files, were forgotten here, so nothing says whether these are"
    " the same arguments."
)


@pytest.mark.parametrize("words", ["a red cube", "sandbox:fail"])
async def test_a_key_names_its_generation_after_a_forget(script: Script, words: str) -> None:
    """Nothing is paid again; its end is told as it was, and that nothing compared the arguments."""
    end, (made,) = await script.run(order(words, key="k"))
    paid = script.charged
    await jobs.run(script.settings, older_than=0)
    again, (told,) = await script.run(order(words, key="k"))
    lost = ("prompt", "settings", "preview", "files")
    kept = {name: made[name] for name in made if name not in lost}
    advice = f"{FORGOTTEN} {made['next']}" if "next" in made else FORGOTTEN
    assert (again, told) == (end, {**kept, "next": advice})
    assert (script.charged, len(script.emulator.posts)) == (paid, 1)


async def test_a_file_goes_on_after_a_forget(script: Script) -> None:
    """What is missing is made, quoted alone; each line is told with its words, which its key is."""
    await script.run(order("one", several=True, key="set", yes_up_to=Decimal(PRICE)))
    await jobs.run(script.settings, older_than=0)
    grown = order("one", "two", several=True, key="set", yes_up_to=Decimal(PRICE))
    end, told = await script.run(grown)
    assert (end, script.charged) == (Exit.DONE, 2 * PRICE)
    assert {answer["prompt"]: answer.get("next") for answer in told} == {
        "one": FORGOTTEN,
        "two": None,
    }


async def test_a_key_of_another_token_is_not_said_to_have_other_arguments(script: Script) -> None:
    """Only that token can ask what became of it, and no sentence says more than is known."""
    first = await _id_of(script.settings, script.emulator, "k")
    ledger = open_ledger(script.settings)
    arguments = {**MODEL, "prompt": "a red cube"}
    job = await added(ledger, intent(request_id=first, next_look=None, arguments=arguments))
    await changed(ledger, job, status="unknown", posted_at=job.created_at)
    await ledger.close()
    end, (told,) = await script.run(order(key="k"), token=OTHER_TOKEN)
    assert (end, told["error"]["message"]) == (
        Exit.REFUSED,
        "The key k was sent with another token, and only that one can ask what became of it."
        " Nothing was sent or charged for this call. Another generation takes another key.",
    )


async def test_one_wrong_prompt_holds_all_of_them_up(script: Script) -> None:
    """Each is named by its place, and nothing is sent."""
    several = order("a", "x" * 40_000, "sandbox", "y" * 40_000, several=True, key="set")
    status, found = await script.run(several)
    said = [answer["error"]["message"][:22] for answer in found]
    assert (status, said) == (Exit.REFUSED, ["Prompt 2: 1 problem; n", "Prompt 4: 1 problem; n"])
    assert script.charged == 0


async def test_several_that_do_not_fit_under_the_cap_together_are_not_begun(
    script: Script,
) -> None:
    """Half of a set is of no use."""
    several = order(*"abc", several=True, key="set")
    status, (answer,) = await script.run(several, max_per_day=Decimal(14))
    assert (status, script.charged) == (Exit.OVER_CAP, 0)
    assert answer["error"]["message"].startswith("It would cost 15 credits; 0 of MEIGEN_MAX_")


async def test_bad_settings_spend_nothing(script: Script, tmp_path: Path) -> None:
    """They are named, as in a chat."""
    bad = make_settings(tmp_path, MEIGEN_MAX_CREDITS_PER_DAY="ten")
    script.settings = bad
    status, (answer,) = await script.run(order())
    assert (status, answer["error"]["code"]) == (Exit.REFUSED, "bad_settings")
    assert 'MEIGEN_MAX_CREDITS_PER_DAY: "ten" is not allowed' in answer["error"]["message"]
