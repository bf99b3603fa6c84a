"""The process that carries out one run and ends with it: whatever the method does ends there too.

It gets from its parent what the run needs, one thing after another, and holds no label of a test
image. The parent's side is `engine.pool`.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import MutableSequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmark.data.base import ArrayImages, Images
from benchmark.data.loading import Loader, Preparation
from benchmark.engine import fence, hooks
from benchmark.engine.context import Context
from benchmark.engine.examiner import Choices, Outline, RunData
from benchmark.engine.plan import PlannedRun
from benchmark.engine.runner import Ending, failure, perform
from benchmark.engine.served_images import ServedLoader
from benchmark.interruption import Interrupted, exit_code, interruptible
from benchmark.registry import METHODS, add_plugin
from benchmark.results.store import StorageError


@dataclass(frozen=True)
class Ahead:
    """What can be made ready before a run is handed over: its device and its backbone."""

    context: Context
    threads: int
    backbone: str
    backbone_file: str
    backbone_image_size: int | None


@dataclass(frozen=True)
class MethodFile:
    """Where the method lies, so that the settings which come next can be read."""

    name: str
    plugin: Path | None


@dataclass(frozen=True)
class Assignment:
    """A run, and what is known before it begins.

    closed: folders that it may read nothing of, but for the files in `allowed` and the images of
    the task it learns.
    """

    planned: PlannedRun
    folder: Path
    outline: Outline
    closed: list[Path]
    allowed: list[Path]


@dataclass(frozen=True)
class Request:
    """A call of one of `RunData`'s methods, made in the parent; its value or error comes back."""

    name: str
    arguments: tuple[Any, ...]


class RemoteData(RunData):
    """The run's data, asked of the parent."""

    def __init__(
        self,
        connection: Connection[Any, Any],
        images: Connection[Any, Any],
        run: Assignment,
        context: Context,
    ) -> None:
        self._connection, self._images, self._context = connection, images, context
        self.outline, self._allowed = run.outline, run.allowed

    def train(self, task: int) -> tuple[Images, np.ndarray]:
        """Training images and labels of a 0-based task."""
        images, labels = self._ask("train", task)
        fence.admit(images, self._allowed)
        return images, labels

    def test_loader(self, preparation: Preparation) -> Loader:
        """All test images: in memory, or asked for when they are needed."""
        shape = self._ask("test_images", preparation)
        if len(shape) == 1:
            return ServedLoader(self._images, shape[0], preparation.size, self._context.device)
        content = np.frombuffer(bytearray(self._images.recv_bytes()), dtype=np.uint8)
        return self._context.loader(ArrayImages(content.reshape(shape)), preparation, keep=True)

    def asked(self, stage: int) -> np.ndarray:
        """Numbers of the images to predict after a stage."""
        numbers: np.ndarray = self._ask("asked", stage)
        return numbers

    def probes(self, stage: int) -> np.ndarray:
        """Positions of images to predict a second time."""
        positions: np.ndarray = self._ask("probes", stage)
        return positions

    def answer(self, stage: int, choices: Choices) -> None:
        """Hand in the choices of a stage."""
        self._ask("answer", stage, choices)

    def finished(self, task: int) -> None:
        """Tell that a task is finished."""
        self._ask("finished", task)

    def _ask(self, name: str, *arguments: Any) -> Any:
        self._connection.send(Request(name, arguments))
        reply = self._connection.recv()
        if isinstance(reply, Exception):
            raise reply
        return reply


def serve(
    connection: Connection[Any, Any], images: Connection[Any, Any], pulse: MutableSequence[int]
) -> None:
    """Body of the process: take one run, carry it out, tell how it ended."""
    hooks.watch(pulse)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent alone answers it
    try:
        with interruptible():
            ending: Ending | StorageError = _carry_out(connection, images)
    except Interrupted as interruption:
        os._exit(exit_code(interruption))
    except StorageError as error:
        ending = error
    except (EOFError, ConnectionError):
        return  # the parent is gone: what is finished is stored, the rest can be resumed
    except BaseException as error:  # noqa: BLE001 - the run's fault, whatever it is
        ending = failure(error)
    connection.send(ending)
    # Nothing a method has left behind, such as a thread or an exit handler, holds up the end.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _carry_out(connection: Connection[Any, Any], images: Connection[Any, Any]) -> Ending:
    ahead: Ahead = connection.recv()
    context = ahead.context
    torch.set_num_threads(ahead.threads)
    with suppress(Exception):  # the run itself will say what is wrong with it
        context.backbone(ahead.backbone, ahead.backbone_file, ahead.backbone_image_size)
    method: MethodFile = connection.recv()
    if method.plugin is not None:
        add_plugin(method.plugin)
    METHODS.get(method.name)  # the run comes with settings of a class of its module
    gc.freeze()  # what was imported stays: no collection looks through it again
    run: Assignment = connection.recv()
    fence.close(run.closed, run.allowed)
    data = RemoteData(connection, images, run, context)
    return perform(run.planned, context, run.folder, data, connection.send)
