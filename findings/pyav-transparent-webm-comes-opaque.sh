#!/usr/bin/env bash
# A good guess: a VP9 clip with an alpha channel, which PyAV writes as yuva420p and marks in its track, is yuva420p when
# PyAV reads it again.
#
# What happens: it comes as yuv420p, opaque, and what was transparent is black or whatever colour lies beneath; nothing is
# said. FFmpeg's own VP9 decoder, which is the one that is chosen, does not read the alpha that stands beside each block.
# A decoder of libvpx, made by hand and given the same packets, gives yuva420p.
#
# Seen with PyAV 18.1.0 (FFmpeg 8.1.2) on 2026-11-27.
#
# Why it matters here: a clip with a clear ground is shown and continued with a black one, if nobody asks the track.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q av==18.1.0
cat >check.py <<'PY'
from fractions import Fraction

import av

with av.open("clip.webm", "w") as clip:
    stream = clip.add_stream("libvpx-vp9", rate=24)
    stream.width, stream.height, stream.pix_fmt = 64, 48, "yuva420p"
    clear = av.VideoFrame(64, 48, "rgba")
    clear.planes[0].update(bytes(clear.planes[0].buffer_size))
    for index in range(3):
        frame = clear.reformat(format="yuva420p")
        frame.pts, frame.time_base = index, Fraction(1, 24)
        clip.mux(stream.encode(frame))
    clip.mux(stream.encode())

with av.open("clip.webm") as clip:
    stream = clip.streams.video[0]
    marked = stream.metadata.get("alpha_mode")
    usual = next(clip.decode(stream)).format.name
with av.open("clip.webm") as clip:
    decoder = av.CodecContext.create("libvpx-vp9", "r")
    packets = clip.demux(clip.streams.video[0])
    own = next(frame for packet in packets for frame in decoder.decode(packet)).format.name
print(f"the track says alpha_mode={marked}")
print(f"as PyAV decodes it: {usual}")
print(f"by libvpx's decoder: {own}")
assert (marked, usual, own) == ("1", "yuv420p", "yuva420p"), "it changed"
PY
venv/bin/python check.py
