"""Each limit of clips and sounds that the list announces holds, whatever the others are."""

import json
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from support.rich_models import TODAY

from meigen_mcp.catalogue import live_list
from meigen_mcp.catalogue.arguments import form
from meigen_mcp.catalogue.assumed import name_of
from meigen_mcp.catalogue.lengths import Measured, check_measured
from meigen_mcp.catalogue.models import Model, shipped
from meigen_mcp.sandbox.models import body

RATES = {name_of("least_rate"): 24, name_of("most_rate"): 60}
CLIPS: dict[str, Any] = {
    "enabled": True,
    "minSeconds": 3,
    "maxSeconds": 20,
    "maxTotalSeconds": 30,
    "maxCount": 3,
    "maxUploadBytes": 1000,
    name_of("codecs"): ["h264"],
    **RATES,
}
SOUNDS: dict[str, Any] = {
    "enabled": True,
    "minSeconds": 3,
    "maxSeconds": 20,
    "maxTotalSeconds": 30,
    "maxCount": 3,
    "maxUploadBytes": 1000,
    "formats": ["wav"],
}
# the limit that is to hold, what breaks it
TOO_MUCH: dict[str, list[dict[str, Any]]] = {
    "minSeconds": [{"seconds": 2.5}],
    "maxSeconds": [{"seconds": 20.5}],
    "maxTotalSeconds": [{"seconds": 15.5}] * 2,
    "maxCount": [{"seconds": 4}] * 4,
    "maxUploadBytes": [{"size": 1001}],
    "formats": [{"kind": "mp3"}],
    name_of("least_rate"): [{"rate": 23}],
    name_of("most_rate"): [{"rate": 61}],
    name_of("codecs"): [{"codec": "vp9"}],
}
ODD: dict[str, Any] = {
    "missing": ...,
    "zero": 0,
    "null": None,
    "less than nothing": -1,
    "a text": "7",
    "not a number": float("nan"),
    "endless": float("inf"),
    "a flag": True,
    "a list": [],
}


def announced(name: str, said: Mapping[str, Any]) -> Model:
    """Return a model for which the list says this of clips, or of sounds."""
    listed = deepcopy(body("2026-11", 1, TODAY))
    (row,) = [row for row in listed["models"] if row["id"] == "seedance-2-5"]
    row["capabilities"]["video"][name] = said
    catalogue = live_list.lay(shipped(), listed, TODAY)
    assert catalogue is not None
    model = catalogue.find("seedance-2-5")
    assert model is not None
    return model


def told(model: Model, argument: str, ones: list[dict[str, Any]]) -> list[str]:
    """Return what is wrong with some clips or sounds, as files and as addresses."""
    kind = "mp4" if argument.startswith("referenceVideo") else "wav"
    usual = {"seconds": 5, "size": 9, "kind": kind, "codec": "h264"}
    usual |= {"rate": 25} if kind == "mp4" else {"rate": None}
    files = [Measured(f"{argument}[{n}]", **{**usual, **one}) for n, one in enumerate(ones)]
    address = "https://images.meigen.ai/a." + kind
    given = address if argument == "referenceVideo" else [address] * len(ones)
    call = {"prompt": "a cat", "modelId": model.id, argument: given}
    call |= {} if kind == "mp4" else {"referenceImages": ["https://images.meigen.ai/a.png"]}
    return [*map(str, form(model, ()).check(call)), *map(str, check_measured(model, files))]


KINDS = {
    "referenceVideo": ("referenceVideos", CLIPS),
    "referenceAudio": ("referenceAudios", SOUNDS),
}
EACH = [(name, limit) for name, (_, whole) in KINDS.items() for limit in TOO_MUCH if limit in whole]
FITS: list[dict[str, Any]] = [{"seconds": 5}]


def spoil(name: str, *limits: str, by: str) -> Model:
    """Return a model of whose limits some are odd."""
    said = {**KINDS[name][1], **dict.fromkeys(limits, ODD[by])}
    return announced(name, {key: value for key, value in said.items() if value is not ...})


@pytest.mark.parametrize(("name", "limit"), EACH)
@pytest.mark.parametrize("odd", ODD)
def test_a_limit_holds_whatever_is_wrong_with_the_others(name: str, limit: str, odd: str) -> None:
    """One of them at a time, and all at once."""
    argument, whole = KINDS[name]
    others = [other for other in whole if other not in ("enabled", limit)]
    missed = []
    for spoilt in [*([other] for other in others), others]:
        model = spoil(name, *spoilt, by=odd)
        # Where the count is odd, one is taken, and two are wrong anyhow.
        fitting = told(model, argument, FITS * min(3, len(TOO_MUCH[limit])))
        if not {*told(model, argument, TOO_MUCH[limit])} - {*fitting}:
            missed.append(spoilt)
    assert missed == []


