#!/usr/bin/env bash
# A good guess: of the line "Steps: 20, Sampler: ..., Aspect ratio: 16:9, Created: 12:30" in a picture's `parameters`,
# sd-parsers gives every name with its value.
#
# What happens: whatever has a second colon in it is left out without a word: ratios, times, URLs, the hashes of quoted
# lists. Of a quoted value with commas, the last part is left over with a quotation mark as a setting of its own. The
# library splits the line at commas and each part at colons, and drops a part that does not give exactly two. And without
# at least three of Sampler, Steps, Seed and CFG scale the whole text, the prompt too, counts as not there.
#
# Seen with sd-parsers 0.6 on 2026-11-27.
#
# Why it matters here: our own `parameters` carry an aspect ratio and no sampler; written plainly, this reader shows
# nothing of them, so the names it asks for are there with the value "unknown".
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q sd-parsers==0.6 pillow==13.0.0
cat >check.py <<'PY'
import io

from PIL import Image
from PIL.PngImagePlugin import PngInfo
from sd_parsers import ParserManager


def read(line: str):
    """Return what is read of a picture with this line behind its prompt."""
    text, out = PngInfo(), io.BytesIO()
    text.add_text("parameters", f"a red fox\n{line}")
    Image.new("RGB", (8, 8)).save(out, "PNG", pnginfo=text)
    out.seek(0)
    with Image.open(out) as image:
        return ParserManager().parse(image)


usual = "Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 42, Size: 512x512"
more = 'Aspect ratio: 16:9, Created: 12:30, Lora hashes: "fox: 1a2b, owl: 3c4d"'
found = read(f"{usual}, {more}").metadata
print(f"written: {more}")
print(f"read:    {found}")
plain = read("Model: a, Aspect ratio: 16:9")
print(f"without a sampler: {plain}")
assert found == {"Size": "512x512", "owl": '3c4d"'}, "it changed"
assert plain is None, "it changed"
PY
venv/bin/python check.py
