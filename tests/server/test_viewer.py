"""The viewer as a file and its metadata; `python -m tests.viewer` shows it in a browser."""

import re
from html.parser import HTMLParser

import pytest

from meigen_mcp import __version__
from meigen_mcp.server import viewer

LARGEST = 48 * 1024


class _Page(HTMLParser):
    """Collects the tags of the page, and what stands in its scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.script = ""
        self.feed(viewer.page())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] == "script":
            self.script += data


def test_the_page_is_one_small_file_with_its_version() -> None:
    """Hosts fetch it with the first answer; they log who it says it is."""
    page = viewer.page()
    assert page.startswith("<!doctype html>\n<html lang=")
    assert len(page.encode()) <= LARGEST
    assert f'version: "{__version__}"' in page


def test_the_page_loads_nothing() -> None:
    """No tag names a file, no style imports one, and nothing is fetched."""
    loading = {"src", "href", "srcset", "data", "action", "background", "poster"}
    assert [(tag, attrs) for tag, attrs in _Page().tags if loading & attrs.keys()] == []
    assert re.findall(r"https?://[a-z]|url\(|@import|\bimport\b|\bfetch\(", viewer.page()) == []


def test_no_text_becomes_markup_or_code() -> None:
    """What comes from outside is put in as text; a policy without eval and handlers holds."""
    page = _Page()
    handlers = [name for _, attrs in page.tags for name in attrs if name.startswith("on")]
    words = (
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|createContextualFragment"
        r"|\beval\(|\bFunction\(|set(?:Timeout|Interval)\([\"'`]|srcdoc|javascript:"
    )
    assert (handlers, re.findall(words, page.script)) == ([], [])


def test_the_page_may_load_media_and_nothing_else() -> None:
    """The policy names the origins of the media; everything that is left out stays forbidden."""
    origins = ["https://images.meigen.ai", "http://127.0.0.1:8080", "https://images.meigen.ai"]
    assert viewer.meta(origins) == {
        "ui": {
            "csp": {"resourceDomains": ["http://127.0.0.1:8080", "https://images.meigen.ai"]},
            "permissions": {"clipboardWrite": {}},
            "prefersBorder": True,
        }
    }


@pytest.mark.parametrize(
    "origin",
    [
        "http://images.meigen.ai",
        "https:",
        "https://",
        "*",
        "https://*",
        "data:",
        "https://a.test; script-src *",
        "https://a.test 'unsafe-eval'",
        "https://a.test/path",
        "https://user@a.test",
        "https://a.test\n",
        "http://127.0.0.1.evil.test",
        "",
    ],
)
def test_what_is_no_origin_never_gets_into_the_policy(origin: str) -> None:
    """A link is the API's word: it must not widen what the page may load."""
    assert viewer.meta([origin])["ui"]["csp"] == {"resourceDomains": []}


def test_a_tool_names_the_page_in_few_bytes() -> None:
    """Visibility is the default, for model and viewer alike."""
    assert viewer.TOOL_META == {"ui": {"resourceUri": viewer.URI}}
    assert viewer.URI.startswith("ui://")
    assert viewer.MIME == "text/html;profile=mcp-app"