@pytest.mark.parametrize(("name", "limit"), EACH)
@pytest.mark.parametrize("odd", ODD)
def test_an_odd_limit_keeps_nothing_out(name: str, limit: str, odd: str) -> None:
    """What fits the others is taken; of an odd count, one."""
    argument = KINDS[name][0]
    if (name, limit) == ("referenceVideo", "maxCount"):
        argument = name
    assert told(spoil(name, limit, by=odd), argument, FITS) == []


def test_two_limits_that_let_nothing_through_are_none() -> None:
    """Nobody knows which of them is wrong; of clips those hold that the list need not say."""
    least, most = RATES
    odd = {"minSeconds": 30, "maxSeconds": 20, "maxTotalSeconds": 50, least: 70, most: 60}
    model = announced("referenceVideo", {**CLIPS, **odd})
    assert told(model, "referenceVideos", [{"seconds": 14, "rate": 65}]) == []
    model = announced("referenceAudio", {**SOUNDS, **odd})
    assert told(model, "referenceAudios", [{"seconds": 25}]) == []


def test_a_total_below_the_shortest_is_none() -> None:
    """Nor does one that the list need not say contradict one that it says."""
    model = announced("referenceVideo", {**CLIPS, "maxTotalSeconds": 2})
    assert told(model, "referenceVideos", [{"seconds": 4}]) == []
    short = announced("referenceVideo", {"enabled": True, "maxSeconds": 1})
    assert told(short, "referenceVideo", [{"seconds": 1}]) == []
    assert short.continuation is not None
    assert (short.continuation.minimum_seconds, short.continuation.longest) == (None, 1)


def test_one_that_is_too_long_is_told_so_once() -> None:
    """Not also that all of them together are."""
    model = announced("referenceAudio", {**SOUNDS, "maxTotalSeconds": 20})
    assert len(told(model, "referenceAudios", [{"seconds": 21}])) == 1


def test_a_total_below_the_longest_holds_for_one_clip_alone() -> None:
    """It is the smaller of two limits, in a list and by itself."""
    for count in (1, 3):
        said = {**CLIPS, "maxTotalSeconds": 10, "maxCount": count}
        model = announced("referenceVideo", said)
        assert model.continuation is not None
        assert model.continuation.longest == 10


@pytest.mark.parametrize(
    ("said", "kind", "fits"),
    [
        (["audio/wav"], "wav", True),
        (["audio/x-wav", "audio/mpeg"], "mp3", True),
        (["WAV"], "wav", True),
        ([".mp3"], "mp3", True),
        (["audio/wav"], "mp3", False),
        (["ogg"], "wav", False),
        ([5, "wav"], "mp3", False),
        (["audio/*"], "mp3", True),
    ],
)
def test_the_formats_of_sounds_may_be_types_and_endings(
    said: list[Any], kind: str, fits: bool
) -> None:
    """A type has a slash, which no id has."""
    model = announced("referenceAudio", {**SOUNDS, "formats": said})
    assert (told(model, "referenceAudios", [{"kind": kind}]) == []) is fits


@pytest.mark.parametrize(
    ("said", "codec", "fits"),
    [
        (["H.264"], "h264", True),
        (["avc1", "h265"], "hevc", True),
        (["AVC"], "hevc", False),
        (["av1"], "av1", True),
    ],
)
def test_a_codec_has_several_names(said: list[str], codec: str, fits: bool) -> None:
    """The list writes it as people do, FFmpeg in its own way."""
    model = announced("referenceVideo", {**CLIPS, name_of("codecs"): said})
    assert (told(model, "referenceVideos", [{"codec": codec}]) == []) is fits


# --- hosts ----------------------------------------------------------------------------------------

SAME = [
    "clips.example",
    "Clips.EXAMPLE",
    "clips.example.",
    "clips.example:443",
    " clips.example ",
    "https://clips.example",
    "HTTPS://clips.example:443/",
    "somebody@clips.example",
]
WRITTEN = {
    "https://clips.example/a.mp4": True,
    "https://CLIPS.example/a.mp4": True,
    "HTTPS://clips.example./a.mp4": True,
    "https://clips.example:443/a.mp4": True,
    "https://clips.example./?of=a": True,
    "https://clips.example:8443/a.mp4": False,
    "https://clips.example:0443/a.mp4": False,
    "https://somebody@clips.example/a.mp4": False,
    "https://clips.example@evil.example/a.mp4": False,
    "https://clips.example:443@evil.example/a.mp4": False,
    "https://clips.example.evil.example/a.mp4": False,
    "https://clips.example..evil.example/a.mp4": False,
    "https://evilclips.example/a.mp4": False,
    "https://clipsXexample/a.mp4": False,
    "http://clips.example/a.mp4": False,
}


