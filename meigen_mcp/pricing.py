"""What a call will cost: credits with their arithmetic, and how sure that is.

`exact` is a stated price for settings that are stated too; `estimate` rests on an approximate price
or on a default that the API may change; `at_least` is a lower bound; `unknown` has no figure, and
is never 0.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Any, Literal

from meigen_mcp.catalogue import Duration, Model, Price, Table
from meigen_mcp.rules import absent

QuoteKind = Literal["exact", "estimate", "at_least", "unknown"]
_DIMENSIONS = ("tier", "resolution", "quality", "duration")


@dataclass(frozen=True, slots=True)
class Quote:
    """A price in credits before anything is spent.

    Attributes:
        credits: the figure; None exactly when `kind` is unknown.
        kind: how sure the figure is.
        basis: the arithmetic in words.
    """

    credits: Decimal | None
    kind: QuoteKind
    basis: str

    @property
    def bounded(self) -> bool:
        """Whether the charge is known well enough to hold it against a cap."""
        return self.credits is not None and self.kind != "at_least"


def quote(model: Model, arguments: Mapping[str, Any], on: date, *, named: bool = True) -> Quote:
    """Quote a call whose arguments have passed the check.

    Args:
        model: the model that will be used.
        arguments: the generation arguments; settings that are left out are quoted by the model's
            default, or by the dearest value where no source gives the default.
        on: the date of the call; later prices do not count yet.
        named: whether the caller named the model; if not, the API may choose another one.
    """
    prices = [price for price in model.prices if price.since <= on]
    settings = _settings(model, arguments)
    found = _continuation(model, prices, settings, arguments)
    if found is None:
        found = _per_second(model, prices, settings) or _per_call(model, prices, settings)
    if found is None:
        return Quote(None, "unknown", f"no source gives the price of {model.id} for these settings")
    if named:
        return found
    basis = f"{found.basis}, if MeiGen's default model is still {model.id}"
    return replace(found, kind="estimate" if found.kind == "exact" else found.kind, basis=basis)


def settle(model: Model, arguments: Mapping[str, Any], on: date) -> dict[str, Any]:
    """Return the arguments with the model and the settings of its quote made explicit.

    Sent when a cap, `maxCredits` or a confirmation rests on the quote, so that a changed default of
    the API cannot change the price.
    """
    settled = dict(arguments) | {"modelId": model.id}
    prices = [price for price in model.prices if price.since <= on]
    used = {name for price in prices for table in _tables(price) for name in _used(model, table)}
    if any(p.credits_per_second or p.credits_per_second_with_video for p in prices):
        used.add("duration")
    for name, setting in _settings(model, arguments).items():
        if name in used and absent(arguments.get(name)):
            value = setting.value if setting.sure else _dearest_value(model, settled, name, on)
            settled |= {} if value is None else {name: value}
    return settled


def _dearest_value(model: Model, arguments: Mapping[str, Any], name: str, on: date) -> Any:
    """Return the value of a setting that costs most, or None where no price is known."""
    quotes = {
        value: quote(model, {**arguments, name: value}, on).credits
        for value in _settings(model, arguments)[name].values
    }
    known = {value: amount for value, amount in quotes.items() if amount is not None}
    return max(known, key=lambda value: known[value], default=None)


def cheaper(model: Model, arguments: Mapping[str, Any], on: date) -> list[tuple[str, Quote]]:
    """Return settings of the same model that cost less, as words with their quotes.

    Each differs from the call in one setting; cheapest first.
    """
    now = quote(model, arguments, on)
    found: list[tuple[str, Quote]] = []
    for name, choice in _settings(model, arguments).items():
        for value in choice.values:
            other = quote(model, {**arguments, name: value}, on)
            if other.credits is not None and (now.credits is None or other.credits < now.credits):
                found.append((f"{name} {value}", other))
    return sorted(found, key=lambda pair: pair[1].credits or Decimal(0))


@dataclass(frozen=True, slots=True)
class _Setting:
    """One price-relevant setting of a call; `sure` when it was given or its default is sourced."""

    value: Any
    values: tuple[Any, ...]
    sure: bool


def _settings(model: Model, arguments: Mapping[str, Any]) -> dict[str, _Setting]:
    facts: dict[str, tuple[tuple[Any, ...], Any]] = {
        "tier": (model.tiers, model.default_tier),
        "resolution": (model.resolutions or (), model.default_resolution),
        "quality": (model.qualities, model.default_quality),
        "duration": (_durations(model.duration), model.default_duration),
    }
    settings: dict[str, _Setting] = {}
    for name, (values, default) in facts.items():
        given = arguments.get(name)
        if not absent(given):
            settings[name] = _Setting(given, values, sure=True)
        elif default is not None or values:
            settings[name] = _Setting(default, values, sure=default is not None)
    by_tier = (model.tier_resolutions or {}).get(str(_value(settings, "tier")))
    if by_tier and "resolution" in settings:
        settings["resolution"] = replace(settings["resolution"], values=by_tier)
    return settings


def _value(settings: Mapping[str, _Setting], name: str) -> Any:
    return settings[name].value if name in settings else None


def _durations(duration: Duration | None) -> tuple[int, ...]:
    if duration is None:
        return ()
    return duration.values or tuple(range(duration.minimum, duration.maximum + 1))


def _per_call(model: Model, prices: list[Price], settings: Mapping[str, _Setting]) -> Quote | None:
    for price in reversed(prices):
        for table, unit in ((price.credits_per_image, "image"), (price.credits_per_call, "call")):
            cell = None if table is None else _dearest(model, table, settings)
            if cell is None:
                continue
            if unit == "call" and model.images_per_call > 1:
                unit = f"call of {model.images_per_call} images"
            basis = f"{cell.words}{cell.credits} credits per {unit}"
            return _judged(cell.credits, price, cell, basis)
    return None


def _per_second(
    model: Model, prices: list[Price], settings: Mapping[str, _Setting]
) -> Quote | None:
    for price in reversed(prices):
        cell = price.credits_per_second and _dearest(model, price.credits_per_second, settings)
        duration = settings.get("duration")
        if not cell or duration is None:
            continue
        seconds = Decimal(str(duration.value or max(duration.values)))
        if model.billed_default_seconds and not _given(duration, model):
            seconds = Decimal(model.billed_default_seconds)
        basis = f"{seconds} s x {cell.words}{cell.credits} credits/s"
        return _judged(seconds * cell.credits, price, cell, basis)
    return None


def _given(duration: _Setting, model: Model) -> bool:
    return duration.sure and duration.value != model.default_duration


def _continuation(
    model: Model,
    prices: list[Price],
    settings: Mapping[str, _Setting],
    arguments: Mapping[str, Any],
) -> Quote | None:
    clip = model.continuation
    if clip is None or absent(arguments.get("referenceVideo")):
        return None
    for price in reversed(prices):
        table = price.credits_per_second_with_video
        cell = table and _dearest(model, table, settings)
        if not cell or "duration" not in settings:
            continue
        output = Decimal(str(settings["duration"].value))
        reference = Decimal(str(arguments.get("referenceVideoDuration") or 0))
        rate = f"{cell.words}{cell.credits} credits/s"
        if clip.billing == "output_only":
            return _judged(output * cell.credits, price, cell, f"{output} s x {rate}")
        total = reference + output
        words = f"{reference} s reference + {output} s"
        if clip.billing == "reference_plus_output":
            return _judged(total * cell.credits, price, cell, f"({words}) x {rate}")
        floor = (clip.floor_seconds or {}).get(str(output))
        if floor is not None:
            basis = f"max({words}, {floor} s minimum) x {rate}"
            return _judged(max(total, floor) * cell.credits, price, cell, basis)
        basis = f"max({words}, minimum not known) x {rate}"
        return replace(_judged(total * cell.credits, price, cell, basis), kind="at_least")
    # A continuation is billed by its own tier; without its rate nothing else says the price.
    return Quote(None, "unknown", f"no source gives the rate of {model.id} with a reference video")


@dataclass(frozen=True, slots=True)
class _Cell:
    credits: Decimal
    words: str
    sure: bool


def _judged(amount: Decimal, price: Price, cell: _Cell, basis: str) -> Quote:
    kind: QuoteKind = price.kind if cell.sure else "estimate"
    return Quote(amount, kind, f"{basis} = {amount.normalize():f}")


def _dearest(model: Model, table: Table, settings: Mapping[str, _Setting]) -> _Cell | None:
    """Return the cell for the settings, the dearest where a setting is not known."""
    cells = list(_cells(model, table, settings))
    return max(cells, key=lambda cell: cell.credits, default=None)


def _cells(
    model: Model, table: Table, settings: Mapping[str, _Setting], words: str = "", sure: bool = True
) -> Iterator[_Cell]:
    if isinstance(table, Decimal):
        yield _Cell(table, words, sure)
        return
    name = _dimension(model, table)
    setting = settings.get(name) if name else None
    if setting is None:
        return
    keys = [str(setting.value)] if setting.value is not None else [str(v) for v in setting.values]
    for key in keys:
        if key in table:
            said = f"{key} s " if name == "duration" else f"{key} "
            yield from _cells(model, table[key], settings, words + said, sure and setting.sure)


def _dimension(model: Model, table: Mapping[str, Table]) -> str | None:
    """Tell by its keys which setting a table is keyed by."""
    known: dict[str, set[str]] = {
        "tier": set(model.tiers),
        "resolution": set(model.resolutions or ()),
        "quality": set(model.qualities),
        "duration": {str(seconds) for seconds in _durations(model.duration)},
    }
    overlap = {name: len(known[name] & set(table)) for name in _DIMENSIONS}
    best = max(_DIMENSIONS, key=lambda name: overlap[name])
    return best if overlap[best] else None


def _tables(price: Price) -> Iterator[Table]:
    for table in (
        price.credits_per_image,
        price.credits_per_call,
        price.credits_per_second,
        price.credits_per_second_with_video,
    ):
        if table is not None:
            yield table


def _used(model: Model, table: Table) -> Iterator[str]:
    """Yield the settings that a table is keyed by."""
    if isinstance(table, Decimal):
        return
    name = _dimension(model, table)
    if name:
        yield name
    for inner in table.values():
        yield from _used(model, inner)
