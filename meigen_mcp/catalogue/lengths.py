"""Whether the clips and sounds of a call are what its model takes, as far as is known."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from meigen_mcp.catalogue.models import Continuation, Model, Sounds
from meigen_mcp.errors import Problem
from meigen_mcp.wording import listed, plain

_FORMATS = {
    "wav": {"wav", "x-wav", "wave", "vnd.wave", "x-pn-wav"},
    "mp3": {"mp3", "mpeg", "mpeg3", "x-mpeg-3", "mpga"},
}
"""What each kind of sound is called, behind the slash of a type."""
_CODECS = {"h264": {"avc", "avc1", "avc3"}, "hevc": {"h265", "hvc1", "hev1"}, "av1": {"av01"}}
"""What else they are called, in small letters and digits."""


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
    if (sounds := model.sounds) is not None:
        yield from _check_sum("referenceAudios", measured, sounds, sounds.total_seconds)
    if (clip := model.continuation) is not None:
        yield from _check_sum("referenceVideos", measured, clip, clip.longest)


def _check_sum(
    name: str, measured: Sequence[Measured], limits: Continuation | Sounds, most: float | None
) -> Iterator[Problem]:
    """Hold together what is known of several; others of the call may come to it."""
    ones = [one for one in measured if one.name.startswith(name)]
    total = sum(one.seconds or 0 for one in ones)
    said = len(ones) == 1 and [*_check_length(ones[0], "", limits)]
    if most is not None and total > most and not said:
        long = f"together they have {plain(round(total, 3))} s, at most {plain(most)} s are taken"
        yield Problem(name, long, f"use fewer or shorter {_what(ones[0])}s")


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
    """Hold what is uploaded to each limit that there is."""
    what, most = _what(one), limits.upload_bytes
    if one.size is not None and most is not None and one.size > most:
        large = f"it has {one.size / 2**20:.1f} MiB, at most {most / 2**20:.1f} are taken"
        yield Problem(one.name, large, f"use a smaller {what}")
    if isinstance(limits, Sounds):
        formats = {word.rpartition("/")[2].lower() for word in limits.formats or ()}
        if formats and one.kind and formats.isdisjoint(_FORMATS.get(one.kind, ())):
            wrong = f"it is {one.kind.upper()}, and {model_id} takes {listed(limits.formats or ())}"
            yield Problem(one.name, wrong, "convert it")
        return
    low, high, rate = limits.least_rate, limits.most_rate, one.rate
    if rate is not None and ((low and rate < low) or (high and rate > high)):
        bounds = f"{plain(low)} to {plain(high)}" if low and high else ""
        bounds = bounds or (f"at most {plain(high)}" if high else f"{plain(low or 0)} or more")
        wrong = f"it has {plain(rate)} frames a second, and {model_id} takes {bounds}"
        yield Problem(one.name, wrong, "use one with another frame rate")
    if limits.codecs and one.codec and _codec(one.codec) not in map(_codec, limits.codecs):
        wrong = f"it is coded as {one.codec}, and {model_id} takes {listed(limits.codecs)}"
        yield Problem(one.name, wrong, "convert it")


def _codec(name: str) -> str:
    """Return the name of a codec as FFmpeg writes it."""
    plain_name = re.sub(r"[^a-z0-9]", "", name.lower())
    return next((codec for codec, others in _CODECS.items() if plain_name in others), plain_name)


def _what(one: Measured) -> str:
    return "sound" if one.sounds else "clip"
