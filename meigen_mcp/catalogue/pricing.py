"""What a call will cost: credits with their arithmetic, and how sure that is.

`exact` is a stated price for settings that are stated too; `estimate` rests on an approximate price
or on a default that the API may change; `at_least` is a lower bound; `unknown` has no figure, and
is never 0.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from itertools import product
from typing import Any, Literal, NamedTuple

from meigen_mcp.catalogue.models import DRAFT_RESOLUTION, LIVE, Continuation, Model, Price, Table
from meigen_mcp.catalogue.rules import absent

QuoteKind = Literal["exact", "estimate", "at_least", "unknown"]
Choices = Mapping[str, Any]
"""What a call means by each setting that a price may depend on; None: nothing is known."""
_NOTHING = Decimal(-1)


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
    prices = _current(model, on)
    billed = None if "duration" in _given(arguments) else model.billed_default_seconds
    quotes = [
        _priced(model, prices, {**settings, **({"duration": billed} if billed else {})}, arguments)
        for settings in _meanings(model, arguments)
    ]
    found = max(quotes, key=_amount)
    if found.kind == "exact" and any(other.credits != found.credits for other in quotes):
        found = replace(found, kind="estimate")
    if arguments.get("draft") is True and found.kind != "unknown":
        # No source says what a draft costs: it is taken for a clip of its resolution.
        kind: QuoteKind = "estimate" if found.kind == "exact" else found.kind
        found = replace(found, kind=kind, basis=f"a draft as a clip in 480p: {found.basis}")
    if found.kind == "unknown" and len(prices) < len(model.prices):
        first = min(price.since for price in model.prices if price not in prices)
        return replace(found, basis=f"{found.basis} on {on}; a price list counts from {first} on")
    if named or found.kind == "unknown":
        return found
    basis = f"{found.basis}, if MeiGen's default model is still {model.id}"
    return replace(found, kind="estimate" if found.kind == "exact" else found.kind, basis=basis)


def explicit(model: Model, arguments: Mapping[str, Any], on: date) -> dict[str, Any]:
    """Return the arguments with the model and the settings of its quote made explicit.

    Sent when a cap, `maxCredits` or a confirmation rests on the quote, so that a changed default of
    the API cannot change the price.
    """
    prices = _current(model, on)
    meanings = list(_meanings(model, arguments))
    quotes = [_priced(model, prices, chosen, arguments) for chosen in meanings]
    found, dearest = max(zip(quotes, meanings, strict=True), key=lambda pair: _amount(pair[0]))
    known = found.credits is not None
    sent = {**arguments, "modelId": model.id}
    given = _given(arguments)
    for name in _priced_by(model, prices, continues=_continues(model, arguments) is not None):
        sure = all(chosen[name] == dearest[name] for chosen in meanings)
        if name not in given and dearest[name] is not None and (known or sure):
            sent[name] = dearest[name]
    return sent


def cheaper(model: Model, arguments: Mapping[str, Any], on: date) -> list[tuple[str, Quote]]:
    """Return settings of the same model that cost less, as words with their quotes.

    Each differs from the call in one setting; what changes least comes first.
    """
    now = quote(model, arguments, on)
    clip = _continues(model, arguments)
    given = _given(arguments)
    tier = given.get("tier", model.default_tier)
    tiers = [
        other
        for other in (clip and clip.tiers) or model.tiers
        if given.get("resolution")
        in (None, *model.resolutions_of(other, continues=clip is not None))
    ]
    offered: Mapping[str, Sequence[Any]] = {
        "tier": tiers,
        "resolution": model.resolutions_of(tier, continues=clip is not None),
        "quality": model.qualities,
        "modelVariant": model.variants,
        "duration": model.duration.seconds if model.duration else (),
    }
    usual = {
        "tier": model.default_tier,
        "resolution": model.default_resolution,
        "quality": model.default_quality,
        "modelVariant": model.default_variant,
        "duration": model.default_duration,
    }
    found: list[tuple[int, str, Quote]] = []
    for name, values in offered.items():
        now_at = _place(given.get(name, usual[name]), values)
        for place, value in enumerate(values):
            other = quote(model, {**arguments, name: value}, on)
            if other.credits is not None and (now.credits is None or other.credits < now.credits):
                found.append((abs(place - now_at), f"{name} {value}", other))
    found.sort(key=lambda offer: (offer[0], -_amount(offer[2])))
    return [(words, other) for _, words, other in found]


def _place(value: Any, values: Sequence[Any]) -> int:
    """Return where a setting stands among those offered; an unknown one stands last."""
    return [*values].index(value) if value in values else len(values) - 1


# --- what a call means ----------------------------------------------------------------------------


def _given(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that a caller gave; 5.0 is 5."""
    names = ("tier", "resolution", "quality", "duration", "modelVariant")
    given = {n: arguments[n] for n in names if not absent(arguments.get(n))}
    if arguments.get("draft") is True:
        given["resolution"] = DRAFT_RESOLUTION
    return {n: int(v) if isinstance(v, float) and v.is_integer() else v for n, v in given.items()}


