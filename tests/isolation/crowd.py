"""People who try to reach what is another's, by every way, and to spend more than they may.

Each has a secret in every prompt. Whatever answer holds the secret of somebody else is a leak; so
that a way which tells nobody anything does not count as safe, each is also gone by its owner.
"""

import json
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import anyio
import httpx
from support.issuer import Issuer
from support.over_http import bearer, connected, patient, post, structure_of

from meigen_mcp.ledger.ledger import Ledger
from meigen_mcp.ledger.team import EACH, TEAM, Caps, Member
from meigen_mcp.people import person_id, wire_key

RECORDS = "meigen://generations"
PRICE = 2
PICTURE = {"modelId": "z-image-turbo"}
AT_ONCE = 24
"""Requests under way; more only wait for each other."""
HEARD_FOR = 0.3
"""Seconds for which a listener to another's is left open after that one changed."""


@dataclass(frozen=True)
class Size:
    """How many of each.

    Attributes:
        attempts: requests for what is another's.
        streams: of these, listeners that are left open.
        racing: calls at once for the last credits.
    """

    people: int
    attempts: int
    streams: int
    racing: int


SHORT = Size(people=4, attempts=42, streams=2, racing=16)
WHOLE = Size(people=50, attempts=20_000, streams=400, racing=1000)


@dataclass
class Person:
    """Somebody with a secret, and what they made."""

    subject: str
    token: str
    id: str
    secret: str
    made: list[dict[str, Any]] = field(default_factory=list)

    @property
    def first(self) -> dict[str, Any]:
        """What they made first."""
        return self.made[0]


@dataclass
class Found:
    """What was seen.

    Attributes:
        attempts: how many requests for another's were made, by their way.
        leaks: answers that held what is another's.
        wrong: what else is not as it must be.
        figures: sums that were compared.
    """

    attempts: Counter[str] = field(default_factory=Counter)
    leaks: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)

    @property
    def well(self) -> bool:
        """Whether all is as it must be."""
        return not (self.leaks or self.wrong)


