"""Opening an http(s) address: quick to say that there is no network, patient with slow data."""

from __future__ import annotations

import concurrent.futures
import http.client
import os
import threading
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

from benchmark.data.fetch.errors import FetchError, UnreachableError

ADDRESS_SECONDS = 5.0  # for one address of a host, and one step of a TLS handshake
CONNECT_SECONDS = 10.0  # for finding a host's addresses and connecting to one of them
READ_SECONDS = 60.0  # without a single byte
OFFLINE = "CLBENCH_OFFLINE"
_PASSING = (408, 425, 429)  # with 500 and above: what may go better in a moment


class BrokenError(Exception):
    """A transfer that broke and may be taken up again."""


class RangeError(Exception):
    """The server has nothing from the place asked for; `total` is the file's size, -1 unknown."""

    def __init__(self, total: int) -> None:
        super().__init__(total)
        self.total = total


class _NoConnectionError(OSError):
    """Connecting failed, as opposed to what comes after it."""


class _Plain(http.client.HTTPConnection):
    """Connects within `CONNECT_SECONDS` altogether, and then waits longer for data.

    The system's name lookup knows no time limit, so that connecting is left to a thread that is
    abandoned when it takes too long.
    """

    def connect(self) -> None:
        self.timeout = ADDRESS_SECONDS
        ended: concurrent.futures.Future[None] = concurrent.futures.Future()
        connect = super().connect

        def work() -> None:
            try:
                connect()
            except (OSError, ValueError, RuntimeError, http.client.HTTPException) as error:
                ended.set_exception(error)
            else:
                ended.set_result(None)

        threading.Thread(target=work, daemon=True, name="connect").start()
        try:
            ended.result(CONNECT_SECONDS)
        except concurrent.futures.TimeoutError:  # ours, or of a single address
            raise _NoConnectionError("no answer") from None
        except (OSError, UnicodeError) as error:
            raise _NoConnectionError(getattr(error, "strerror", None) or str(error)) from error
        self.sock.settimeout(READ_SECONDS)


class _Secure(_Plain, http.client.HTTPSConnection):
    """The same with TLS."""


class _PlainHandler(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_Plain, req)


class _SecureHandler(urllib.request.HTTPSHandler):
    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_Secure, req)


def _opener() -> urllib.request.OpenerDirector:
    """http and https only: a redirection can lead to no other kind of address."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        _PlainHandler(),
        _SecureHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener


def require_online(url: str) -> None:
    """Raise `UnreachableError` when downloads are switched off by CLBENCH_OFFLINE."""
    if os.environ.get(OFFLINE, "").strip().lower() not in ("", "0", "false", "no", "off"):
        raise UnreachableError(f"{url}: {OFFLINE} is set, so that nothing is fetched")


def open_url(url: str, start: int = 0, validator: str = "") -> http.client.HTTPResponse:
    """The answer of a server, from byte `start` on if the file is still the one of `validator`.

    validator: an ETag or date of last change, empty for any state of the file. Raises
    `UnreachableError` without a connection, `BrokenError` for what may pass, `RangeError` when
    the file ends before `start`, and `FetchError` for the rest.
    """
    host = _host(url)
    headers = {"User-Agent": "clbench", "Accept": "*/*", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
        if validator:
            headers["If-Range"] = validator
    try:
        request = urllib.request.Request(url, headers=headers)
        response: Any = _opener().open(request, timeout=READ_SECONDS)
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 416:
                raise RangeError(content_range(error.headers)[1]) from error
            answer = f"the server answers {error.code} {error.reason}"
        if error.code in _PASSING or error.code >= 500:
            raise BrokenError(answer) from error
        raise FetchError(f"{url}: {answer}") from error
    except urllib.error.URLError as error:
        if isinstance(error.reason, _NoConnectionError):
            raise UnreachableError(f"{url}: no connection to {host}: {error.reason}") from error
        if isinstance(error.reason, OSError):
            raise BrokenError(broken(error.reason)) from error
        raise FetchError(f"{url}: {error.reason}") from error
    except (http.client.InvalidURL, ValueError) as error:
        raise FetchError(f"{url}: not a valid address: {error}") from error
    except (OSError, http.client.HTTPException) as error:
        raise BrokenError(broken(error)) from error
    answer_: http.client.HTTPResponse = response
    return answer_


def broken(error: Exception) -> str:
    """A broken connection in words."""
    if isinstance(error, TimeoutError):
        return "no data for too long"
    return f"connection broken: {getattr(error, 'strerror', None) or error or type(error).__name__}"


def content_range(headers: Any) -> tuple[int, int]:
    """(first byte, size of the file) of a Content-Range, -1 for what it does not tell."""
    unit, _, rest = str(headers.get("Content-Range", "")).strip().partition(" ")
    span, _, total = rest.strip().partition("/")
    first = span.partition("-")[0]
    known = [int(text) if text.isascii() and text.isdigit() else -1 for text in (first, total)]
    return (known[0], known[1]) if unit.lower() == "bytes" else (-1, -1)


def content_length(headers: Any) -> int:
    """The length of an answer, -1 when it does not tell."""
    text = str(headers.get("Content-Length", "")).strip()
    chunked = "chunked" in str(headers.get("Transfer-Encoding", "")).lower()
    return int(text) if text.isascii() and text.isdigit() and not chunked else -1


def _host(url: str) -> str:
    try:
        parts = urllib.parse.urlsplit(url)
        host = parts.hostname
    except ValueError as error:
        raise FetchError(f"{url}: not a valid address: {error}") from error
    if parts.scheme not in ("http", "https") or not host:
        raise FetchError(f"{url}: only http and https addresses are fetched")
    return host
