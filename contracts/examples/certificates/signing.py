"""The issuer's key and its proofs: W3C Data Integrity, eddsa-jcs-2022; the key is its own name (did:key)."""

import os
from hashlib import sha256
from pathlib import Path
from typing import Any

import rfc8785
from base58 import b58encode
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

ED25519_PUBLIC = b"\xed\x01"
"""Multicodec: what follows is such a key."""
ONLY_MINE = 0o600
Json = dict[str, Any]


class Signer:
    """Signs with one key."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self._name = f"z{b58encode(ED25519_PUBLIC + public).decode()}"

    @property
    def id(self) -> str:
        """The issuer's DID."""
        return f"did:key:{self._name}"

    def signed(self, document: Json, created: str) -> Json:
        """The document with its proof. `created`: RFC 3339."""
        proof = {
            "@context": document["@context"],
            "type": "DataIntegrityProof",
            "cryptosuite": "eddsa-jcs-2022",
            "created": created,
            "verificationMethod": f"{self.id}#{self._name}",
            "proofPurpose": "assertionMethod",
        }
        hashes = sha256(rfc8785.dumps(proof)).digest() + sha256(rfc8785.dumps(document)).digest()
        return {**document, "proof": {**proof, "proofValue": f"z{b58encode(self._key.sign(hashes)).decode()}"}}


def load_signer(path: Path) -> Signer:
    """The key in this file; made where there is none. Raises OSError, ValueError where it is no such key."""
    if not path.exists():
        made = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        part = path.with_suffix(".part")
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, ONLY_MINE), "wb") as file:
            file.write(made)
            file.flush()
            os.fsync(file.fileno())
        part.rename(path)
    key = load_pem_private_key(path.read_bytes(), None)
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError(f"{path}: is no Ed25519 key")
    return Signer(key)
