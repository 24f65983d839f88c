"""All rules of one call: what each argument may be, and how arguments depend on each other.

The schema of a form (JSON Schema 2020-12) accepts a set of arguments if and only if its check finds
no problem.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from meigen_mcp.errors import Problem
from meigen_mcp.rules import ABSENT, Rule, Schema, absent, listed, optional, show, unknown

DIALECT = "https://json-schema.org/draft/2020-12/schema"


@dataclass(frozen=True, slots=True)
class When:
    """A condition on one argument: present, or one of some values, or left out as well.

    Attributes:
        unless: a pattern; a text that it matches does not count as present.
    """

    name: str
    values: tuple[str, ...] | None = None
    or_absent: bool = False
    unless: str | None = None

    def schema(self) -> Schema:
        """Render as JSON Schema."""
        if self.values is None:
            inner: Schema = {"not": {"enum": list(ABSENT)}}
            if self.unless is not None:
                inner["not"] = {"anyOf": [inner["not"], {"type": "string", "pattern": self.unless}]}
        else:
            inner = {"enum": [*self.values, *(ABSENT if self.or_absent else ())]}
        schema: Schema = {"properties": {self.name: inner}}
        return schema if self.or_absent else {**schema, "required": [self.name]}

    def holds(self, arguments: Mapping[str, Any]) -> bool:
        """Say whether the condition holds for a call."""
        value = arguments.get(self.name)
        if absent(value):
            return self.or_absent
        if self.unless is not None and isinstance(value, str) and re.search(self.unless, value):
            return False
        return self.values is None or value in self.values


@dataclass(frozen=True, slots=True)
class Requires:
    """When a condition holds, at least one of some arguments must be there."""

    when: When
    any_of: tuple[str, ...]
    why: str

    def schema(self) -> Schema:
        """Render as JSON Schema."""
        return {
            "if": self.when.schema(),
            "then": {"anyOf": [When(name).schema() for name in self.any_of]},
        }

    def check(self, arguments: Mapping[str, Any]) -> Iterator[Problem]:
        """Yield what is wrong with a call."""
        if self.when.holds(arguments) and all(absent(arguments.get(n)) for n in self.any_of):
            yield Problem(self.any_of[0], f"missing: {self.why}", f"add {listed(self.any_of)}")

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
        if all(w.holds(arguments) for w in self.when) and not self._then().holds(arguments):
            value = arguments.get(self.name)
            given = "left out" if absent(value) else show(value)
            yield Problem(
                self.name, f"{given}: {self.why}", f"use {listed(map(show, self.values))}"
            )

    def sentence(self) -> str:
        """Render as words."""
        return self.why


Link = Requires | Narrows


@dataclass(frozen=True, slots=True)
class Form:
    """All rules of one call.

    Attributes:
        rules: the argument names with their rules, in the order in which a person reads them.
        required: the arguments that must be there.
        links: the rules between arguments.
        elsewhere: for an argument that this call does not take, the sentence that says so.
    """

    rules: Mapping[str, Rule]
    required: tuple[str, ...] = ()
    links: tuple[Link, ...] = ()
    elsewhere: Mapping[str, Problem] = field(default_factory=dict)

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
        """Render as words: one sentence for each argument, then one for each link."""
        words = [f"{name}: {rule.sentence()}" for name, rule in self.rules.items()]
        return [*words, *(link.sentence() for link in self.links)]

    def check(self, arguments: Mapping[str, Any]) -> list[Problem]:
        """Return every problem of a call, in the order of the rules."""
        problems: list[Problem] = []
        for name in arguments:
            if name not in self.rules:
                if name in self.elsewhere and absent(arguments[name]):
                    continue
                problems.append(self.elsewhere.get(name) or unknown(name, name, self.rules))
        for name, rule in self.rules.items():
            value = arguments.get(name)
            if not absent(value):
                problems.extend(rule.check(value, name))
            elif name in self.required:
                problems.append(Problem(name, "missing", f"give {rule.sentence()}"))
        # What is wrong by itself needs no second sentence about how it fits the rest.
        named = {problem.field for problem in problems}
        for link in self.links:
            problems.extend(p for p in link.check(arguments) if p.field not in named)
        return problems
