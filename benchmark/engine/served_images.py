"""Test images that lie in files, decoded by one process for another, which knows no file name."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmark.data.loading import AHEAD, KEPT_BYTES, FileLoader, Loader, Request
from benchmark.data.transforms import plain

PART_OF_EVERY_RUN = True  # see engine.provenance


def serve_images(connection: Connection[Any, Any], loader: FileLoader) -> None:
    """Answer requests, int64 [B] as bytes, with images uint8 [B, 3, s, s], in their order.

    Before each answer goes None, or the error that takes its place. Ends with the connection.
    """
    waiting: deque[list[Future[Tensor]]] = deque()
    try:
        while True:
            while not waiting or connection.poll():  # decode ahead of what is sent
                index = np.frombuffer(connection.recv_bytes(), dtype=np.int64)
                waiting.append(loader.decode(Request(torch.from_numpy(index.copy()))))
            try:
                batch = torch.stack([future.result() for future in waiting.popleft()])
            except Exception as error:  # noqa: BLE001 - raised again where the images are needed
                connection.send(error)
            else:
                connection.send(None)
                connection.send_bytes(batch.numpy().reshape(-1).data)  # its length is that of bytes
    except (EOFError, OSError):
        return  # the run has ended
    finally:
        loader.close()


class ServedLoader(Loader):
    """Loads test images, never augmented, from the process at the other end of `connection`.

    Images that fit into `KEPT_BYTES` are asked for once.
    """

    def __init__(
        self, connection: Connection[Any, Any], count: int, size: int, device: torch.device
    ) -> None:
        self._connection, self._count, self._device = connection, count, device
        self._shape = (3, size, size)
        self._kept: Tensor | None = None
        if count * int(np.prod(self._shape)) <= KEPT_BYTES:
            self._kept = torch.empty((count, *self._shape), dtype=torch.uint8)
        self._known = torch.zeros(count, dtype=torch.bool)

    def __len__(self) -> int:
        return self._count

    def load(self, requests: Iterable[Request]) -> Iterator[Tensor]:
        """One batch for every request, in their order; several are asked for ahead."""
        waiting: deque[tuple[Tensor, bool]] = deque()  # positions, and whether they were asked for
        try:
            for request in requests:
                waiting.append((request.index, self._ask(request.index)))
                if len(waiting) > AHEAD:
                    yield self._collect(*waiting.popleft())
            while waiting:
                yield self._collect(*waiting.popleft())
        finally:  # also when the reader stops early: no answer is left for the next pass
            for index, asked in waiting:
                if asked:
                    self._receive(index)

    def close(self) -> None:
        """Drop what was kept."""
        self._kept = None

    def _ask(self, index: Tensor) -> bool:
        if self._kept is not None and bool(self._known[index].all()):
            return False
        self._connection.send_bytes(index.numpy().tobytes())
        return True

    def _receive(self, index: Tensor) -> Tensor:
        error = self._connection.recv()
        if error is not None:
            raise error
        content = bytearray(self._connection.recv_bytes())
        images = torch.frombuffer(content, dtype=torch.uint8).view(len(index), *self._shape)
        if self._kept is not None:
            self._kept[index], self._known[index] = images, True
        return images

    def _collect(self, index: Tensor, asked: bool) -> Tensor:
        if asked:
            images = self._receive(index)
        else:
            assert self._kept is not None
            images = self._kept[index]
        if self._device.type == "cuda":
            images = images.pin_memory()
        return plain(images.to(self._device, non_blocking=True))
