"""Webhooks: is what came really from the notifier?"""

from __future__ import annotations

import time
from collections.abc import Mapping

from .core.webhooks import WebhookEvent, verified_event

__all__ = ["WebhookEvent", "verify_webhook"]


def verify_webhook(secret: str, headers: Mapping[str, str], body: bytes | str, *, now: float | None = None) -> WebhookEvent:
    """
    The event, where it is signed by `secret` (`whsec_…`), or by the private half of a public key (`whpk_…`), within the last or next five minutes.

    `headers` may have their names in any case. `body` is the bytes as they came: JSON that was parsed and written again isn't what was signed.
    `now` is seconds since 1970, the system's time where it isn't given. Raises SignatureInvalid, which says what is wrong.
    """
    return verified_event(secret, headers, body.encode() if isinstance(body, str) else body, time.time() if now is None else now)
