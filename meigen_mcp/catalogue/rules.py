"""One rule, three renderings: JSON Schema, check, sentence.

`null`, `""`, `[]` and `{}` mean absent, for every optional argument and option. A check bends
nothing: what a client writes as text is read before, in `forms`.
`union` gives the flat, portable schema that accepts whatever any of several rules accepts.
"""

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from meigen_mcp.catalogue import meant
from meigen_mcp.errors import Problem
from meigen_mcp.wording import listed, plain, show

Schema = dict[str, Any]
Kind = Literal["string", "number", "boolean", "array", "object"]

ABSENT: tuple[Any, ...] = (None, "", [], {})
_EMPTIABLE = (str, list, dict)


def absent(value: Any) -> bool:
    """Say whether a value stands for an argument that was left out."""
    return value is None or (isinstance(value, _EMPTIABLE) and not value)


def present(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments without the absent ones, in options objects too."""
    kept: dict[str, Any] = {}
    for name, value in arguments.items():
        inner = present(value) if isinstance(value, dict) else value
        if isinstance(inner, float) and inner.is_integer():
            inner = int(inner)
        if not absent(inner):
            kept[name] = inner
    return kept


class Rule(Protocol):
    """What one argument may be."""

    @property
    def kind(self) -> Kind:
        """The JSON type."""
        ...

    def schema(self) -> Schema:
        """Render as JSON Schema."""
        ...

    def check(self, value: Any, name: str) -> Iterator[Problem]:
        """Yield what is wrong with a value that is not absent."""
        ...

    def sentence(self) -> str:
        """Render as the words that complete `must be ...`."""
        ...


@dataclass(frozen=True, slots=True)
class Text:
    """A string that matches a pattern (by default: not blank), of at most so many characters.

    Attributes:
        hints: patterns of what else people write, with what is wrong with that, and what to do.
    """

    words: str = "text that is not blank"
    pattern: str = r"\S"
    fix: str = "write some text"
    longest: int = 4096
    hints: tuple[tuple[str, str, str], ...] = ()
    kind: Kind = "string"

    def schema(self) -> Schema:
        """Render as JSON Schema."""
        return {"type": "string", "pattern": self.pattern, "maxLength": self.longest}

    def check(self, value: Any, name: str) -> Iterator[Problem]:
        """Yield what is wrong with a value."""
        if isinstance(value, str) and len(value) > self.longest:
            many = f"{len(value):,} characters are too many, at most {self.longest:,} are taken"
            yield Problem(name, many, "shorten it")
        elif not isinstance(value, str) or not re.search(self.pattern, value):
            for pattern, wrong, fix in self.hints if isinstance(value, str) else ():
                if re.search(pattern, value):
                    yield Problem(name, f"{show(value)} {wrong}", fix)
                    return
            yield Problem(name, f"{show(value)} must be {self.words}", self.fix)

    def sentence(self) -> str:
        """Render as words."""
        return self.words


@dataclass(frozen=True, slots=True)
class Except:
    """What a rule takes, apart from texts that would not do what they seem to.

    Attributes:
        rule: what is taken.
        pattern: which of it is not.
        explain: yields what is wrong with such a text, given its argument's name.
    """

    rule: Text
    pattern: str
    explain: Callable[[str, str], Iterator[Problem]]
    kind: Kind = "string"

    def schema(self) -> Schema:
        """Render as JSON Schema."""
        return {**self.rule.schema(), "not": {"pattern": self.pattern}}

    def check(self, value: Any, name: str) -> Iterator[Problem]:
        """Yield what is wrong with a value."""
        problems = list(self.rule.check(value, name))
        if not problems and re.search(self.pattern, value):
            yield from self.explain(value, name)
        yield from problems

    def sentence(self) -> str:
        """Render as words."""
        return self.rule.sentence()


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a list of strings, or one of a list of whole numbers."""

    values: tuple[str, ...] | tuple[int, ...]
    default: str | int | None = None

    @property
    def kind(self) -> Kind:
        """The JSON type."""
        return "string" if isinstance(self.values[0], str) else "number"

    def schema(self) -> Schema:
        """Render as JSON Schema."""
        return {"enum": list(self.values)}

    def check(self, value: Any, name: str) -> Iterator[Problem]:
        """Yield what is wrong with a value."""
        wanted = str if self.kind == "string" else (int, float)
        if isinstance(value, wanted) and not isinstance(value, bool) and value in self.values:
            return
        allowed = listed(map(show, self.values))
        if guess := meant.choice(value, self.values):
            yield Problem(name, f"{show(value)} must be {allowed}", f"did you mean {show(guess)}?")
        else:
            yield Problem(name, f"{show(value)} is not allowed", f"use {allowed}")

    def sentence(self) -> str:
        """Render as words."""
        return listed(self.values) + _default(self.default)


@dataclass(frozen=True, slots=True)
class Number:
    """A number within bounds; `above` excludes the lower bound itself."""

    minimum: float | None = None
    maximum: float | None = None
    whole: bool = False
    above: bool = False
    unit: str = ""
    default: float | None = None
    kind: Kind = "number"

    def schema(self) -> Schema:
        """Render as JSON Schema."""
        schema: Schema = {"type": "integer" if self.whole else "number"}
        if self.minimum is not None:
            schema["exclusiveMinimum" if self.above else "minimum"] = self.minimum
        if self.maximum is not None:
            schema["maximum"] = self.maximum
        return schema

    def check(self, value: Any, name: str) -> Iterator[Problem]:
        """Yield what is wrong with a value."""
        must = f"must be {self.words()}"
        if isinstance(value, bool) or not isinstance(value, int | float):
            said = meant.seconds(value)
            fits = said is not None and not any(self.check(said, name))
            fix = f"write {plain(said) if said is not None and fits else self.words()}"
            yield Problem(name, f"{show(value)} is not a number and {must}", fix)
        elif isinstance(value, float) and not math.isfinite(value):
            yield Problem(name, f"{value} {must}", f"write {self.words()}")
        elif self.minimum is not None and (
            value < self.minimum or (self.above and value == self.minimum)
        ):
            least = plain(self.minimum)
            fix = f"use more than {least}" if self.above else f"use {least}"
            yield Problem(name, f"{show(value)} {must}", fix)
        elif self.maximum is not None and value > self.maximum:
            yield Problem(name, f"{show(value)} {must}", f"use {plain(self.maximum)}")
        elif self.whole and isinstance(value, float) and not value.is_integer():
            yield Problem(name, f"{show(value)} {must}", f"use {math.floor(value)}")

    def words(self) -> str:
        """Render without the default."""
        noun = "a whole number" if self.whole else "a number"
        if self.unit:
            noun += f" of {self.unit}"
        if self.minimum is not None and not self.above and self.maximum is not None:
            return f"{noun} from {plain(self.minimum)} to {plain(self.maximum)}"
        if self.minimum is not None:
            least = plain(self.minimum)
            noun += f" above {least}" if self.above else f", {least} or more"
        return noun if self.maximum is None else f"{noun}, {plain(self.maximum)} or less"

    def sentence(self) -> str:
        """Render as words."""
        return self.words() + _default(self.default)


@dataclass(frozen=True, slots=True)
class Flag:
    """True or false."""

    default: bool | None = None
    kind: Kind = "boolean"

    def schema(self) -> Schema:
        """Render as JSON Schema."""
        return {"type": "boolean"}

    def check(self, value: Any, name: str) -> Iterator[Problem]:
        """Yield what is wrong with a value."""
        if not isinstance(value, bool):
            yield Problem(name, f"{show(value)} must be true or false", "write true or false")

    def sentence(self) -> str:
        """Render as words."""
        return "true or false" + _default(self.default)


@dataclass(frozen=True, slots=True)
class Items:
    """A list of at most `maximum` values of one rule (None: no limit is known)."""

    item: Rule
    maximum: int | None = None
    kind: Kind = "array"

    def schema(self) -> Schema:
        """Render as JSON Schema."""
        schema: Schema = {"type": "array", "items": self.item.schema()}
        return schema if self.maximum is None else {**schema, "maxItems": self.maximum}

    def check(self, value: Any, name: str) -> Iterator[Problem]:
        """Yield what is wrong with a value."""
        if not isinstance(value, list):
            yield Problem(name, f"{show(value)} must be a list", self._recipe(value, name))
            return
        if self.maximum is not None and len(value) > self.maximum:
            message = f"{len(value)} given, at most {self.maximum} allowed"
            yield Problem(name, message, f"keep {self.maximum}")
        for index, item in enumerate(value):
            yield from self.item.check(item, f"{name}[{index}]")

    def _recipe(self, value: Any, name: str) -> str:
        if any(self.item.check(value, name)):
            return f"write a list of values, each {self.item.sentence()}"
        whole = show(value)
        said = whole == json.dumps(value, ensure_ascii=False)  # a long one is shown cut
        return f"write [{whole}]" if said else "write [ before it and ] after it"

    def sentence(self) -> str:
        """Render as words."""
        most = "" if self.maximum is None else f"at most {self.maximum}, "
        return f"{most}each {self.item.sentence()}"


@dataclass(frozen=True, slots=True)
class Options:
    """An object whose members are all optional and judged one by one.

    Attributes:
        members: what each may be.
        reasons: why others, of which something is known, are not members.
    """

    members: Mapping[str, Rule]
    reasons: Mapping[str, str] = field(default_factory=dict)
    kind: Kind = "object"

    def schema(self) -> Schema:
        """Render as JSON Schema."""
        properties = {name: optional(rule.schema()) for name, rule in self.members.items()}
        return {"type": "object", "properties": properties, "additionalProperties": False}

    def check(self, value: Any, name: str) -> Iterator[Problem]:
        """Yield what is wrong with a value."""
        if not isinstance(value, dict):
            fix = f"write an object of {listed(self.members, 'and')}"
            yield Problem(name, f"{show(value)} must be an object", fix)
            return
        for member, inner in value.items():
            if member in self.reasons:
                yield Problem(f"{name}.{member}", self.reasons[member], "leave it out")
            elif member not in self.members:
                yield meant.unknown(f"{name}.{member}", member, self.members)
            elif not absent(inner):
                yield from self.members[member].check(inner, f"{name}.{member}")

    def sentence(self) -> str:
        """Render as words."""
        return "; ".join(f"{name} {rule.sentence()}" for name, rule in self.members.items())


def optional(schema: Schema) -> Schema:
    """Let a schema also accept the values that mean absent."""
    return {"anyOf": [schema, {"enum": list(ABSENT)}]}


def union(rules: Sequence[Rule]) -> Schema:
    """Return the flat schema, in the portable subset, that accepts what any of the rules accepts.

    The rules must be of one kind. Clients drop or refuse richer schemas, so patterns, exclusive
    bounds and list lengths are said in descriptions and checked here.
    """
    match rules[0].kind:
        case "string":
            if all(isinstance(rule, Choice) for rule in rules):
                return {"type": "string", "enum": _merged(map(_values, rules))}
            return {"type": "string"}
        case "number":
            return _number_union([_as_number(rule) for rule in rules])
        case "boolean":
            return {"type": "boolean"}
        case "array":
            items = [rule.item for rule in rules if isinstance(rule, Items)]
            return {"type": "array", "items": union(items)}
        case "object":
            members: dict[str, list[Rule]] = {}
            for rule in rules:
                if isinstance(rule, Options):
                    for name, member in rule.members.items():
                        members.setdefault(name, []).append(member)
            properties = {
                name: {**union(inner), "description": inner[0].sentence()}
                for name, inner in members.items()
            }
            return {"type": "object", "properties": properties, "additionalProperties": False}


def _values(rule: Rule) -> Sequence[str | int]:
    return rule.values if isinstance(rule, Choice) else ()


def _merged(lists: Iterable[Sequence[str | int]]) -> list[str | int]:
    """Merge lists so that each keeps its order: 1K 2K 4K and 2K 3K 4K make 1K 2K 3K 4K."""
    merged: list[str | int] = []
    for values in lists:
        at = next((merged.index(value) for value in values if value in merged), len(merged))
        for value in values:
            if value in merged:
                at = merged.index(value) + 1
            else:
                merged.insert(at, value)
                at += 1
    return merged


def _as_number(rule: Rule) -> Number:
    if isinstance(rule, Number):
        return rule
    whole = [value for value in _values(rule) if isinstance(value, int)]
    return Number(min(whole), max(whole), whole=True)


def _number_union(rules: Sequence[Number]) -> Schema:
    schema: Schema = {"type": "integer" if all(rule.whole for rule in rules) else "number"}
    minima = [rule.minimum for rule in rules if rule.minimum is not None]
    maxima = [rule.maximum for rule in rules if rule.maximum is not None]
    if len(minima) == len(rules):
        schema["minimum"] = min(minima)
    if len(maxima) == len(rules):
        schema["maximum"] = max(maxima)
    return schema


def _default(value: Any) -> str:
    if value is None:
        return ""
    return f" (default {value if isinstance(value, str) else show(value)})"
