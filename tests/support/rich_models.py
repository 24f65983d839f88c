"""A live list that says as much as any source has seen one say, with one model of its own."""

from datetime import UTC, date, datetime, time
from typing import Any

from meigen_mcp.catalogue import live_list
from meigen_mcp.catalogue.models import Catalogue, shipped

TODAY = date(2026, 11, 23)
NOON = datetime.combine(TODAY, time(12), UTC).timestamp()
DATED = f"by the prices of {TODAY}"
"""What an assertion about a price says when it fails: the date it looked at."""


def rich_body() -> dict[str, Any]:
    """Return a body of `GET /api/models`."""
    return {"success": True, "models": [_image(), _seedance(), _veo(), _grok(), _fresh()]}


def rich() -> Catalogue:
    """Return the shipped facts with the rich list laid over them."""
    return live_list.lay(shipped(), rich_body(), TODAY) or shipped()


def _image() -> dict[str, Any]:
    return {
        "id": "gpt-image-2",
        "name": "GPT Image 2.0",
        "credits_per_generation": 5,
        "supported_ratios": ["auto", "1:1", "3:2"],
        "max_reference_images": 4,
        "media_type": "image",
        "extra_config": {
            "resolutions": ["1K", "2K", "4K"],
            "qualities": ["low", "medium", "high", "ultra"],
            "pricing": {"1K": {"low": 3, "ultra": 90}},
        },
    }


def _seedance() -> dict[str, Any]:
    tiers = {"mini": ["480p", "720p"], "fast": ["480p", "720p"], "pro": ["720p", "1080p", "4K"]}
    return {
        "id": "seedance-2-0",
        "credits_per_generation": 60,
        "supported_ratios": ["16:9", "9:16", "adaptive"],
        "max_reference_images": 2,
        "media_type": "video",
        "extra_config": {
            "resolutions": ["480p", "720p"],
            "tierResolutions": tiers,
            "tiers": ["mini", "fast", "pro"],
            "defaultTier": "mini",
            "defaultResolution": "720p",
            "pricingPerSec": {
                "mini": {"480p": 6, "720p": 10},
                "fast": {"480p": 12, "720p": 20},
                "pro": {"720p": 28, "1080p": 44.5, "4K": 100},
            },
            "pricingPerSecWithVideo": {"fast": {"480p": 8, "720p": 14}, "pro": {"720p": 16}},
            "minBillableTable": {"4": 7, "5": 8, "6": 9},
        },
        "capabilities": {
            "video": {
                "valid": True,
                "outputDuration": {"kind": "range", "min": 4, "max": 12, "step": 1, "default": 5},
                "referenceVideo": {
                    "enabled": True,
                    "minSeconds": 2,
                    "maxSeconds": 15,
                    "tiers": ["fast", "pro"],
                    "resolutionsByTier": {"fast": ["480p", "720p"], "pro": ["720p"]},
                },
                "billing": {
                    "mode": "per_second",
                    "requestDefaultSeconds": 6,
                    "referenceSeconds": "reference_plus_output_with_minimum_table",
                },
            }
        },
    }


def _veo() -> dict[str, Any]:
    return {
        "id": "veo-3.1",
        "media_type": "video",
        "extra_config": {
            "tiers": ["fast", "pro"],
            "pricingPerCall": {"fast": {"4": 10, "6": 15, "8": 20}, "pro": {"4": 40, "8": 80}},
        },
        "capabilities": {
            "video": {
                "valid": True,
                "outputDuration": {"kind": "enum", "values": [4, 6, 8], "default": 6},
                "referenceVideo": {"enabled": False},
                "billing": {"mode": "per_call", "requestDefaultSeconds": 6},
            }
        },
    }


def _grok() -> dict[str, Any]:
    """Return a model that no source of the package knows: it needs a first frame."""
    return {
        "id": "grok-video",
        "name": "Grok Video 1.5",
        "provider": "xAI",
        "credits_per_generation": 40,
        "supported_ratios": ["16:9"],
        "max_reference_images": 1,
        "media_type": "video",
        "extra_config": {
            "resolutions": ["480p", "720p"],
            "pricingPerSec": {"480p": 8, "720p": 12},
            "tags": ["New"],
        },
        "capabilities": {
            "video": {
                "valid": True,
                "outputDuration": {"kind": "range", "min": 4, "max": 16, "step": 4},
                "requiresFirstFrame": True,
            }
        },
    }


def _fresh() -> dict[str, Any]:
    """Return a model of which the list says next to nothing."""
    return {"id": "fresh-image", "credits_per_generation": 7}