def taken(hosts: Any, url: str) -> bool:
    """Return whether a clip may lie there, by its rule and by the schema that says the same."""
    model = announced("referenceVideo", {**CLIPS, name_of("hosts"): hosts})
    call = {"prompt": "a", "modelId": model.id, "referenceVideo": url, "referenceVideoDuration": 5}
    rules = form(model, ())
    fits = rules.check(call) == []
    assert Draft202012Validator(rules.schema()).is_valid(call) is fits
    return fits


@pytest.mark.parametrize("host", SAME)
def test_a_host_is_the_same_however_it_is_written(host: str) -> None:
    """In the list and in an address; nothing that only looks like it is."""
    assert {url: taken([host], url) for url in WRITTEN} == WRITTEN


@pytest.mark.parametrize(
    "host", ["b\u00fccher.example", "B\u00dcCHER.example", "xn--bcher-kva.example"]
)
def test_a_name_in_other_letters_is_its_spelling_in_ascii(host: str) -> None:
    """As browsers send it."""
    written = ["https://xn--bcher-kva.example/a", "https://XN--BCHER-KVA.example/a"]
    written += ["https://b\u00fccher.example/a", "https://B\u00dcCHER.example/a"]
    assert [taken([host], url) for url in written] == [True] * 4
    assert not taken([host], "https://bucher.example/a")
    assert not taken(["stra\u00dfe.example"], "https://straSe.example/a")


def test_a_port_that_the_list_names_is_the_only_one() -> None:
    """It is another server."""
    urls = [f"https://clips.example{port}/a.mp4" for port in (":8443", "", ":443", ":84430")]
    assert [taken(["Clips.example:8443"], url) for url in urls] == [True, False, False, False]


@pytest.mark.parametrize(
    "hosts",
    [
        ["*.example"],
        [".example"],
        ["clips.example/videos"],
        ["localhost"],
        ["169.254.169.254"],
        ["[::1]"],
        ["a b"],
        ["x" * 5000 + ".example"],
        ["\u00fc" * 5000],
        ["clips.example:99999"],
        [7],
        7,
        {"host": "clips.example"},
    ],
    ids=lambda hosts: str(hosts)[:30],
)
def test_hosts_that_nobody_can_read_let_only_meigens_own_in(hosts: Any) -> None:
    """The list does forbid others."""
    assert taken(hosts, "https://images.meigen.ai/a.mp4")
    assert not taken(hosts, "https://clips.example/a.mp4")


@pytest.mark.parametrize("hosts", [None, [], "", {}])
def test_no_hosts_forbid_none(hosts: Any) -> None:
    """What is not said is not forbidden."""
    assert taken(hosts, "https://clips.example/a.mp4")


def test_a_name_that_hides_marks_brings_none_into_a_schema() -> None:
    """Its spelling in ASCII stays."""
    label = "xn--" + "ab\u202ecd".encode("punycode").decode()
    model = announced("referenceVideo", {**CLIPS, name_of("hosts"): [f"{label}.example"]})
    assert json.dumps(form(model, ()).schema(), ensure_ascii=False).isascii()
    assert taken([f"{label}.example"], f"https://{label}.example/a.mp4")


OWN = {
    "https://images.meigen.ai/a.mp4": True,
    "https://IMAGES.MeiGen.AI/a.mp4": True,
    "https://images.meigen.ai:443/a.mp4": True,
    "https://images.meigen.art/a.mp4": True,
    "https://meigen.ai?a.mp4": True,
    "https://images.meigen.ai:8443/a.mp4": False,
    "https://images.meigen.ai:x@evil.example/a.mp4": False,
    "https://images.meigen.ai.evil.example/a.mp4": False,
    "https://evilmeigen.ai/a.mp4": False,
    "https://evil.example/images.meigen.ai/a.mp4": False,
}


@pytest.mark.parametrize("url", OWN)
def test_what_lies_at_meigen_is_measured_there(url: str) -> None:
    """Of a clip that lies elsewhere the length has to be given."""
    model = announced("referenceVideo", CLIPS)
    problems = form(model, ()).check({"prompt": "a", "modelId": model.id, "referenceVideo": url})
    assert (not problems) is OWN[url]
