"""
Opens an envelope (docs/IDENTITIES.md, Envelopes): the private key of an account, sealed by a passphrase and by a recovery code.

An envelope that asks for more than this machine should give, or for less than makes guessing dear, is refused before anything is derived.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ..errors import LoginFailed
from ..limits import (
    ENVELOPE_BYTES_MAX,
    KDF_MEMORY_KIB,
    KDF_MEMORY_KIB_MAX,
    KDF_PARALLELISM,
    KDF_PARALLELISM_MAX,
    KDF_PASSES,
    KDF_PASSES_MAX,
)
from .keys import base64url, from_base64url

_TYPE = "stargus-envelope+jwe"
_SALT_BYTES = 16


@dataclass(frozen=True, slots=True)
class Derivation:
    """How a secret is made into keys."""

    memory_kib: int
    passes: int
    parallelism: int
    salt: bytes


@dataclass(frozen=True, slots=True)
class Derived:
    """What opens the envelope, and what proves to its guard that one can."""

    opening: bytes
    proof: str


def derivation_of(kdf: object) -> Derivation:
    """What a server or an envelope says of a way. Raises LoginFailed where it asks for too little or too much."""
    try:
        if not isinstance(kdf, Mapping) or kdf["name"] != "argon2id":
            raise ValueError
        given = Derivation(_whole(kdf["memoryKiB"]), _whole(kdf["passes"]), _whole(kdf["parallelism"]), from_base64url(kdf["salt"]))
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise LoginFailed("The envelope's keys are derived in a way that isn't known here.") from error
    if given.memory_kib < KDF_MEMORY_KIB or given.passes < KDF_PASSES or given.parallelism < KDF_PARALLELISM or len(given.salt) < _SALT_BYTES:
        raise LoginFailed("The server asks for a derivation that is cheap to guess by. It is refused: the passphrase isn't safe there.")
    if given.memory_kib > KDF_MEMORY_KIB_MAX or given.passes > KDF_PASSES_MAX or given.parallelism > KDF_PARALLELISM_MAX or len(given.salt) > 64:
        raise LoginFailed("The server asks for a derivation that is dearer than the format allows. It is refused.")
    return given


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError
    return value


def normal_code(code: str) -> str:
    """A recovery code as it is derived from, however it was typed."""
    return re.sub(r"[IL]", "1", re.sub(r"[\s-]", "", code.upper()).replace("O", "0"))


def derive(account: str, way: str, secret: str, derivation: Derivation) -> Derived:
    """The keys of a way. Takes a fifth of a second and 64 MiB: that is what a guess costs."""
    seed = Argon2id(
        salt=derivation.salt,
        length=64,
        iterations=derivation.passes,
        lanes=derivation.parallelism,
        memory_cost=derivation.memory_kib,
    ).derive(unicodedata.normalize("NFKC", secret).encode())

    def part(use: str) -> bytes:
        info = f"stargus envelope {use} {way} {account}".encode()
        return HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=info).derive(seed)

    return Derived(part("open"), base64url(part("prove")))


def read_derivation(text: str, account: str, way: str) -> Derivation:
    """How an envelope says that its keys are derived."""
    return derivation_of(_recipient(_read(text, account), way)["header"].get("kdf"))


def open_envelope(text: str, account: str, way: str, opening: bytes) -> Mapping[str, Any]:
    """The private JWK in it. Raises LoginFailed when the secret is another one, or the envelope was altered."""
    envelope = _read(text, account)
    recipient = _recipient(envelope, way)
    header = recipient["header"]
    derivation_of(header.get("kdf"))
    try:
        content_key = AESGCM(opening).decrypt(
            from_base64url(header["iv"]), from_base64url(recipient["encrypted_key"]) + from_base64url(header["tag"]), None
        )
        plain = AESGCM(content_key).decrypt(
            from_base64url(envelope["iv"]),
            from_base64url(envelope["ciphertext"]) + from_base64url(envelope["tag"]),
            envelope["protected"].encode("ascii"),
        )
        jwk = json.loads(plain)
        if not isinstance(jwk, dict):
            raise ValueError
        return jwk
    except (InvalidTag, KeyError, ValueError, TypeError, AttributeError) as error:
        raise LoginFailed("The envelope does not open: the secret is another one, or the envelope was altered.") from error


def _read(text: str, account: str) -> Mapping[str, Any]:
    if len(text.encode("utf-8", "surrogatepass")) > ENVELOPE_BYTES_MAX:
        raise LoginFailed(f"An envelope has at most {ENVELOPE_BYTES_MAX} bytes.")
    try:
        envelope = json.loads(text)
        head = json.loads(from_base64url(envelope["protected"]))
        if head["typ"] != _TYPE or head["enc"] != "A256GCM" or not isinstance(envelope["recipients"], list):
            raise ValueError
        owner = head["account"]
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise LoginFailed("What the server gave is no envelope.") from error
    if owner != account:
        raise LoginFailed("The envelope is of another account.")
    return envelope  # type: ignore[no-any-return]


def _recipient(envelope: Mapping[str, Any], way: str) -> Mapping[str, Any]:
    for recipient in envelope["recipients"]:
        header = recipient.get("header") if isinstance(recipient, dict) else None
        if isinstance(header, dict) and header.get("kid") == way and header.get("alg") == "A256GCMKW":
            return recipient  # type: ignore[no-any-return]
    raise LoginFailed(f"The envelope can't be opened by {way}.")
