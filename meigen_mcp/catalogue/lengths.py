"""Whether the clips and sounds of a call are what its model takes, as far as is known."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from meigen_mcp.catalogue.models import Continuation, Model, Sounds
from meigen_mcp.errors import Problem
from meigen_mcp.wording import listed, plain


@dataclass(frozen=True, slots=True)
class Measured:
    """What is known of a clip or sound of a call.

    Attributes:
        name: the argument, with its place in a list, such as `referenceVideos[1]`.
        seconds: None where it is not known.
        size: bytes to upload; None where nothing is uploaded.
        kind: mp4, mov, wav or mp3, for what is uploaded.
        rate: frames a second, for pictures that are uploaded.
        codec: how it is coded, for what is uploaded.
    """

    name: str
    seconds: float | None
    size: int | None = None
    kind: str = ""
    rate: float | None = None
    codec: str = ""

    @property
    def sounds(self) -> bool:
        """Whether it is a sound."""
        return self.name.startswith("referenceAudios")


def check_measured(model: Model, measured: Sequence[Measured]) -> Iterator[Problem]:
    """Yield what is wrong with them; what the model does not take at all is told elsewhere."""
    for one in measured:
        limits = model.sounds if one.sounds else model.continuation
        if limits is not None:
            if "[" in one.name:  # one clip alone is judged by referenceVideoDuration
                yield from _check_length(one, model.id, limits)
            yield from _check_upload(one, model.id, limits)
    if model.sounds is not None and (most := model.sounds.total_seconds) is not None:
        total = sum(one.seconds or 0 for one in measured if one.sounds)
        if total > most:
            long = (
                f"together they have {plain(round(total, 3))} s, at most {plain(most)} s are taken"
            )
            yield Problem("referenceAudios", long, "use fewer or shorter sounds")


def _check_length(one: Measured, model_id: str, limits: Continuation | Sounds) -> Iterator[Problem]:
    low, high, what = limits.minimum_seconds, limits.maximum_seconds, _what(one)
    if one.seconds is None:
        return
    has = f"it has {plain(one.seconds)} s, and {model_id} takes {what}s"
    if low is not None and one.seconds < low:
        yield Problem(one.name, f"{has} from {plain(low)} s on", f"use a longer {what}")
    if high is not None and one.seconds > high:
        yield Problem(one.name, f"{has} up to {plain(high)} s", f"use a shorter {what}")


def _check_upload(one: Measured, model_id: str, limits: Continuation | Sounds) -> Iterator[Problem]:
    if one.size is None or limits.upload_bytes is None:
        return
    what = _what(one)
    if one.size > limits.upload_bytes:
        size, most = one.size / 2**20, limits.upload_bytes / 2**20
        large = f"it has {size:.1f} MiB, at most {most:.1f} are taken"
        yield Problem(one.name, large, f"use a smaller {what}")
    if isinstance(limits, Sounds):
        formats = [word.rpartition("/")[2].lower() for word in limits.formats or ()]
        names = {"wav": {"wav", "x-wav", "wave"}, "mp3": {"mp3", "mpeg"}}[one.kind]
        if formats and not names & {*formats}:
            wrong = f"it is {one.kind.upper()}, and {model_id} takes {listed(limits.formats or ())}"
            yield Problem(one.name, wrong, "convert it")
        return
    low, high, rate = limits.least_rate, limits.most_rate, one.rate
    if rate is not None and ((low and rate < low) or (high and rate > high)):
        bounds = f"{plain(low or 0)} to {plain(high)}" if high else f"{plain(low or 0)} or more"
        wrong = f"it has {plain(rate)} frames a second, and {model_id} takes {bounds}"
        yield Problem(one.name, wrong, "use one with another frame rate")
    if limits.codecs and one.codec not in limits.codecs:
        wrong = f"it is coded as {one.codec}, and {model_id} takes {listed(limits.codecs)}"
        yield Problem(one.name, wrong, "convert it")


def _what(one: Measured) -> str:
    return "sound" if one.sounds else "clip"
