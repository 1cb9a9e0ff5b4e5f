"""Verifies what a notifier sent (docs/NOTIFIERS.md; Standard Webhooks 1.0). Pure: the time is given."""

from __future__ import annotations

import base64
import binascii
import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from ..errors import ProtocolError, SignatureInvalid
from ..items import Commit
from ..limits import WEBHOOK_AGE_MAX

_PUBLIC = "whpk_"
_SECRET = "whsec_"


@dataclass(frozen=True, slots=True)
class WebhookEvent:
    """A CloudEvent 1.0 that a notifier sent."""

    #: The same in each repetition: by it one knows what one had already.
    id: str
    #: `stargus.change`, or another one of docs/NOTIFIERS.md.
    type: str
    source: str
    #: RFC 3339, UTC.
    time: str
    #: What it is about: a commit for the type `stargus.change`.
    data: Any
    #: All members, as they came.
    members: Mapping[str, Any]

    def commit(self) -> Commit:
        """The commit that an event of the type `stargus.change` tells of. Raises ProtocolError for another one."""
        data = self.data
        try:
            return Commit(
                data["revision"], str(data.get("cursor", "")), str(data.get("time", "")), str(data.get("subject", "")), tuple(data["changes"])
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ProtocolError(f"The event of type {self.type} tells of no commit.") from error


def verified_event(secret: str, headers: Mapping[str, str], body: bytes, now: float) -> WebhookEvent:
    """As `stargus.verify_webhook`, at the time `now` (seconds since 1970)."""
    given = {str(name).lower(): value for name, value in headers.items()}
    message_id, at, signatures = (given.get(name) for name in ("webhook-id", "webhook-timestamp", "webhook-signature"))
    if not message_id or not at or not signatures:
        raise SignatureInvalid("webhook-id, webhook-timestamp or webhook-signature is missing.")
    if not (at.isascii() and at.isdigit() and len(at) <= 12):
        raise SignatureInvalid("webhook-timestamp isn't a time in seconds since 1970.")
    is_by = _judge_of(secret)
    message = f"{message_id}.{at}.".encode() + body
    # All are looked at, so that the time tells nothing of which was right.
    if not any([is_by(*_parts(one), message) for one in signatures.split()]):
        raise SignatureInvalid("No signature is by this secret: it is another one, or the body isn't as it was sent.")
    # Only now, so that nobody learns of the clock without a secret.
    if abs(now - int(at)) > WEBHOOK_AGE_MAX:
        raise SignatureInvalid("webhook-timestamp is more than five minutes off: the event is old, or a clock is wrong.")
    try:
        event = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ProtocolError("The body is signed, and is no JSON.") from error
    if not isinstance(event, dict):
        raise ProtocolError("The body is signed, and is no CloudEvent.")
    named = str(event.get("id") or message_id)
    return WebhookEvent(named, str(event.get("type", "")), str(event.get("source", "")), str(event.get("time", "")), event.get("data"), event)


def _parts(signature: str) -> tuple[str, bytes]:
    version, _, text = signature.partition(",")
    try:
        return version, base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return version, b""


def _judge_of(secret: str) -> Callable[[str, bytes, bytes], bool]:
    try:
        if secret.startswith(_PUBLIC):
            public = Ed25519PublicKey.from_public_bytes(base64.b64decode(secret[len(_PUBLIC):], validate=True))
            return lambda version, signature, message: version == "v1a" and _is_signed(public, signature, message)
        key = base64.b64decode(secret.removeprefix(_SECRET), validate=True)
        if not key:
            raise ValueError
    except (binascii.Error, ValueError) as error:
        raise SignatureInvalid("The secret isn't whsec_ (or whpk_) and base64.") from error
    return lambda version, signature, message: hmac.compare_digest(hmac.digest(key, message, "sha256"), signature) and version == "v1"


def _is_signed(public: Ed25519PublicKey, signature: bytes, message: bytes) -> bool:
    try:
        public.verify(signature, message)
        return True
    except InvalidSignature:
        return False
