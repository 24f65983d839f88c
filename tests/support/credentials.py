"""Signing pictures and clips with content credentials (C2PA), by a signer of the test's own."""

import datetime as dt
import json
from io import BytesIO
from typing import Any

import c2pa
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_MANIFEST = {
    "claim_generator_info": [{"name": "a model", "version": "1"}],
    "assertions": [
        {
            "label": "c2pa.actions",
            "data": {
                "actions": [
                    {
                        "action": "c2pa.created",
                        "digitalSourceType": "http://cv.iptc.org/newscodes/digitalsourcetype/"
                        "trainedAlgorithmicMedia",
                    }
                ]
            },
        }
    ],
}


def _certificate(name: str, key: Any, issuer: x509.Certificate | None, issuer_key: Any) -> Any:
    """Return a certificate as C2PA asks for it; without an issuer, one that signs others."""
    named = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Studio Ada"),
            x509.NameAttribute(NameOID.COMMON_NAME, name),
        ]
    )
    now, day = dt.datetime.now(dt.UTC), dt.timedelta(days=1)
    root = issuer is None
    uses = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
         "encipher_only", "decipher_only"), False
    )  # fmt: skip
    usage = x509.KeyUsage(digital_signature=not root, key_cert_sign=root, crl_sign=root, **uses)
    builder = (
        x509.CertificateBuilder()
        .subject_name(named)
        .issuer_name(named if issuer is None else issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - day)
        .not_valid_after(now + 30 * day)
        .add_extension(x509.BasicConstraints(ca=root, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
            critical=False,
        )
    )
    if not root:
        purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
        builder = builder.add_extension(purpose, critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


def sign(data: bytes, mime_type: str) -> bytes:
    """Return a file with content credentials of "Ada", whom nobody has to trust."""
    root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root = _certificate("Root", root_key, None, root_key)
    chain = [_certificate("Ada", key, root, root_key), root]
    pem = b"".join(certificate.public_bytes(Encoding.PEM) for certificate in chain)
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    signer = c2pa.Signer.from_info(c2pa.C2paSignerInfo(b"es256", pem, secret, None))
    out = BytesIO()
    c2pa.Builder.from_json(json.dumps(_MANIFEST)).sign(signer, mime_type, BytesIO(data), out)
    return out.getvalue()


def state(data: bytes, mime_type: str) -> str:
    """Return what the library's validator says of a file."""
    found: str = c2pa.Reader(mime_type, BytesIO(data)).get_validation_state()
    return found
