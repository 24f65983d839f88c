"""The record of a generation: what an answer of the API may still change."""

from dataclasses import replace
from decimal import Decimal

import pytest

from meigen_mcp import generation as g
from meigen_mcp.catalogue.pricing import Quote
from meigen_mcp.generation import Generation
from meigen_mcp.reports import Report

JOB = Generation(
    request_id="0f8fad5b-d9cb-469f-a165-70867728950e",
    account="https://www.meigen.ai 0",
    tool="generate_image",
    media_type="image",
    model_id="nanobanana-2",
    prompt="a fox",
    arguments={"prompt": "a fox"},
    body="{}",
    quote=Quote(Decimal(5), "exact", "5 credits per image"),
    created_at=0.0,
    expected_seconds=38.0,
    reserved=Decimal(5),
)
MADE = Report("completed", "g-1", media_urls=("https://images.meigen.ai/1.png",))
FAILED = Report("failed", "g-1", credits_status="refunded", error="no")
REPORTS = {
    "completed": replace(MADE, media_urls=("https://images.meigen.ai/other.png",)),
    "failed": replace(FAILED, failure_code="other"),
    "processing": Report("processing", "g-1", credits_used=Decimal(99)),
}


@pytest.mark.parametrize("said", REPORTS)
@pytest.mark.parametrize("end", [MADE, FAILED], ids=lambda report: report.status)
def test_completed_and_failed_never_change(end: Report, said: str) -> None:
    """Whatever a late reply says, files, charge and error stay as they were told."""
    ended = g.informed(JOB, end, now=40.0)
    assert ended.terminal
    assert g.informed(ended, REPORTS[said], now=99.0) == ended


def test_an_id_learnt_late_is_kept() -> None:
    """Without it nobody could find on meigen.ai what was charged."""
    ended = g.expired(JOB, now=4000.0)
    assert g.informed(ended, MADE, now=4001.0) == replace(ended, generation_id="g-1")


@pytest.mark.parametrize("said", [MADE, FAILED], ids=lambda report: report.status)
def test_an_unknown_one_may_still_end(said: Report) -> None:
    """A lost reply that turns up is better than none."""
    lost = g.unknown(g.posting(JOB, now=1.0))
    assert g.informed(lost, said, now=99.0).status == said.status


# --- why it failed --------------------------------------------------------------------------------

USUAL = "MeiGen usually returns the credits of a failed generation; check your balance."


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("refunded", "The credits were refunded."),
        (None, USUAL),
        ("charged", f"Of the credits MeiGen says: charged so far. {USUAL}"),
        ("confirmed", f"Of the credits MeiGen says: charged so far. {USUAL}"),
        ("pending", f'Of the credits MeiGen says: "pending". {USUAL}'),
    ],
)
def test_what_is_said_of_the_credits_of_a_failure_is_told(status: str | None, words: str) -> None:
    """A refund is claimed only where MeiGen says so; a word that nobody knows is handed on."""
    job = g.informed(JOB, replace(FAILED, credits_status=status), now=40.0)
    assert job.error is not None
    assert job.error.message == f"MeiGen could not make it: no. {words}"
    assert job.error.charged == ("refunded" if status == "refunded" else "unknown")


@pytest.mark.parametrize("detail", [None, "video_edit_duration", "something_new"])
def test_a_detail_is_told_if_it_is_known(detail: str | None) -> None:
    """Unknown values are ignored, as MeiGen's own client does."""
    job = g.informed(JOB, replace(FAILED, failure_detail=detail), now=40.0)
    assert job.error is not None
    assert job.error.detail == ("video_edit_duration" if detail == "video_edit_duration" else "")
