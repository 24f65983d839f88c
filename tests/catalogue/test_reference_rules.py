"""Which references count as public: judged by name and literal address, nothing is resolved."""

import pytest

from meigen_mcp.catalogue.reference_rules import public_url, text_or_public_url

OWN = "http://127.0.0.1:8000"

PUBLIC = [
    "https://images.meigen.ai/a.png",
    "https://images.meigen.ai",
    "https://images.meigen.ai?x=1",
    "https://images.meigen.ai#x",
    "https://images.meigen.ai:443/a.png",
    "https://images.meigen.ai:65535/a.png",
    "HTTPS://IMAGES.MEIGEN.AI/A.PNG",
    "https://a_b.example.com/",
    "https://xn--bcher-kva.de/a.png",
    "https://example.xn--p1ai/",
    "https://example.com/ä/%20?q=ü#ß",
    "https://example.com/?u=http://127.0.0.1/",
    "https://example.com/user@host:80",
    "https://localhost.example.com/",
    "https://mylocalhost.com/",
    "https://local.news/",
    "https://1.1.1.1.example.com/",
    "https://8.8.8.8/a.png",
    "https://172.15.0.1/",
    "https://172.32.0.1/",
    "https://100.63.0.1/",
    "https://100.128.0.1/",
    "https://192.167.0.1/",
    "https://223.255.255.254/",
    "https://[2606:4700:4700::1111]/",
    "https://[2606:4700::]:8443/a",
    "https://[2a00:1450:4001:82a:0:0:0:200e]/",
]
HOSTILE = [
    # Other schemes, and what only looks like one.
    "http://images.meigen.ai/a.png",
    "ftp://images.meigen.ai/a.png",
    "file:///etc/passwd",
    "data:image/png;base64,AAAA",
    "javascript:alert(1)",
    "//images.meigen.ai/a.png",
    "https:images.meigen.ai/a.png",
    "https:/images.meigen.ai/a.png",
    "https:///a.png",
    "https://",
    "https://?x",
    "/home/a.png",
    "C:\\a.png",
    "a.png",
    "",
    # Names that are not public.
    "https://localhost/",
    "https://LOCALHOST/",
    "https://localhost:8443/",
    "https://localhost./",
    "https://a.localhost/",
    "https://metadata.google.internal/",
    "https://printer.local/",
    "https://nas.LAN/",
    "https://router.home.arpa/",
    "https://1.0.0.127.in-addr.arpa/",
    "https://wiki.corp/",
    "https://a.test/",
    "https://a.invalid/",
    "https://a.onion/",
    "https://intranet/",
    "https://com/",
    # Addresses that are not public, in every notation.
    "https://127.0.0.1/",
    "https://127.1/",
    "https://127.0.1/",
    "https://2130706433/",
    "https://0x7f000001/",
    "https://0x7f.0.0.1/",
    "https://0177.0.0.1/",
    "https://127.0.0.0x1/",
    "https://127.0.0.1./",
    "https://0.0.0.0/",
    "https://10.1.2.3/",
    "https://100.64.0.1/",
    "https://169.254.169.254/latest/meta-data",
    "https://172.16.0.1/",
    "https://172.31.255.255/",
    "https://192.168.1.1/",
    "https://192.0.2.1/",
    "https://198.18.0.1/",
    "https://198.51.100.7/",
    "https://203.0.113.7/",
    "https://224.0.0.1/",
    "https://255.255.255.255/",
    "https://256.1.1.1/",
    "https://1.2.3.4.5/",
    "https://1٢7.0.0.1/",
    "https://127。0。0。1/",
    "https://①②⑦.0.0.1/",
    "https://[::1]/",
    "https://[::]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:7f00:1]/",
    "https://[64:ff9b::7f00:1]/",
    "https://[fe80::1]/",
    "https://[fe80::1%25eth0]/",
    "https://[fc00::1]/",
    "https://[ff02::1]/",
    "https://[2001:db8::1]/",
    "https://[2001:0:7f00:1::]/",
    "https://[2001::1]/",
    "https://[2002:7f00:1::]/",
    "https://[3fff::1]/",
    "https://[2606:::1]/",
    "https://[2606::1::2]/",
    "https://[2606:4700]/",
    "https://[2606:4700::1111/",
    "https://2606:4700::1111/",
    # Two programs that would read two hosts.
    "https://user@images.meigen.ai/",
    "https://user:secret@images.meigen.ai/",
    "https://images.meigen.ai@127.0.0.1/",
    "https://images.meigen.ai:443@127.0.0.1/",
    "https://127.0.0.1\\@images.meigen.ai/",
    "https://images.meigen.ai\\.evil.example/",
    "https://images.meigen.ai/a\\b",
    "https://images.meigen.ai/a b",
    " https://images.meigen.ai/",
    "https://images.meigen.ai/\n",
    "https://images.meigen.ai/\r\nHost: x",
    "https://images.meigen.ai/\t",
    "https://images.meigen.ai/\u00a0",
    "https://images.meigen.ai/\x00",
    "https://images.meigen.ai/\x7f",
    "https://images.meigen.ai%2f@127.0.0.1/",
    "https://%31%32%37.0.0.1/",
    "https://\uff4cocalhost/",
    "https://bücher.de/",
    "https://-a.example.com/",
    "https://a..example.com/",
    "https://.example.com/",
    # Ports.
    "https://images.meigen.ai:/",
    "https://images.meigen.ai:0/",
    "https://images.meigen.ai:65536/",
    "https://images.meigen.ai:99999/",
    "https://images.meigen.ai:+443/",
    "https://images.meigen.ai:http/",
    # Another sandbox than our own.
    f"{OWN}/a.png",
]


