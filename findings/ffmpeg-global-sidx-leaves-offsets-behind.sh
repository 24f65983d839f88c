#!/usr/bin/env bash
# A good guess: movflags +global_sidx puts one index in front of a fragmented MP4 and moves what is behind it, as
# +faststart does, with all places in the file put right.
#
# What happens: without +default_base_moof beside it the index is put in and everything moves, but the fragments still
# say where their samples were before (tfhd's base_data_offset). The file is written without a warning, opens, tells the
# right length and codec, and not one frame of it can be decoded. With +default_base_moof (or +dash, which implies it)
# the places are relative to the fragment and all is well.
#
# Seen with PyAV 18.1.0 (FFmpeg 8.1.2) on 2026-11-27.
#
# Why it matters here: a clip can have a perfect header and index and hold nothing that a decoder takes, so a length is
# no proof that there is a last frame to go on from.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q av==18.1.0 pillow==13.0.0
cat >check.py <<'PY'
import av
from PIL import Image


def decoded(flags: str) -> tuple[float, int]:
    """Write two seconds; return the length that the file tells, and how many frames come out."""
    with av.open("clip.mp4", "w", options={"movflags": flags}) as clip:
        stream = clip.add_stream("libx264", rate=24, options={"g": "12", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for index in range(48):
            picture = Image.new("RGB", (96, 64), (5 * index, 0, 0))
            clip.mux(stream.encode(av.VideoFrame.from_image(picture)))
        clip.mux(stream.encode())
    frames = 0
    with av.open("clip.mp4") as clip:
        seconds = clip.duration / 1_000_000
        try:
            for _ in clip.decode(video=0):
                frames += 1
        except av.error.InvalidDataError as error:
            print("   ", error.strerror)
    return seconds, frames


found = {}
for more in ("", "+global_sidx", "+global_sidx+default_base_moof", "+global_sidx+dash"):
    found[more] = decoded("+frag_keyframe+empty_moov" + more)
    print(f"{more or 'no index':>32}: {found[more][0]:.1f} s, {found[more][1]} frames")
assert [frames for _, frames in found.values()] == [48, 0, 48, 48], "it changed"
assert all(round(seconds, 1) == 2.0 for seconds, _ in found.values()), "it changed"
PY
venv/bin/python check.py
