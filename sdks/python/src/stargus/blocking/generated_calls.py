"""Binds the generated layer to a client that waits: its requests go the way of the pipeline, its streams by a line."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import urllib3

from ..engine.pipeline import Pipeline
from ..engine.ports import Line, Stream
from ..generated.api_client import ApiClient
from ..generated.configuration import Configuration
from ..generated_api import is_stream, request_of
from ..version import USER_AGENT
from .runtime import ThreadRuntime, ThreadStream, drive


class _Answer(io.IOBase):
    """What the generated layer takes for an answer. `response` is what its calls without preloaded content hand over."""

    def __init__(self, response: Any, status: int, headers: Any, data: bytes | None) -> None:
        self.response = response
        self.status = status
        self.reason = None
        self.headers = headers
        self.data = data

    def read(self) -> bytes | None:
        if self.data is None:
            self.data = self.response.data
        return self.data

    def getheaders(self) -> Any:
        return self.headers

    def getheader(self, name: str, default: str | None = None) -> Any:
        return self.headers.get(name, default)


class _Requests:
    """In place of the generated layer's own connections. With a line it opens streams for the library itself."""

    def __init__(self, pipeline: Pipeline, line: Line | None) -> None:
        self._pipeline = pipeline
        self._line = line

    def request(
        self, method: str, url: str, headers: Mapping[str, Any] | None = None, body: Any = None, post_params: Any = None, _request_timeout: Any = None
    ) -> _Answer:
        request = request_of(method, url, headers, body)
        if self._line is not None:
            stream = drive(self._pipeline.open(self._line, request))
            return _Answer(stream, stream.status, stream.headers, None)
        if is_stream(request):
            return self._stream(request)
        timeout = _request_timeout[-1] if isinstance(_request_timeout, tuple) else _request_timeout
        response = drive(self._pipeline.send(request, timeout=timeout))
        headers = urllib3.HTTPHeaderDict(response.headers)
        raw = urllib3.HTTPResponse(body=io.BytesIO(response.body), headers=headers, status=response.status, preload_content=False)
        return _Answer(raw, response.status, headers, response.body)

    def _stream(self, request: Any) -> _Answer:
        """For who calls the generated layer: urllib3's own answer, unread. Closing it closes its connection; closing the client does too."""
        runtime = self._pipeline.runtime
        assert isinstance(runtime, ThreadRuntime)
        line = runtime.line()
        try:
            stream = drive(self._pipeline.open(line, request))
        except BaseException:
            drive(_closed(line))
            raise
        assert isinstance(stream, ThreadStream)
        return _Answer(stream.unread(), stream.status, stream.response.headers, None)


async def _closed(line: Line) -> None:
    await line.close()


class BoundApiClient(ApiClient):  # type: ignore[misc]
    """The generated client, without connections of its own."""

    def __init__(self, pipeline: Pipeline, line: Line | None = None) -> None:
        # Not the generated constructor: it would make a pool of connections that nobody uses.
        configuration = Configuration(host="")
        self.configuration = configuration
        self.rest_client = _Requests(pipeline, line)
        self.default_headers: dict[str, str] = {}
        self.cookie = None
        self.user_agent = USER_AGENT
        self.client_side_validation = configuration.client_side_validation
