#!/usr/bin/env bash
# A good guess: a file for which the C2PA library's validator says "Valid" was signed by somebody who is on a list.
#
# What happens: "Valid" says that file, claim and signature fit together. Any key that was made a second ago, with any name
# in its certificate, gives it, for a picture from anywhere; that nobody trusts the signer stands only among the codes
# (signingCredential.untrusted). On a list would be "Trusted"; a changed bit is "Invalid".
#
# Seen with c2pa-python 0.38.1 (c2pa-rs 0.91.3) on 2026-11-27.
#
# Why it matters here: the record tells the validator's words together with its codes and the name, and judges nothing.
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
    attributes = [(NameOID.ORGANIZATION_NAME, "A Famous Studio"), (NameOID.COMMON_NAME, name)]
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
root = certificate("Root of Nobody", keys[0], None, keys[0])
chain = [certificate("Somebody Famous", keys[1], root, keys[0]), root]
secret = keys[1].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
pem = b"".join(one.public_bytes(Encoding.PEM) for one in chain)
signer = c2pa.Signer.from_info(c2pa.C2paSignerInfo(b"es256", pem, secret, None))
source = "http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture"
action = {"action": "c2pa.created", "digitalSourceType": source}
manifest = {"assertions": [{"label": "c2pa.actions", "data": {"actions": [action]}}]}
plain, signed = io.BytesIO(), io.BytesIO()
Image.linear_gradient("L").convert("RGB").save(plain, "PNG")
plain.seek(0)
c2pa.Builder.from_json(json.dumps(manifest)).sign(signer, "image/png", plain, signed)


def told(data):
    """Return the validator's word and codes, and the name."""
    found = json.loads(c2pa.Reader("image/png", io.BytesIO(data)).json())
    codes = [status["code"] for status in found.get("validation_status", [])]
    name = found["manifests"][found["active_manifest"]]["signature_info"]["common_name"]
    return found["validation_state"], codes, name


data = signed.getvalue()
spoilt = bytearray(data)
spoilt[-30] ^= 1
for what, picture in {"as it was signed": data, "one bit changed": bytes(spoilt)}.items():
    print(f"{what}: {told(picture)}")
assert told(data) == ("Valid", ["signingCredential.untrusted"], "Somebody Famous"), "it changed"
assert told(bytes(spoilt))[0] == "Invalid", "it changed"
PY
venv/bin/python check.py
