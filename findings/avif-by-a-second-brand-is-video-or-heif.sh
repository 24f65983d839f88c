#!/usr/bin/env bash
# A good guess: an AVIF is told as AVIF, or at least as a picture, by what names types by their first bytes.
#
# What happens: an AVIF may have the general major brand "mif1" and name "avif" among its compatible brands (the
# specification allows it, Pillow and browsers open it). puremagic then says video/mp4, npm file-type image/heif, and
# filetype gets it right; with "msf1" and "avis", an AVIF that moves, puremagic and filetype say nothing and file-type
# image/heif-sequence. All three call an MP4 in which there is only sound video/mp4.
#
# Seen with puremagic 1.30, filetype 1.2.0 and npm file-type 21.3.4 on 2026-11-27.
#
# Why it matters here: what a result is decides whether it is kept and by which name, so all brands count, and for clips
# the tracks.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q puremagic==1.30 filetype==1.2.0 pillow==13.0.0 av==18.1.0
npm init -y >npm.log
npm install --silent --no-fund --no-audit file-type@21.3.4 >>npm.log
cat >make.py <<'PY'
import io
from pathlib import Path

import av
from PIL import Image


def branded(data: bytes, major: bytes, *compatible: bytes) -> bytes:
    """Return an ISO file with other brands."""
    content = b"ftyp" + major + bytes(4) + b"".join(compatible)
    return (len(content) + 4).to_bytes(4, "big") + content + data[int.from_bytes(data[:4], "big") :]


still, moving = io.BytesIO(), io.BytesIO()
picture = Image.linear_gradient("L").resize((64, 48)).convert("RGB")
picture.save(still, "AVIF")
picture.save(moving, "AVIF", save_all=True, append_images=[Image.new("RGB", (64, 48))])
Path("avif").write_bytes(still.getvalue())
Path("avif-mif1").write_bytes(branded(still.getvalue(), b"mif1", b"mif1", b"avif", b"miaf"))
Path("avif-msf1").write_bytes(branded(moving.getvalue(), b"msf1", b"msf1", b"avis"))
with Image.open("avif-mif1") as opened:
    assert opened.format == "AVIF"
with av.open("sound", "w", format="mp4") as target:
    stream = target.add_stream("aac", rate=48_000, layout="mono")
    for index in range(30):
        silence = av.AudioFrame(format="fltp", layout="mono", samples=1024)
        silence.planes[0].update(bytes(silence.planes[0].buffer_size))
        silence.sample_rate, silence.pts = 48_000, index * 1024
        target.mux(stream.encode(silence))
    target.mux(stream.encode(None))
PY
cat >check.py <<'PY'
from pathlib import Path

import filetype
import puremagic

for name in ("avif", "avif-mif1", "avif-msf1", "sound"):
    data = Path(name).read_bytes()
    guess = filetype.guess(data)
    try:
        magic = puremagic.from_string(data, mime=True)
    except puremagic.PureError:
        magic = None
    print(f"{name} puremagic={magic or None} filetype={guess and guess.mime}")
PY
cat >check.mjs <<'JS'
import { readFileSync } from "node:fs";
import { fileTypeFromBuffer } from "file-type";
for (const name of ["avif", "avif-mif1", "avif-msf1", "sound"]) {
  console.log(`${name} file-type=${(await fileTypeFromBuffer(readFileSync(name)))?.mime}`);
}
JS
venv/bin/python make.py
{ venv/bin/python check.py; node check.mjs; } | tee found
diff found - <<'TXT' || { echo "it changed"; exit 1; }
avif puremagic=image/avif filetype=image/avif
avif-mif1 puremagic=video/mp4 filetype=image/avif
avif-msf1 puremagic=None filetype=None
sound puremagic=video/mp4 filetype=video/mp4
avif file-type=image/avif
avif-mif1 file-type=image/heif
avif-msf1 file-type=image/heif-sequence
sound file-type=video/mp4
TXT
