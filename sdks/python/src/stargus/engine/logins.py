"""
Who asks: a key or token that one has, or a login that is renewed.

A token is renewed when nine tenths of its life are over, and once when a request is refused 401; who comes meanwhile waits for the new one. A
renewal uses the refresh token, once, and logs in anew where that is refused or its answer was lost.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from concurrent.futures import Future
from threading import Thread
from typing import Any, Callable, TypeVar
from urllib.parse import urlsplit

from ..core import envelopes
from ..core.canonical import quoted
from ..core.keys import SigningKey, login_assertion, new_key, possession_proof
from ..core.tokens import ServerTime, Token, token_of
from ..errors import LoginFailed, ProblemError, ProtocolError, Timeout, Unreachable
from .pipeline import Pipeline, parsed
from .ports import NoAnswer, Request, Runtime

T = TypeVar("T")
_JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"


class GivenToken:
    """An API key, or an access token that one already has."""

    def __init__(self, token: str) -> None:
        if not token or not token.isascii() or not token.isprintable() or " " in token:
            raise LoginFailed("That is no token: it must be printable ASCII without blanks.")
        self._headers = {"Authorization": f"Bearer {token}"}

    async def headers(self, method: str, path: str) -> dict[str, str]:
        return self._headers

    async def refused(self, sent: Mapping[str, str], date: str | None) -> bool:
        return False


class Login:
    """A login with a private key."""

    def __init__(self, pipeline: Pipeline, account: str, key: SigningKey, *, one_time: bool, audience: str | None) -> None:
        self._pipeline = pipeline
        self._runtime = pipeline.runtime
        self._account = account
        self._key: SigningKey | None = key
        self._bound_to = new_key() if one_time else None
        self._expected = audience or origin_of(pipeline.url)
        self._audience = self._expected
        self._time = ServerTime()
        self._token: Token | None = None
        self._renewing = self._runtime.mutex()

    async def begin(self) -> None:
        """Logs in. With a one-time key the account's own is forgotten then."""
        self._token = await self._log_in()
        if self._bound_to is not None:
            self._key = None

    async def headers(self, method: str, path: str) -> dict[str, str]:
        token = self._token
        if token is None or self._runtime.now() >= token.renew_at:
            token = await self._renewed(token)
        return self._signed(token, method, path)

    async def refused(self, sent: Mapping[str, str], date: str | None) -> bool:
        if self._bound_to is not None:
            # A proof is refused whose time is wrong, as after this machine slept.
            self._time.told(date, self._runtime.now())
        token = self._token
        if token is not None and sent.get("Authorization") == f"{token.kind} {token.access}":
            await self._renewed(token)
        return True

    def _signed(self, token: Token, method: str, path: str) -> dict[str, str]:
        headers = {"Authorization": f"{token.kind} {token.access}"}
        if self._bound_to is not None:
            headers["DPoP"] = self._proof(method, path, token.access)
        return headers

    def _proof(self, method: str, path: str, token: str | None) -> str:
        assert self._bound_to is not None
        now = self._time.at(self._runtime.now())
        return possession_proof(self._bound_to, method=method, url=f"{self._audience}{path}", now=now, token=token)

    async def _renewed(self, former: Token | None) -> Token:
        async with self._renewing:
            if self._token is not None and self._token is not former:
                return self._token
            token = await self._refresh(former) if former is not None and former.refresh else None
            if token is None:
                token = await self._log_in()
            self._token = token
            return token

    async def _refresh(self, former: Token) -> Token | None:
        try:
            return await self._ask_token({"grantType": "refresh_token", "refreshToken": former.refresh})
        except ProblemError as error:
            if error.status not in (400, 401, 403):
                raise
        except (Unreachable, Timeout):
            # Whether the refresh token was used up isn't known, and a second use would end the login.
            if self._key is None:
                raise
        return None

    async def _log_in(self) -> Token:
        key = self._key
        if key is None:
            raise LoginFailed("The login with a one-time key is over. Call authenticate again.")
        try:
            challenge = await self._challenge()
            nonce, audience = challenge["nonce"], challenge["audience"]
            if audience != self._expected:
                raise LoginFailed(
                    f"{self._pipeline.url} says that it is {audience}. If you know that to be the same server, give audience={audience!r}; "
                    "otherwise somebody may be trying to log in there as you."
                )
            self._audience = audience
            now = self._time.at(self._runtime.now())
            assertion = login_assertion(key, account=self._account, audience=audience, nonce=nonce, now=now, bound_to=self._bound_to)
            return await self._ask_token({"grantType": _JWT_BEARER, "assertion": assertion})
        except ProblemError as error:
            if error.status in (400, 401, 403, 409):
                raise LoginFailed(f"{self._account} couldn't log in: {error.detail}") from error
            raise
        except (KeyError, TypeError) as error:
            raise LoginFailed(f"{self._pipeline.url} gave no challenge.") from error

    async def _challenge(self) -> Any:
        request = Request("POST", "/v1/auth/challenges", {"Content-Type": "application/json"}, b"{}")
        response = await self._pipeline.send(request, is_known=False)
        self._time.told(response.headers.get("date"), self._runtime.now())
        return parsed(response)

    async def _ask_token(self, body: Mapping[str, Any]) -> Token:
        asked_at = self._runtime.now()
        headers = {"Content-Type": "application/json"}
        if self._bound_to is not None:
            headers["DPoP"] = self._proof("POST", "/v1/auth/token", None)
        request = Request("POST", "/v1/auth/token", headers, json.dumps(body).encode())
        response = await self._pipeline.send(request, is_known=False, unsure_is_final=True)
        self._time.told(response.headers.get("date"), self._runtime.now())
        return token_of(parsed(response), asked_at)