class Crowd:
    """People before the replicas of a team.

    Args:
        origins: of the replicas, which are asked in turns.
        issuer: signs their tokens.
        size: how many of each.
        seed: of everything that is drawn; not that of a sandbox, whose ids would be the same.
    """

    def __init__(
        self, origins: Sequence[str], issuer: Issuer, size: Size, seed: int = 20_261_128
    ) -> None:
        self._origins = origins
        self._random = Random(seed)  # noqa: S311  # no secret of anybody's
        self._turn = 0
        self._issuer = issuer
        self._size = size
        self.found = Found()
        self.people = [self._person(number) for number in range(size.people)]
        self._of = {person.secret: person for person in self.people}

    def _person(self, number: int) -> Person:
        subject = f"person-{number}"
        secret = f"{self._random.getrandbits(64):016x}"
        token = self._issuer.token(sub=subject, name=subject, exp=4_000_000_000)
        return Person(subject, token, person_id(self._issuer.url, subject), secret)

    def _any_id(self) -> str:
        return str(UUID(int=self._random.getrandbits(128), version=4))

    def _origin(self) -> str:
        self._turn += 1
        return self._origins[self._turn % len(self._origins)]

    async def _ask(
        self, person: Person, method: str, params: Mapping[str, Any]
    ) -> tuple[int, str, httpx.Response]:
        """Send a request of a person's to the next replica; return its status and whole text."""
        self._client.base_url = self._origin()
        named = {"mcp-name": str(params["uri"])} if "uri" in params else {}
        answer = await post(
            self._client, "auto", method, dict(params), **bearer(person.token), **named
        )
        return answer.status_code, answer.text, answer

    async def _call(self, person: Person, tool: str, **arguments: Any) -> dict[str, Any]:
        params = {"name": tool, "arguments": arguments}
        *_, answer = await self._ask(person, "tools/call", params)
        return structure_of(answer)

    async def all_at_once(self, work: Sequence[Callable[[], Awaitable[None]]]) -> None:
        """Do a lot, some at a time."""
        limit = anyio.CapacityLimiter(AT_ONCE)

        async def one(do: Callable[[], Awaitable[None]]) -> None:
            async with limit:
                await do()

        async with anyio.create_task_group() as group:
            for do in work:
                group.start_soon(one, do)

    # --- the whole ------------------------------------------------------------------------------

    async def run(self, ledger: Ledger) -> Found:
        """Make, attack and race; `ledger` is the one that all replicas share."""
        async with patient(headers={}) as self._client:
            await self._make()
            await self._each_finds_their_own()
            await self._attack()
            await self._listen()
            await self._race(ledger)
        return self.found

    async def _make(self) -> None:
        """Each makes two: one under an id that all choose, one under their own."""
        common = self._any_id()

        def making(person: Person, name: str, number: int) -> Callable[[], Awaitable[None]]:
            async def make() -> None:
                prompt = f"{person.secret} {number}"
                made = await self._call(
                    person, "generate_image", prompt=prompt, requestId=name, wait=60, **PICTURE
                )
                person.made.append(made)
                if made["status"] != "completed":
                    self.found.wrong.append(f"{person.subject} made {made['status']}: {made}")

            return make

        names = [(person, name) for person in self.people for name in (common, self._any_id())]
        await self.all_at_once([making(p, name, at % 2) for at, (p, name) in enumerate(names)])
        ids = {made["generationId"] for person in self.people for made in person.made}
        if len(ids) != 2 * len(self.people):
            self.found.wrong.append(f"{len(ids)} generations of {2 * len(self.people)} calls")

    async def _each_finds_their_own(self) -> None:
        """By the very ways that others try: else a leak would not be seen either."""
        for way in WAYS:
            for person in self.people[:: max(2, len(self.people) // 10)]:
                _, said = await WAYS[way](self, person, person)
                if person.secret not in said and way in TELLS_ITS_OWNER:
                    self.found.wrong.append(f"{way} tells its owner nothing: {said[:300]}")

    async def _attack(self) -> None:
        names = list(WAYS)

        def attempting(number: int) -> Callable[[], Awaitable[None]]:
            way = names[number % len(names)]
            who, whose = self._random.sample(self.people, 2)

            async def attempt() -> None:
                status, said = await WAYS[way](self, who, whose)
                self.found.attempts[way] += 1
                self._judge(way, who, status, said)

            return attempt

        await self.all_at_once([attempting(n) for n in range(self._size.attempts)])

    def _judge(self, way: str, who: Person, status: int, said: str) -> None:
        """Note what is another's in an answer, or an answer that must not be."""
        held = [secret for secret in self._of if secret in said and secret != who.secret]
        if held:
            self.found.leaks.append(f"{who.subject}, {way}: {said[:300]}")
        allowed = (403,) if way.startswith("a media URL") else (200, 400, 404)
        if status not in allowed:
            self.found.wrong.append(f"{way}: HTTP {status} {said[:300]}")

    async def _listen(self) -> None:
        """Listen to another's records while those change."""

        def listening(who: Person, whose: Person) -> Callable[[], Awaitable[None]]:
            async def listen() -> None:
                name = self._any_id()
                uris = [f"{RECORDS}/{name}", f"{RECORDS}/{whose.first['generationId']}"]
                heard: list[str] = []
                url = f"{self._origin()}/mcp"
                async with (
                    connected(url, "auto", who.token) as client,
                    client.listen(
                        resources_list_changed=True, resource_subscriptions=uris
                    ) as events,
                    anyio.create_task_group() as group,
                ):

                    async def hear() -> None:
                        async for event in events:
                            heard.append(str(event))  # noqa: PERF401  # as they come

                    group.start_soon(hear)
                    prompt = f"{whose.secret} heard"
                    made = await self._call(
                        whose, "generate_image", prompt=prompt, requestId=name, wait=60, **PICTURE
                    )
                    whose.made.append(made)
                    await anyio.sleep(HEARD_FOR)
                    group.cancel_scope.cancel()
                self.found.attempts["listening"] += 1
                if any(name in event or "Updated" in event for event in heard):
                    self.found.leaks.append(f"{who.subject} heard {heard}")

            return listen

        half = len(self.people) // 2  # those who listen make nothing of which they would hear
        pairs = [
            (self._random.choice(self.people[:half]), self._random.choice(self.people[half:]))
            for _ in range(self._size.streams)
        ]
        await self.all_at_once([listening(who, whose) for who, whose in pairs])

    # --- money ----------------------------------------------------------------------------------

    async def _race(self, ledger: Ledger) -> None:
        """Let all spend at once what each may, and the team: a tenth less than all want."""
        before = await self._members(ledger)
        calls = self._size.racing // len(self.people)
        each = calls // 2 * PRICE
        team = len(self.people) * each * 9 // 10 // PRICE * PRICE
        most = max(member.spent_today for member in before.values())
        for member in before.values():
            await ledger.team.set_caps(member.id, Caps(day=member.spent_today + each))
        spent = sum((member.spent_today for member in before.values()), Decimal(0))
        await ledger.team.set_caps(TEAM, Caps(month=spent + team))
        await ledger.team.set_caps(EACH, Caps(day=most))
        told: Counter[str] = Counter()

        def calling(person: Person, number: int) -> Callable[[], Awaitable[None]]:
            async def call() -> None:
                prompt = f"{person.secret} race {number}"
                made = await self._call(person, "generate_image", prompt=prompt, wait=60, **PICTURE)
                code = made.get("error", {}).get("code", "")
                told[code or made["status"]] += 1
                if not code:
                    person.made.append(made)

            return call

        work = [calling(person, n) for n in range(calls) for person in self.people]
        self._random.shuffle(work)
        await self.all_at_once(work)
        after = await self._members(ledger)
        rose = {i: after[i].spent_today - before[i].spent_today for i in after}
        self.found.figures = {
            "calls": len(work),
            "told": dict(told),
            "each may": each,
            "the team may": team,
            "most of one": max(rose.values()),
            "of all": sum(rose.values()),
        }
        if max(rose.values()) > each or sum(rose.values()) != team:
            self.found.wrong.append(f"the caps: {self.found.figures}")
        # A machine that is too busy may refuse one for its ledger; then nothing of it is spent.
        allowed = {"completed", "over_cap", "ledger_unavailable"}
        if not told.keys() <= allowed or told["completed"] * PRICE != team:
            self.found.wrong.append(f"the answers: {dict(told)}")

    async def _members(self, ledger: Ledger) -> dict[str, Member]:
        return {one.id: one for one in await ledger.team.members(ledger.clock())}

    async def compare(self, ledger: Ledger, state: Mapping[str, Any]) -> None:
        """Compare what the ledger says of each with what MeiGen was asked for and charged."""
        keys = Counter(sent["idempotencyKey"] for sent in state["posts"] if sent["accepted"])
        members = await self._members(ledger)
        for person in self.people:
            theirs = [wire_key(person.id, made["requestId"]) for made in person.made]
            accepted = sum(keys.pop(key, 0) for key in set(theirs))
            spent = members[person.id].spent_today
            if (accepted, spent) != (len(set(theirs)), Decimal(PRICE * accepted)):
                sums = f"{len(set(theirs))} made, {accepted} accepted, {spent} spent"
                self.found.wrong.append(f"{person.subject}: {sums}")
        if keys:
            self.found.wrong.append(f"{len(keys)} at MeiGen that are nobody's")
        (account,) = state["accounts"]
        total = sum(member.spent_today for member in members.values())
        charged = Decimal(str(account["charged"])) - Decimal(str(account["refunded"]))
        self.found.figures |= {"charged": charged, "in the ledger": total}
        if charged != total:
            self.found.wrong.append(f"MeiGen charged {charged}, the ledger says {total}")


# --- the ways to another's ----------------------------------------------------------------------


async def _by_generation_id(crowd: Crowd, who: Person, whose: Person) -> tuple[int, str]:
    return await _checked(crowd, who, {"generationId": whose.first["generationId"]})


async def _by_request_id(crowd: Crowd, who: Person, whose: Person) -> tuple[int, str]:
    made = crowd._random.choice(whose.made)  # noqa: SLF001  # one room
    return await _checked(crowd, who, {"requestId": made["requestId"]})


async def _by_a_guess(crowd: Crowd, who: Person, whose: Person) -> tuple[int, str]:
    near = UUID(int=UUID(whose.first["requestId"]).int ^ 1)
    return await _checked(crowd, who, {"requestId": str(near)})


async def _checked(crowd: Crowd, who: Person, named: Mapping[str, str]) -> tuple[int, str]:
    arguments = {**named, "wait": 0}
    params = {"name": "check_status", "arguments": arguments}
    status, said, _ = await crowd._ask(who, "tools/call", params)  # noqa: SLF001  # one room
    return status, said


async def _in_the_list(crowd: Crowd, who: Person, _: Person) -> tuple[int, str]:
    params = {"name": "check_status", "arguments": {"limit": 50}}
    status, said, _answer = await crowd._ask(who, "tools/call", params)  # noqa: SLF001  # one room
    return status, said


async def _among_resources(crowd: Crowd, who: Person, _: Person) -> tuple[int, str]:
    status, said, _answer = await crowd._ask(who, "resources/list", {})  # noqa: SLF001  # one room
    return status, said


async def _as_a_record(crowd: Crowd, who: Person, whose: Person) -> tuple[int, str]:
    uri = f"{RECORDS}/{whose.first['generationId']}"
    status, said, _ = await crowd._ask(who, "resources/read", {"uri": uri})  # noqa: SLF001  # one room
    return status, said


async def _as_a_medium(crowd: Crowd, who: Person, whose: Person) -> tuple[int, str]:
    uri = f"{RECORDS}/{whose.first['generationId']}/media/0"
    status, said, _ = await crowd._ask(who, "resources/read", {"uri": uri})  # noqa: SLF001  # one room
    if who is not whose and '"blob"' in said:
        return status, f"{said[:100]} {whose.secret}"
    return status, said


async def _completed(crowd: Crowd, who: Person, whose: Person) -> tuple[int, str]:
    ref = {"type": "ref/resource", "uri": f"{RECORDS}/{{generationId}}"}
    typed = {"name": "generationId", "value": whose.first["generationId"][:4]}
    params = {"ref": ref, "argument": typed}
    status, said, _ = await crowd._ask(who, "completion/complete", params)  # noqa: SLF001  # one room
    other = whose.first["generationId"] in said and who is not whose
    return status, said + (whose.secret if other else "")


async def _as_a_reference(crowd: Crowd, who: Person, whose: Person) -> tuple[int, str]:
    made = whose.first["generationId"]
    call = {"prompt": who.secret, "modelId": "nanobanana-2", "dryRun": True}
    call["referenceImages"] = [f"{RECORDS}/{made}/media/0"]
    params = {"name": "generate_image", "arguments": call}
    status, said, answer = await crowd._ask(who, "tools/call", params)  # noqa: SLF001  # one room
    told = structure_of(answer)["status"]
    if who is not whose and told != "refused":
        return status, f"{said[:200]} {whose.secret}"
    return status, said


async def _by_repeating(crowd: Crowd, who: Person, whose: Person) -> tuple[int, str]:
    """Make the very call again under its id: it is a new one of theirs, at no price here."""
    call = {"prompt": f"{who.secret} again", "requestId": whose.made[-1]["requestId"], **PICTURE}
    params = {"name": "generate_image", "arguments": {**call, "dryRun": True}}
    status, said, _ = await crowd._ask(who, "tools/call", params)  # noqa: SLF001  # one room
    return status, said


async def _opened(crowd: Crowd, who: Person, url: str, whose: Person) -> tuple[int, str]:
    parts = urlsplit(url)
    origin = crowd._origin()  # noqa: SLF001  # one room
    whole = f"{origin}{parts.path}?{parts.query}"
    answer = await crowd._client.get(whole, headers=bearer(who.token))  # noqa: SLF001  # one room
    return answer.status_code, answer.text if answer.status_code != 200 else whose.secret


def _forged(change: Callable[[Crowd, str, Person], str]) -> "Way":
    async def go(crowd: Crowd, who: Person, whose: Person) -> tuple[int, str]:
        url = whose.first["mediaUrls"][0]
        return await _opened(crowd, who, url if who is whose else change(crowd, url, who), whose)

    return go


def _as_if_for_me(crowd: Crowd, url: str, who: Person) -> str:
    """Put one's own name into another's URL."""
    del crowd
    return url.replace(parse_qs(urlsplit(url).query)["p"][0], who.id[:12])


def _my_signature(crowd: Crowd, url: str, who: Person) -> str:
    """Put the query of one's own URL behind the name of another's."""
    del crowd
    return f"{url.partition('?')[0]}?{urlsplit(who.first['mediaUrls'][0]).query}"


def _later(crowd: Crowd, url: str, who: Person) -> str:
    del crowd, who
    expires = parse_qs(urlsplit(url).query)["e"][0]
    return url.replace(f"e={expires}", f"e={int(expires) + 86400}")


def _guessed_signature(crowd: Crowd, url: str, who: Person) -> str:
    del who
    guess = f"{crowd._random.getrandbits(144):024d}"[:24]  # noqa: SLF001  # one room
    return f"{url.rpartition('&s=')[0]}&s={guess}"


Way = Callable[[Crowd, Person, Person], Awaitable[tuple[int, str]]]
WAYS: Mapping[str, Way] = {
    "a status by generationId": _by_generation_id,
    "a status by requestId": _by_request_id,
    "a status by a guess": _by_a_guess,
    "the list": _in_the_list,
    "the resources": _among_resources,
    "a record": _as_a_record,
    "a medium": _as_a_medium,
    "a completion": _completed,
    "a reference": _as_a_reference,
    "a repeated requestId": _by_repeating,
    "a media URL for me": _forged(_as_if_for_me),
    "a media URL with my signature": _forged(_my_signature),
    "a media URL for longer": _forged(_later),
    "a media URL with a guess": _forged(_guessed_signature),
}
TELLS_ITS_OWNER = WAYS.keys() - {
    *("a status by a guess", "a medium", "a completion"),
}
"""Those that hold the prompt; what the others answer their owner is judged by the other tests."""


def report(found: Found) -> str:
    """Write what was seen."""
    lines = [f"{sum(found.attempts.values())} attempts at what is another's:"]
    lines += [f"  {count:6} {way}" for way, count in found.attempts.most_common()]
    lines += [f"leaks: {len(found.leaks)}", *found.leaks[:10]]
    lines += [f"{json.dumps(found.figures, default=str)}", f"wrong: {len(found.wrong)}"]
    return "\n".join([*lines, *found.wrong[:10]])
