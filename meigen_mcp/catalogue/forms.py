"""All rules of one call: what each argument may be, and how arguments depend on each other.

The schema of a form (JSON Schema 2020-12) accepts a set of arguments if and only if its check finds
no problem.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from meigen_mcp.catalogue.meant import unknown
from meigen_mcp.catalogue.rules import (
    ABSENT,
    Choice,
    Items,
    Kind,
    Options,
    Rule,
    Schema,
    absent,
    optional,
)
from meigen_mcp.errors import Problem
from meigen_mcp.wording import listed, show

DIALECT = "https://json-schema.org/draft/2020-12/schema"


@dataclass(frozen=True, slots=True)
class When:
    """A condition on one argument: present, or one of some values, or left out as well.

    Attributes:
        unless: a pattern; a text that it matches does not count as present, nor does a list of
            such texts alone.
    """

    name: str
    values: tuple[str | bool, ...] | None = None
    or_absent: bool = False
    unless: str | None = None

    def schema(self) -> Schema:
        """Render as JSON Schema."""
        if self.values is None:
            inner: Schema = {"not": {"enum": list(ABSENT)}}
            if self.unless is not None:
                such = {"type": "string", "pattern": self.unless}
                such_alone = {"type": "array", "items": such}
                inner["not"] = {"anyOf": [inner["not"], such, such_alone]}
        else:
            inner = {"enum": [*self.values, *(ABSENT if self.or_absent else ())]}
        schema: Schema = {"properties": {self.name: inner}}
        return schema if self.or_absent else {**schema, "required": [self.name]}

    def holds(self, arguments: Mapping[str, Any]) -> bool:
        """Say whether the condition holds for a call."""
        value = arguments.get(self.name)
        if absent(value):
            return self.or_absent
        if self.unless is not None and isinstance(value, str | list):
            texts = [value] if isinstance(value, str) else value
            if all(isinstance(text, str) and re.search(self.unless, text) for text in texts):
                return False
        return self.values is None or value in self.values


@dataclass(frozen=True, slots=True)
class Requires:
    """When a condition holds, at least one of some arguments must be there.

    Attributes:
        how: what else there is to say of the fix.
    """

    when: When
    any_of: tuple[str, ...]
    why: str
    how: str = ""

    def schema(self) -> Schema:
        """Render as JSON Schema."""
        return {
            "if": self.when.schema(),
            "then": {"anyOf": [When(name).schema() for name in self.any_of]},
        }

    def check(self, arguments: Mapping[str, Any]) -> Iterator[Problem]:
        """Yield what is wrong with a call."""
        if self.when.holds(arguments) and all(absent(arguments.get(n)) for n in self.any_of):
            fix = f"add {listed(self.any_of)} {self.how}".rstrip()
            yield Problem(self.any_of[0], f"missing: {self.why}", fix)

    def sentence(self) -> str:
        """Render as words."""
        return f"{listed(self.any_of)} needed: {self.why}"


@dataclass(frozen=True, slots=True)
class Narrows:
    """When all conditions hold, an argument may only have some values."""

    when: tuple[When, ...]
    name: str
    values: tuple[str, ...]
    absent_ok: bool
    why: str

    def holds(self, arguments: Mapping[str, Any]) -> bool:
        """Say whether a call has only some values."""
        return all(when.holds(arguments) for when in self.when)

    def _then(self) -> When:
        return When(self.name, self.values, or_absent=self.absent_ok)

    def schema(self) -> Schema:
        """Render as JSON Schema."""
        return {
            "if": {"allOf": [when.schema() for when in self.when]},
            "then": self._then().schema(),
        }

    def check(self, arguments: Mapping[str, Any]) -> Iterator[Problem]:
        """Yield what is wrong with a call."""
        if self.holds(arguments) and not self._then().holds(arguments):
            value = arguments.get(self.name)
            given = "left out" if absent(value) else show(value)
            yield Problem(
                self.name, f"{given}: {self.why}", f"use {listed(map(show, self.values))}"
            )

    def sentence(self) -> str:
        """Render as words."""
        return self.why


@dataclass(frozen=True, slots=True)
class Within:
    """When a condition holds, an argument that is there keeps a rule of its own."""

    when: When
    name: str
    rule: Rule
    why: str

    def schema(self) -> Schema:
        """Render as JSON Schema."""
        then = {"properties": {self.name: optional(self.rule.schema())}}
        return {"if": self.when.schema(), "then": then}

    def check(self, arguments: Mapping[str, Any]) -> Iterator[Problem]:
        """Yield what is wrong with a call."""
        value = arguments.get(self.name)
        if self.when.holds(arguments) and not absent(value):
            for problem in self.rule.check(value, self.name):
                yield replace(problem, message=f"{problem.message}: {self.why}")

    def sentence(self) -> str:
        """Render as words."""
        return f"{self.name} {self.rule.sentence()}: {self.why}"


@dataclass(frozen=True, slots=True)
class Excludes:
    """Two arguments that say the same: only one of them may be there."""

    name: str
    other: str
    why: str

    def schema(self) -> Schema:
        """Render as JSON Schema."""
        both = [When(self.name).schema(), When(self.other).schema()]
        return {"not": {"allOf": both}}

    def check(self, arguments: Mapping[str, Any]) -> Iterator[Problem]:
        """Yield what is wrong with a call."""
        if not absent(arguments.get(self.name)) and not absent(arguments.get(self.other)):
            yield Problem(self.other, f"given beside {self.name}: {self.why}", "leave it out")

    def sentence(self) -> str:
        """Render as words."""
        return f"{self.name} or {self.other}: {self.why}"


Link = Requires | Narrows | Within | Excludes


@dataclass(frozen=True, slots=True)
class Form:
    """All rules of one call.

    Attributes:
        rules: the argument names with their rules, in the order in which a person reads them.
        required: the arguments that must be there.
        links: the rules between arguments.
        elsewhere: for an argument that this call does not take, the sentence that says so.
        unheard: the same for one that no model takes, as long as the live list announces it for
            none; no schema names it.
        notes: what is no rule, but decides over what becomes of the call.
    """

    rules: Mapping[str, Rule]
    required: tuple[str, ...] = ()
    links: tuple[Link, ...] = ()
    elsewhere: Mapping[str, Problem] = field(default_factory=dict)
    unheard: Mapping[str, Problem] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def schema(self) -> Schema:
        """Render as a complete JSON Schema (2020-12)."""
        schema: Schema = {
            "$schema": DIALECT,
            "type": "object",
            "properties": {
                **{name: self._property(name, rule) for name, rule in self.rules.items()},
                **{name: {"enum": list(ABSENT)} for name in self.elsewhere},
            },
            "required": list(self.required),
            "additionalProperties": False,
        }
        return {**schema, "allOf": [link.schema() for link in self.links]} if self.links else schema

    def _property(self, name: str, rule: Rule) -> Schema:
        if name not in self.required:
            return optional(rule.schema())
        # An empty list means absent, and a required argument must not be absent.
        return {**rule.schema(), **({"minItems": 1} if rule.kind == "array" else {})}

    def sentences(self) -> list[str]:
        """Render as words: one sentence for each argument, then one for each link and note."""
        words = [f"{name}: {rule.sentence()}" for name, rule in self.rules.items()]
        links = dict.fromkeys(link.sentence() for link in self.links)  # some say the same of two
        return [*words, *links, *self.notes]

    def as_meant(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments of a call with what was written as text read."""
        known = self.rules
        return {
            name: as_meant(value, [known[name]] if name in known else ())
            for name, value in arguments.items()
        }

    def check(self, arguments: Mapping[str, Any]) -> list[Problem]:
        """Return every problem of a call, in the order of the rules."""
        problems: list[Problem] = []
        for name in arguments:
            if name not in self.rules:
                if name in self.elsewhere and absent(arguments[name]):
                    continue
                known = self.elsewhere.get(name) or self.unheard.get(name)
                problems.append(known or unknown(name, name, self.rules))
        for name, rule in self.rules.items():
            value = arguments.get(name)
            if not absent(value):
                problems.extend(self._advise(rule.check(value, name), arguments))
            elif name in self.required:
                problems.append(Problem(name, "missing", f"give {rule.sentence()}"))
        # What is wrong by itself needs no second sentence about how it fits the rest.
        if problems:  # what a narrower rule tells to write passes both
            within = [link for link in self.links if isinstance(link, Within)]
            narrower = {p.field: p for link in within for p in link.check(arguments)}
            problems = [narrower.get(problem.field, problem) for problem in problems]
        named = {problem.field for problem in problems}
        for link in self.links:
            found = (p for p in link.check(arguments) if p.field not in named)
            problems.extend(self._advise(found, arguments))
        return problems

    def _advise(
        self, problems: Iterable[Problem], arguments: Mapping[str, Any]
    ) -> Iterator[Problem]:
        """Yield problems that name only what the rest of the call leaves of several values."""
        for problem in problems:
            rule = self.rules.get(problem.field)
            links = [
                link
                for link in self.links
                if isinstance(link, Narrows)
                and link.name == problem.field
                and link.holds(arguments)
            ]
            left = [
                value
                for value in (rule.values if links and isinstance(rule, Choice) else ())
                if all(value in link.values for link in links)
            ]
            if left:
                told = any(link.why in problem.message for link in links)
                why = "" if told else f": {links[0].why}"
                problem = replace(problem, fix=f"use {listed(map(show, left))}{why}")  # noqa: PLW2901  # the same one, mended
            yield problem


