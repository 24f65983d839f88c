#!/usr/bin/env bash
# A good guess: reformat(dst_color_trc=..., dst_color_primaries=...) writes two tags onto the new frame. PyAV's own words for
# the first: "This sets frame metadata only; it does not perform a pixel-level transfer function conversion."
#
# What happens: the pixels are converted, from the colours that the source frame is tagged with (BT.2020 and PQ to sRGB, say),
# rightly up to white and cut off above it. And it takes FFmpeg's scaler seconds of processor time for each frame, although
# it has 64 x 64 pixels: thousands of times longer than without.
#
# Seen with PyAV 18.1.0 (FFmpeg 8.1.2) on 2026-11-27.
#
# Why it matters here: who only wants the tag gets other pixels, and a contact sheet of six frames takes as long as a film.
# An ICC profile made of the tags and Pillow's ImageCms give the same colours in a millisecond.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q av==18.1.0
cat >check.py <<'PY'
import time

import av

BT2020, PQ, BT709, SRGB = 9, 16, 1, 13
frame = av.VideoFrame(64, 64, "yuv420p10le")
for plane, value in zip(frame.planes, (509, 512, 512)):  # PQ for 100 candelas per square metre, grey
    plane.update(value.to_bytes(2, "little") * (plane.buffer_size // 2))
frame.colorspace, frame.color_range, frame.color_primaries, frame.color_trc = BT2020, 1, BT2020, PQ


def timed(**tags):
    began = time.process_time()
    made = frame.reformat(format="rgb24", **tags)
    return bytes(made.planes[0])[0], time.process_time() - began, made.color_trc


timed()  # what is made once
grey, short, trc = timed()
tagged, long, new = timed(dst_color_trc=SRGB, dst_color_primaries=BT709)
print(f"as it is:    {grey}, transfer {trc}, {short * 1000:.1f} ms")
print(f"with a tag:  {tagged}, transfer {new}, {long * 1000:.1f} ms")
assert abs(grey - 127) < 4 and abs(tagged - 186) < 4 and new == SRGB, "it changed"
assert long > 20 * short, "it is fast now"
PY
venv/bin/python check.py
