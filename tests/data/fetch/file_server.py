"""An HTTP server on the loopback address that misbehaves as it is told."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class FileServer:
    """The files it has by path, and switches for the requests of each path.

    cuts: bytes after which each of the next transfers breaks. statuses: answers to the next
    requests instead of the file.
    """

    port: int = 0
    files: dict[str, bytes] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    cuts: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    statuses: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    redirects: dict[str, str] = field(default_factory=dict)
    ranges: bool = True
    length: bool = True
    gate: threading.Event | None = None  # transfers wait for it half-way
    requests: list[tuple[str, str]] = field(default_factory=list)  # (path, Range)

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}/{path}"

    def asked(self, path: str) -> list[str]:
        """The Range headers of all requests for a path."""
        return [wanted for name, wanted in self.requests if name == path]


class _Handler(BaseHTTPRequestHandler):
    served: FileServer

    def do_GET(self) -> None:
        name, state = self.path.lstrip("/"), self.served
        wanted = self.headers.get("Range", "")
        state.requests.append((name, wanted))
        if name in state.redirects:
            self._head(302, {"Location": state.redirects[name], "Content-Length": "0"})
        elif state.statuses[name]:
            self._head(state.statuses[name].pop(0), {"Content-Length": "0"})
        elif name not in state.files:
            self._head(404, {"Content-Length": "0"})
        else:
            self._file(name, wanted)

    def _file(self, name: str, wanted: str) -> None:
        state, content = self.served, self.served.files[name]
        headers = {"Content-Type": state.types.get(name, "")}
        start = 0
        if wanted and state.ranges:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(content):
                total = {"Content-Range": f"bytes */{len(content)}", "Content-Length": "0"}
                self._head(416, total)
                return
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        body = content[start:]
        if state.length:
            headers["Content-Length"] = str(len(body))
        self._head(206 if "Content-Range" in headers else 200, headers)
        if state.cuts[name]:
            self.wfile.write(body[: state.cuts[name].pop(0)])
            self.close_connection = True
            return
        half = len(body) // 2 if state.gate else 0
        self.wfile.write(body[:half])
        if state.gate:
            self.wfile.flush()
            state.gate.wait(5)
        self.wfile.write(body[half:])

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in headers.items():
            if value:
                self.send_header(key, value)
        self.send_header("Connection", "close")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def serve() -> Iterator[FileServer]:
    """A server that runs until the end of the block."""
    state = FileServer()
    handler = type("Handler", (_Handler,), {"served": state})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        state.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()