# --- what clients spoil -----------------------------------------------------------------------

_TYPES: Mapping[Kind, tuple[type, ...]] = {
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
}


def as_meant(value: Any, rules: Sequence[Rule]) -> Any:
    """Return a value, read where it is JSON that a client wrote as text: `"10"` is 10.

    Only a text that is JSON of exactly the wanted type is read; one that may stand for itself
    stays, and nothing else is bent.

    Args:
        value: what was given, or a part of it.
        rules: what it may be; several where the model is not known yet.
    """
    kinds = {rule.kind for rule in rules}
    if isinstance(value, str) and len(kinds) == 1:
        types = _TYPES.get(kinds.pop())
        value = _read(value, types) if types else value
    if isinstance(value, list):
        items = [rule.item for rule in rules if isinstance(rule, Items)]
        return [as_meant(item, items) for item in value]
    if isinstance(value, dict):
        members = [rule.members for rule in rules if isinstance(rule, Options)]
        return {
            name: as_meant(inner, [known[name] for known in members if name in known])
            for name, inner in value.items()
        }
    return value


def _read(text: str, types: tuple[type, ...]) -> Any:
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return text
    return value if type(value) in types else text


def _refuse_constant(name: str) -> None:
    """Refuse NaN and Infinity, which Python reads and JSON does not know."""
    raise ValueError(name)
