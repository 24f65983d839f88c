#!/usr/bin/env bash
# A good guess: ImageStat.Stat(image).mean is the mean of the pixels, for whatever mode it takes.
#
# What happens: it takes modes F (fractions), I (whole numbers) and I;16 (16-bit grey) without a word, and counts them by
# a histogram of 256 steps that are numbered from 0 to 255, whatever range they stand for. So the mean of 0, 0.1, 0.2 and
# 0.9 is 84.75, and that of 16-bit values around 15,750 is below 70. Scaling to one pixel with a box filter gives the mean.
#
# Seen with Pillow 13.0.0 on 2026-11-27.
#
# Why it matters here: how alike two pictures are (SSIM) is a mean of fractions; by ImageStat it is a number without sense
# that can pass for one.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q pillow==13.0.0
cat >check.py <<'PY'
from PIL import Image, ImageStat

CASES = {"L": [0, 10, 20, 90], "F": [0.0, 0.1, 0.2, 0.9], "I": [0, 1000, 2000, 60000], "I;16": [0, 1000, 2000, 60000]}
told = {}
for mode, values in CASES.items():
    image = Image.new(mode, (4, 1))
    for place, value in enumerate(values):
        image.putpixel((place, 0), value)
    told[mode] = ImageStat.Stat(image).mean[0]
    print(f"{mode:>5}: ImageStat says {told[mode]:g}, it is {sum(values) / 4:g}")
    if mode == "F":
        print(f"{'':>5}  one pixel by box: {image.resize((1, 1), Image.Resampling.BOX).getpixel((0, 0)):g}")
assert told == {"L": 30.0, "F": 84.75, "I": 66.75, "I;16": 58.75}, "it changed"
PY
venv/bin/python check.py
