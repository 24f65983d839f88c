#!/usr/bin/env bash
# A good guess: signing a small picture with content credentials adds the certificates, the claim and a small thumbnail, if
# any: some kilobytes, and never a picture larger than the one that is signed.
#
# What happens: with the library's defaults a thumbnail is put in whose longer side is 1024 pixels, of whatever is signed: a
# picture of 32 x 32 pixels is scaled UP to it, and its file of 0.7 kB becomes one of 48 kB, of noise 96. With
# {"builder": {"thumbnail": {"enabled": false}}} in the settings the same file gets 3.8 kB.
#
# Seen with c2pa-python 0.38.1 (c2pa-rs 0.91.3) on 2026-11-27.
#
# Why it matters here: a signed result may be several times as large as its picture, which counts for what fits into an
# answer, and it carries a second picture that is not gone when the first is cropped.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q c2pa-python==0.38.1 cryptography==50.0.2 pillow==13.0.0
cat >check.py <<'PY'
import datetime as dt
import io
import json

import c2pa
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from PIL import Image

NOW, DAY = dt.datetime.now(dt.UTC), dt.timedelta(days=1)


def certificate(name, key, issuer, issuer_key):
    """Return a certificate; without an issuer, one that signs others."""
    attributes = [(NameOID.ORGANIZATION_NAME, "A Studio"), (NameOID.COMMON_NAME, name)]
    subject = x509.Name([x509.NameAttribute(oid, text) for oid, text in attributes])
    root = issuer is None
    uses = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only", "decipher_only"),
        False,
    )
    usage = x509.KeyUsage(digital_signature=not root, key_cert_sign=root, crl_sign=root, **uses)
    own, other = key.public_key(), issuer_key.public_key()
    builder = x509.CertificateBuilder(
        issuer_name=subject if root else issuer.subject,
        subject_name=subject,
        public_key=own,
        serial_number=x509.random_serial_number(),
        not_valid_before=NOW - DAY,
        not_valid_after=NOW + 30 * DAY,
    )
    builder = builder.add_extension(x509.BasicConstraints(ca=root, path_length=None), critical=True)
    builder = builder.add_extension(usage, critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(own), critical=False)
    builder = builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(other), critical=False)
    if not root:
        purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
        builder = builder.add_extension(purpose, critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
root = certificate("Root", keys[0], None, keys[0])
chain = [certificate("Ada", keys[1], root, keys[0]), root]
secret = keys[1].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
pem = b"".join(one.public_bytes(Encoding.PEM) for one in chain)
signer = c2pa.Signer.from_info(c2pa.C2paSignerInfo(b"es256", pem, secret, None))
source = "http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture"
action = {"action": "c2pa.created", "digitalSourceType": source}
manifest = {"assertions": [{"label": "c2pa.actions", "data": {"actions": [action]}}]}
plain = io.BytesIO()
Image.linear_gradient("L").resize((32, 32)).convert("RGB").save(plain, "JPEG")


def sign(settings):
    """Return the signed file, and the size of the thumbnail in it."""
    context = c2pa.Context(c2pa.Settings.from_dict(settings))
    signed = io.BytesIO()
    builder = c2pa.Builder.from_json(json.dumps(manifest), context=context)
    builder.sign(signer, "image/jpeg", io.BytesIO(plain.getvalue()), signed)
    reader = c2pa.Reader("image/jpeg", io.BytesIO(signed.getvalue()))
    found = json.loads(reader.json())
    thumbnail = found["manifests"][found["active_manifest"]].get("thumbnail")
    if thumbnail is None:
        return len(signed.getvalue()), None
    out = io.BytesIO()
    reader.resource_to_stream(thumbnail["identifier"], out)
    out.seek(0)
    return len(signed.getvalue()), Image.open(out).size


usual = sign({"verify": {"verify_trust": True}})
without = sign({"builder": {"thumbnail": {"enabled": False}}})
print(f"a picture of 32 x 32 pixels in {len(plain.getvalue())} bytes")
print(f"signed as usual:    {usual[0]} bytes, thumbnail {usual[1]}")
print(f"without thumbnails: {without[0]} bytes, thumbnail {without[1]}")
assert usual[1] == (1024, 1024), "it changed"
assert without[1] is None and without[0] * 1.5 < usual[0], "it changed"
PY
venv/bin/python check.py