async def log_in(
    pipeline: Pipeline, *, api_key: str | None, token: str | None, key_file: str | os.PathLike[str] | Mapping[str, Any] | None, account: str | None,
    passphrase: str | None, recovery_code: str | None, one_time_key: bool, audience: str | None,
) -> str:
    """Shows who one is, by one of these, and answers the subject. Raises LoginFailed."""
    ways = [name for name, given in (("api_key", api_key), ("token", token), ("key_file", key_file), ("account", account)) if given is not None]
    if len(ways) != 1:
        raise LoginFailed(f"Give one of api_key, token, key_file and account; given were {', '.join(ways) or 'none'}.")
    if api_key is not None or token is not None:
        if one_time_key:
            raise LoginFailed("one_time_key is for logins with a key: key_file, or account with a passphrase.")
        return await _settled(pipeline, GivenToken(api_key if api_key is not None else str(token)))
    if key_file is not None:
        account, jwk = _read_key_file(key_file)
    else:
        assert account is not None
        if (passphrase is None) == (recovery_code is None):
            raise LoginFailed("Give the account's passphrase or its recovery code.")
        jwk = await _unlock(pipeline, account, passphrase, recovery_code)
    login = Login(pipeline, account, SigningKey(jwk), one_time=one_time_key, audience=audience)
    await login.begin()
    return await _settled(pipeline, login)


async def _settled(pipeline: Pipeline, credentials: GivenToken | Login) -> str:
    """From here on these are the client's; unless the server doesn't take them."""
    former, pipeline.credentials = pipeline.credentials, credentials
    try:
        return await told_subject(pipeline)
    except ProblemError as error:
        pipeline.credentials = former
        if error.status == 401:
            raise LoginFailed(f"The server doesn't take it: {error.detail}") from error
        raise
    except BaseException:
        pipeline.credentials = former
        raise


async def told_subject(pipeline: Pipeline) -> str:
    """Who one is to the server. Raises ProtocolError."""
    try:
        return str((await pipeline.call("GET", "/v1/auth/me"))["subject"])
    except (KeyError, TypeError) as error:
        raise ProtocolError("The server doesn't say who one is to it.") from error


