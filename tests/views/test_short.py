"""Texts stay short, since a model reads all of them, and facts that stand together agree."""

import json
from dataclasses import replace

import pytest
from support.records import FULL
from support.rich_models import rich

from meigen_mcp.catalogue.models import Catalogue, shipped
from meigen_mcp.service.results import Outcome
from meigen_mcp.views import generations as views
from meigen_mcp.views.models import details_text, model_details


@pytest.mark.parametrize("catalogue", [shipped(), rich()], ids=["shipped", "rich"])
def test_everything_about_one_model_is_three_thousand_bytes_at_the_most(
    catalogue: Catalogue,
) -> None:
    """The schema, which says the same as the rules, is in the structure; the text says where."""
    for model in catalogue.models:
        details = model_details(model, catalogue)
        text = details_text(details)
        assert len(text.encode()) <= 3000, model.id
        assert f"meigen://models/{model.id}" in text
        told = json.loads(text)
        assert told["rules"] == details["rules"]
        assert "W:H is passed on" not in told["note"]


def test_a_result_with_four_pictures_is_told_in_twelve_hundred_bytes() -> None:
    """Their folder is named once; the structure has each path whole."""
    name, folder = "2026-11-27_midjourney-v8.1_a-lighthouse-at-dusk", "/home/anna/Pictures/MeiGen"
    job = replace(
        FULL,
        status="completed",
        prompt="a lighthouse at dusk",
        media_urls=tuple(
            f"https://images.meigen.ai/generations/2026-11/{n:036}.png" for n in range(4)
        ),
        files=tuple(f"{folder}/{name}_{n}.png" for n in range(1, 5)),
        arguments={"prompt": "x", "aspectRatio": "9:16", "resolution": "2K"},
        error=None,
        unsaved=(),
        unshown=None,
        credentials=(),
        made_from=(),
        draft=None,
    )
    structure = views.outcome(Outcome(job, "completed"), job.created_at)
    text = views.text(structure)
    assert len(text.encode()) <= 1200
    names = ", ".join(f"{name}_{n}.png" for n in range(1, 5))
    assert f"saved in {folder}: {names}" in text.splitlines()
    assert structure["files"] == list(job.files)
