"""A person at the forms of the provider for trying: `python forms.py URL NAME REDIRECT`.

They type a name, agree, and are sent back to their client; that address is printed. The standard
library alone, since clients of other environments and languages run it too.
"""

import re
import sys
import urllib.error
import urllib.parse
import urllib.request
from http.cookiejar import CookieJar
from typing import Any

MOST_FORMS = 4
_FORM = re.compile(r'<form[^>]*action="([^"]+)"[^>]*>(.*?)</form>', re.DOTALL)
_HIDDEN = re.compile(r'<input[^>]*type="hidden"[^>]*name="([^"]+)"[^>]*value="([^"]*)"')


class _Back(urllib.request.HTTPRedirectHandler):
    """Stops where a redirect leads back to the client.

    Attributes:
        to: the whole address.
    """

    def __init__(self, redirect: str) -> None:
        self._redirect = redirect
        self.to = ""

    def redirect_request(self, *given: Any) -> urllib.request.Request | None:
        """Follow, unless it is the way back."""
        url = str(given[-1])
        if url.startswith(self._redirect):
            self.to = url
            return None
        return super().redirect_request(*given)


def sign_in(url: str, name: str, redirect: str) -> str:
    """Go from the address that a client opens to the one that it is called back at."""
    back = _Back(redirect)
    opener = urllib.request.build_opener(back, urllib.request.HTTPCookieProcessor(CookieJar()))
    data: bytes | None = None
    for _ in range(MOST_FORMS):
        try:
            with opener.open(url, data, timeout=30) as answer:
                page, at = answer.read().decode(), answer.url
        except urllib.error.HTTPError as stopped:
            if back.to:
                return back.to
            raise RuntimeError(f"{url}: {stopped.code} {stopped.read()[:500]!r}") from None
        found = _FORM.search(page)
        if found is None:
            raise RuntimeError(f"no form at {at}: {page[:500]}")
        fields = dict(_HIDDEN.findall(found[2]))
        if 'name="login"' in found[2]:
            fields |= {"login": name, "password": "any"}
        url = urllib.parse.urljoin(at, found[1])
        data = urllib.parse.urlencode(fields).encode()
    raise RuntimeError(f"{MOST_FORMS} forms, and no way back")


if __name__ == "__main__":
    print(sign_in(*sys.argv[1:4]))  # noqa: T201  # whoever runs it reads that