def _read_key_file(given: str | os.PathLike[str] | Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    try:
        if isinstance(given, Mapping):
            content: Any = given
        else:
            with open(given, encoding="utf-8") as file:
                content = json.load(file)
        account, jwk = content["account"], content["jwk"]
        if not isinstance(account, str) or not isinstance(jwk, Mapping):
            raise TypeError
        return account, jwk
    except OSError as error:
        raise LoginFailed(f"The key file can't be read: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise LoginFailed(
            "That is no key file: it must be JSON with account and jwk, as the server's command line writes it: "
            "`stargus-server identity create`, or `npm run -s stargus -- identity create` in the server's folder."
        ) from error


async def _unlock(pipeline: Pipeline, account: str, passphrase: str | None, recovery_code: str | None) -> Mapping[str, Any]:
    """The account's private key, out of its envelope. Only a proof leaves this process, of which neither secret nor key can be made."""
    way = "passphrase" if passphrase is not None else "recovery"
    secret = passphrase if passphrase is not None else envelopes.normal_code(recovery_code or "")
    try:
        parts = urlsplit(account)
        # Of what is no URL the parts can't be told; and who is named in one would be named in errors.
        is_url = bool(parts.hostname) and parts.username is None and (parts.port or 1) > 0
    except ValueError:
        is_url = False
    if not is_url:
        raise LoginFailed("An account is an https URL, without a user.")
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_this_machine(parts.hostname)):
        raise LoginFailed("An account is an https URL.")
    base = f"{parts.scheme}://{parts.netloc}"
    runtime = pipeline.runtime
    if not parts.path.startswith("/id/") or "/" in parts.path[4:]:
        path = f"{parts.path.rstrip('/')}/envelope.jwe"
        text = await _published(pipeline, base, path, account)
        derivation = envelopes.read_derivation(text, account, way)
        derived = await in_thread(runtime, lambda: envelopes.derive(account, way, secret, derivation))
        return envelopes.open_envelope(text, account, way, derived.opening)
    path = f"/v1/identities/{quoted(parts.path[4:])}/envelope"
    try:
        told = parsed(await pipeline.send(Request("GET", path, base=base), is_known=False))
        kdf = next((one.get("kdf") for one in told["ways"] if one.get("way") == way), None)
        derivation = envelopes.derivation_of(kdf)
        derived = await in_thread(runtime, lambda: envelopes.derive(account, way, secret, derivation))
        body = json.dumps({"way": way, "proof": derived.proof}).encode()
        request = Request("POST", f"{path}/unlock", {"Content-Type": "application/json"}, body, base)
        unlocked = parsed(await pipeline.send(request, is_known=False))
        return envelopes.open_envelope(str(unlocked["envelope"]), account, way, derived.opening)
    except ProblemError as error:
        if error.status in (400, 401, 403, 404):
            raise LoginFailed(f"The envelope of {account} couldn't be unlocked: {error.detail}") from error
        raise
    except (KeyError, TypeError, AttributeError) as error:
        raise LoginFailed(f"{base} guards no envelopes.") from error


async def _published(pipeline: Pipeline, base: str, path: str, account: str) -> str:
    """An envelope that lies beside the account's document, on any file server: of any type, so not by the way of answers."""
    try:
        response = await pipeline.runtime.send(Request("GET", path, base=base), pipeline.request_timeout)
    except NoAnswer as error:
        raise Unreachable(f"{base} can't be reached: {error}.") from error
    if response.status != 200:
        raise LoginFailed(f"There is no envelope of {account}.")
    return response.body.decode("utf-8", "replace").strip()


def _is_this_machine(host: str | None) -> bool:
    return host in ("localhost", "::1") or (host or "").startswith("127.")


def origin_of(url: str) -> str:
    """Scheme, host and port of a URL, without a port that goes without saying."""
    parts = urlsplit(url)
    host = parts.netloc.lower()
    usual = {"http": ":80", "https": ":443"}.get(parts.scheme, "")
    return f"{parts.scheme}://{host.removesuffix(usual) if usual else host}"


async def in_thread(runtime: Runtime, work: Callable[[], T]) -> T:
    """Does what takes long without I/O where it stops nobody."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    Thread(target=run, name="stargus-derive", daemon=True).start()
    return await runtime.result(future)


