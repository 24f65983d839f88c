"""What every answer has in common, of models or of generations."""

from typing import Any

Structure = dict[str, Any]

MODELS = "meigen://models"


def expected_json(seconds: float | None) -> int | None:
    """Return an expected time as a number for people: nobody waits for a tenth of a second."""
    return None if seconds is None else max(1, round(seconds))
