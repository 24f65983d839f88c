#!/usr/bin/env bash
# A good guess: a tag reader's length of an MP4 is the length of the clip; where it cannot know, it says 0 or nothing.
#
# What happens: a clip of 5 s that was written in fragments (the first of which stands in the header, as many recorders
# do it) is 1 s long for hachoir, tinytag and mutagen, without a word. All three read the header, which was true when it
# was written and speaks of the first fragment. PyAV and MediaInfo count all five.
#
# Seen with hachoir 3.4.0, tinytag 2.3.2, mutagen 1.48.1, PyAV 18.1.0 and pymediainfo 7.0.1 on 2026-11-27.
#
# Why it matters here: a continuation is paid by the seconds of its clip, so a length is counted over all fragments.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q hachoir==3.4.0 tinytag==2.3.2 mutagen==1.48.1 av==18.1.0 pillow==13.0.0 pymediainfo==7.0.1
cat >check.py <<'PY'
import av
from hachoir.metadata import extractMetadata
from hachoir.parser import createParser
from mutagen.mp4 import MP4
from PIL import Image
from pymediainfo import MediaInfo
from tinytag import TinyTag

with av.open("clip.mp4", "w", options={"movflags": "+frag_keyframe"}) as clip:
    stream = clip.add_stream("libx264", rate=24, options={"g": "24", "preset": "ultrafast"})
    stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
    for index in range(5 * 24):
        picture = Image.new("RGB", (96, 64), (2 * index, 0, 0))
        clip.mux(stream.encode(av.VideoFrame.from_image(picture)))
    clip.mux(stream.encode())

with av.open("clip.mp4") as clip:
    frames = sum(1 for _ in clip.decode(video=0))
found = {
    "hachoir": extractMetadata(createParser("clip.mp4")).get("duration").total_seconds(),
    "tinytag": TinyTag.get("clip.mp4").duration,
    "mutagen": MP4("clip.mp4").info.length,
    "MediaInfo": float(MediaInfo.parse("clip.mp4").general_tracks[0].duration) / 1000,
    "PyAV, all frames": frames / 24,
}
for name, seconds in found.items():
    print(f"{name:>16}: {seconds:.1f} s")
assert [round(seconds, 1) for seconds in found.values()] == [1.0, 1.0, 1.0, 5.0, 5.0], "it changed"
PY
venv/bin/python check.py
