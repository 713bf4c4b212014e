"""Tokens that etcd signs and does not remember."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

__all__ = ["jwt"]


def jwt(folder: Path, *, ttl: int) -> str:
    """What `--auth-token` takes, with keys made in a folder; `ttl` is in seconds."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private, public = folder / "private.pem", folder / "public.pem"
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return f"jwt,pub-key={public},priv-key={private},sign-method=RS256,ttl={ttl}s"
