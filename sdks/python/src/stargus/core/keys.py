"""
Private keys as JWKs, and what is signed by them (docs/IDENTITIES.md, docs/API.md Access): logins, and proofs that a token's owner has its key.

The algorithm follows from the kind of the key: Ed25519, P-256, or RSA of 2048 to 4096 bits. Times are the server's, and are given.
"""

from __future__ import annotations

import base64
import json
import secrets
import uuid
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from ..errors import LoginFailed

_LOGIN_S = 60


def base64url(data: bytes) -> str:
    """Without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def from_base64url(text: str) -> bytes:
    """Raises ValueError."""
    return base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))


class SigningKey:
    """A private key that signs."""

    def __init__(self, jwk: Mapping[str, Any]) -> None:
        """Raises LoginFailed for what is no private key of one of the three kinds."""
        try:
            self._key, self.algorithm, self.public = _read(jwk)
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            raise LoginFailed("That is no private key: it must be a JWK of Ed25519, P-256 or RSA with its private members.") from error
        text = json.dumps(self.public, separators=(",", ":"), sort_keys=True)
        #: The RFC 7638 thumbprint, which is the key's name.
        self.thumbprint = base64url(sha256(text.encode()).digest())

    def __repr__(self) -> str:
        return f"SigningKey({self.algorithm}, {self.thumbprint})"

    def sign(self, data: bytes) -> bytes:
        """The signature, in the form of JWS."""
        key = self._key
        if isinstance(key, ed25519.Ed25519PrivateKey):
            return key.sign(data)
        if isinstance(key, ec.EllipticCurvePrivateKey):
            r, s = decode_dss_signature(key.sign(data, ec.ECDSA(hashes.SHA256())))
            return r.to_bytes(32, "big") + s.to_bytes(32, "big")
        return key.sign(data, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())

    def jws(self, header: Mapping[str, Any], claims: Mapping[str, Any]) -> str:
        """A compact JWS."""
        head = base64url(json.dumps({**header, "alg": self.algorithm}, separators=(",", ":")).encode())
        body = base64url(json.dumps(claims, separators=(",", ":"), ensure_ascii=False).encode())
        return f"{head}.{body}.{base64url(self.sign(f'{head}.{body}'.encode('ascii')))}"


def new_key() -> SigningKey:
    """A key pair for one login, which never leaves this process."""
    key = ed25519.Ed25519PrivateKey.generate()
    return SigningKey(
        {
            "kty": "OKP",
            "crv": "Ed25519",
            "d": base64url(key.private_bytes_raw()),
            "x": base64url(key.public_key().public_bytes_raw()),
        }
    )


def login_assertion(key: SigningKey, *, account: str, audience: str, nonce: str, now: int, bound_to: SigningKey | None) -> str:
    """What is signed to log in. `now` is the server's time in seconds."""
    claims: dict[str, Any] = {
        "iss": account,
        "sub": account,
        "aud": audience,
        "nonce": nonce,
        "jti": str(uuid.uuid4()),
        "iat": now,
        "exp": now + _LOGIN_S,
    }
    if bound_to is not None:
        claims["cnf"] = {"jkt": bound_to.thumbprint}
    return key.jws({"typ": "stargus-login+jwt", "kid": key.thumbprint}, claims)


def possession_proof(key: SigningKey, *, method: str, url: str, now: int, token: str | None) -> str:
    """Proves with one request that its sender has the key (DPoP, RFC 9449). `url` without its query."""
    claims: dict[str, Any] = {"jti": secrets.token_urlsafe(16), "htm": method, "htu": url, "iat": now}
    if token is not None:
        claims["ath"] = base64url(sha256(token.encode()).digest())
    return key.jws({"typ": "dpop+jwt", "jwk": key.public}, claims)


_Private = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def _read(jwk: Mapping[str, Any]) -> tuple[_Private, str, dict[str, str]]:
    if jwk["kty"] == "OKP" and jwk["crv"] == "Ed25519":
        edwards = ed25519.Ed25519PrivateKey.from_private_bytes(from_base64url(jwk["d"]))
        return edwards, "EdDSA", {"crv": "Ed25519", "kty": "OKP", "x": base64url(edwards.public_key().public_bytes_raw())}
    if jwk["kty"] == "EC" and jwk["crv"] == "P-256":
        curve = ec.derive_private_key(_number(jwk["d"]), ec.SECP256R1())
        place = curve.public_key().public_numbers()
        x, y = (base64url(part.to_bytes(32, "big")) for part in (place.x, place.y))
        return curve, "ES256", {"crv": "P-256", "kty": "EC", "x": x, "y": y}
    if jwk["kty"] == "RSA":
        public = rsa.RSAPublicNumbers(_number(jwk["e"]), _number(jwk["n"]))
        p, q, d = _number(jwk["p"]), _number(jwk["q"]), _number(jwk["d"])
        numbers = rsa.RSAPrivateNumbers(p, q, d, rsa.rsa_crt_dmp1(d, p), rsa.rsa_crt_dmq1(d, q), rsa.rsa_crt_iqmp(p, q), public)
        key = numbers.private_key()
        if not 2048 <= key.key_size <= 4096:
            raise ValueError("An RSA key has 2048 to 4096 bits.")
        return key, "PS256", {"e": jwk["e"], "kty": "RSA", "n": jwk["n"]}
    raise ValueError("A key of another kind.")


def _number(text: str) -> int:
    return int.from_bytes(from_base64url(text), "big")