@pytest.mark.parametrize("url", PUBLIC)
def test_a_public_url_is_a_reference(url: str) -> None:
    """Any host that everyone can reach, by name or by address."""
    assert list(public_url().check(url, "reference")) == []


@pytest.mark.parametrize("url", HOSTILE)
def test_what_is_not_a_public_https_url_is_refused(url: str) -> None:
    """Whatever could mean this machine, its network or two hosts at once; the fix is said."""
    found = [str(problem) for problem in public_url().check(url, "reference")]
    fix = "use an https URL that anyone can open (no localhost, private or link-local host)"
    assert [sentence.endswith(f"must be a public https URL; {fix}") for sentence in found] == [True]


@pytest.mark.parametrize("url", [OWN, f"{OWN}/media/a.png", f"{OWN}?x", *PUBLIC])
def test_the_own_sandbox_counts_as_public(url: str) -> None:
    """With a loopback API, its own media are references."""
    assert list(public_url(OWN).check(url, "reference")) == []


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8001/a.png",
        "http://127.0.0.1:80000/a.png",
        "http://127.0.0.1/a.png",
        "http://127a0b0c1:8000/",
        "http://127.0.0.1:8000@example.com/",
        "https://127.0.0.1:8000/",
        f"{OWN}/a b",
        f"{OWN}\n",
        *HOSTILE[:-1],
    ],
)
def test_the_own_sandbox_opens_no_other_door(url: str) -> None:
    """Only that origin, to the letter."""
    assert len(list(public_url(OWN).check(url, "reference"))) == 1


@pytest.mark.parametrize("value", ["3799554500", "random", "bold ink", *PUBLIC])
def test_a_style_reference_is_a_word_or_a_public_url(value: str) -> None:
    """Midjourney's sref takes codes and URLs."""
    assert list(text_or_public_url("a code or URL").check(value, "sref")) == []


@pytest.mark.parametrize("value", ["", " \n", "http://a.example.com/", "https://10.0.0.1/", 5])
def test_a_style_reference_is_no_private_url(value: object) -> None:
    """What looks like a URL must be a public one."""
    assert len(list(text_or_public_url("a code or URL").check(value, "sref"))) == 1


@pytest.mark.parametrize(
    "url",
    [
        "https://" + "a" * 100_000,
        "https://" + "a." * 50_000,
        "https://" + "a-" * 50_000 + ".",
        "https://[2606:" + ":1" * 50_000 + "]",
        "https://" + "1." * 50_000,
        "https://images.meigen.ai/" + "a" * 100_000 + " ",
        " " * 100_000,
    ],
)
def test_a_long_hostile_url_is_judged_without_backtracking(url: str) -> None:
    """No pattern runs away: quadratic time would meet the time-out of the tests."""
    assert len(list(public_url(OWN).check(url, "reference"))) == 1
    assert len(list(text_or_public_url("a code").check(f"://{url}", "sref"))) == 1