def _continues(model: Model, arguments: Mapping[str, Any]) -> Continuation | None:
    if model.continuation is None:
        return None
    clips = (arguments.get(name) for name in ("referenceVideo", "referenceVideos"))
    return None if all(map(absent, clips)) else model.continuation


def _meanings(model: Model, arguments: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield each set of settings that a call can mean: one, if all are given or have a default."""
    given = _given(arguments)
    clip = _continues(model, arguments)
    tiers = (clip and clip.tiers) or model.tiers
    qualities = _meant(given.get("quality"), model.default_quality, model.qualities)
    variants = _meant(given.get("modelVariant"), model.default_variant, model.variants)
    # A longer clip is never cheaper, so the shortest and the longest stand for all.
    lengths = model.duration.seconds if model.duration else ()
    billed = model.billed_default_seconds
    stated = model.default_duration or (billed if billed in lengths else None)
    ends = () if stated else tuple(sorted({*lengths[:1], *lengths[-1:]}))
    durations = _meant(given.get("duration"), stated, ends)
    for tier in _meant(given.get("tier"), model.default_tier, tiers):
        offered = model.resolutions_of(tier, continues=clip is not None)
        resolutions = _meant(given.get("resolution"), model.default_resolution, offered)
        for resolution, quality, duration, variant in product(
            resolutions, qualities, durations, variants
        ):
            yield {
                "modelVariant": variant,
                "tier": tier,
                "resolution": resolution,
                "quality": quality,
                "duration": duration,
            }


def _meant(given: Any, default: Any, values: Sequence[Any]) -> Sequence[Any]:
    """Return what was given, else the default, else every value that the default can be."""
    if given is not None:
        return (given,)
    if default is not None and (not values or default in values):
        return (default,)
    return values or (None,)


# --- what it costs --------------------------------------------------------------------------------


def _amount(found: Quote) -> Decimal:
    return _NOTHING if found.credits is None else found.credits


def _current(model: Model, on: date) -> list[Price]:
    """Return the price lists that count, the newest first.

    What MeiGen's list says counts whatever the clock says: that may have been set back since.
    """
    return [p for p in reversed(model.prices) if p.source == LIVE or p.since <= on]


def _priced(
    model: Model, prices: Sequence[Price], settings: Choices, arguments: Mapping[str, Any]
) -> Quote:
    """Quote settings by the newest list that has their cell."""
    clip = _continues(model, arguments)
    for price in prices:
        if clip is not None:
            # A continuation is billed by its own rates; without them nothing else says the price.
            given = arguments.get("referenceVideoDuration")
            seconds = Decimal(str(given or clip.minimum_seconds or 0))
            found = _continuation(model, clip, price, settings, seconds)
            if found is not None and not given and clip.billing != "output_only":
                found = replace(found, kind="at_least")  # MeiGen measures it
        else:
            found = _per_second(model, price, settings) or _per_call(model, price, settings)
        if found is not None:
            # The live list's one figure is that of some settings, and a mere floor for a video.
            others = any(not other.fallback for other in prices)
            vague = price.fallback and (others or model.media_type == "video")
            return replace(found, kind="at_least") if vague else found
    what = "with a reference video" if clip else "for these settings"
    return Quote(None, "unknown", f"no source gives the price of {model.id} {what}")


def _per_call(model: Model, price: Price, settings: Choices) -> Quote | None:
    batch = model.images_per_call
    call = "call" if batch == 1 else f"call of {batch} images"
    for table, unit in ((price.credits_per_image, "image"), (price.credits_per_call, call)):
        cell = _cell(model, table, settings)
        if cell is not None:
            return _judged(cell.credits, price, f"{cell.words}{cell.credits:f} credits per {unit}")
    return None


def _per_second(model: Model, price: Price, settings: Choices) -> Quote | None:
    cell = _cell(model, price.credits_per_second, settings)
    if cell is None or settings["duration"] is None:
        return None
    seconds = Decimal(str(settings["duration"]))
    return _judged(seconds * cell.credits, price, f"{seconds} s x {cell.rate}")


def _continuation(
    model: Model, clip: Continuation, price: Price, settings: Choices, reference: Decimal
) -> Quote | None:
    cell = _cell(model, price.credits_per_second_with_video, settings)
    if cell is None or settings["duration"] is None:
        return None
    output = Decimal(str(settings["duration"]))
    if clip.billing == "output_only":
        return _judged(output * cell.credits, price, f"{output} s x {cell.rate}")
    total = reference + output
    words = f"{reference.normalize():f} s reference + {output} s"
    if clip.billing == "reference_plus_output":
        return _judged(total * cell.credits, price, f"({words}) x {cell.rate}")
    floor = (clip.floor_seconds or {}).get(str(output))
    if floor is None:
        basis = f"max({words}, minimum not known) x {cell.rate}"
        return replace(_judged(total * cell.credits, price, basis), kind="at_least")
    basis = f"max({words}, {floor:f} s minimum) x {cell.rate}"
    return _judged(max(total, floor) * cell.credits, price, basis)


def _judged(amount: Decimal, price: Price, basis: str) -> Quote:
    return Quote(amount, price.kind, f"{basis} = {amount.normalize():f}")


# --- reading a table ------------------------------------------------------------------------------


class _Cell(NamedTuple):
    credits: Decimal
    words: str

    @property
    def rate(self) -> str:
        return f"{self.words}{self.credits:f} credits/s"


def _cell(model: Model, table: Table | None, settings: Choices) -> _Cell | None:
    """Return the cell for the settings, with the settings that led to it."""
    words = ""
    while isinstance(table, dict):
        name = _dimension(model, table)
        key = str(settings[name]) if name else ""
        words += f"{key} s " if name == "duration" else f"{key} "
        table = table.get(key)
    return None if table is None else _Cell(table, words)


def _dimension(model: Model, table: Mapping[str, Table]) -> str | None:
    """Tell by its keys which setting a table is keyed by."""
    known: Mapping[str, Sequence[Any]] = {
        "tier": model.tiers,
        "resolution": model.resolutions or (),
        "quality": model.qualities,
        "modelVariant": model.variants,
        "duration": model.duration.seconds if model.duration else (),
    }
    overlap = {name: len({*map(str, values)} & {*table}) for name, values in known.items()}
    best = max(overlap, key=lambda name: overlap[name])
    return best if overlap[best] else None


def _priced_by(model: Model, prices: Sequence[Price], *, continues: bool) -> set[str]:
    """Return the settings that the price of a call depends on."""
    used: set[str] = set()
    for price in prices:
        if continues:
            tables = [price.credits_per_second_with_video]
        else:
            tables = [price.credits_per_second, price.credits_per_image, price.credits_per_call]
        if tables[0] is not None:
            used.add("duration")
        while tables:
            if isinstance(table := tables.pop(), dict):
                used |= {name for name in [_dimension(model, table)] if name}
                tables.extend(table.values())
    return used
