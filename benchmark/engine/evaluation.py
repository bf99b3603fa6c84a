"""Evaluation after a task: every test image of the classes seen so far is predicted once.

All this happens where the method runs, without labels: `engine.examiner` has those, and scores.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from benchmark.data.loading import Loader, Request
from benchmark.data.transforms import InputRange
from benchmark.engine import hooks
from benchmark.engine.state import Snapshot, tensors_of
from benchmark.engine.trainer import autocast
from benchmark.method import Method
from benchmark.results.schema import BATCH_MARK

PART_OF_EVERY_RUN = True  # see engine.provenance

TOP = 5  # best classes kept per image
# Largest change of a logit, relative to the largest logit, that a different batch may cause:
# kernels round differently for other batch shapes, a method that reads the batch moves more.
BATCH_TOLERANCE = {"fp32": 1e-3, "bf16": 5e-2}


class TestSet:
    """All test images in the order they are handed out in, with frozen features computed once."""

    __test__ = False  # not a test case

    def __init__(
        self,
        loader: Loader,
        *,
        batch_size: int,
        device: torch.device,
        input_range: InputRange,
        frozen: Callable[[Tensor], Tensor] | None,
    ) -> None:
        self.device = device
        self._loader, self._range, self._batch_size = loader, input_range, batch_size
        self._frozen_model = frozen
        self._frozen: Tensor | None = None

    def logits(self, method: Method, asked: Tensor, precision: str) -> Tensor:
        """Logits [n, classes seen] of the images at `asked` (int64 [n]), on the CPU."""
        return self._predict(method, asked.split(self._batch_size), precision)

    def logits_alone(self, method: Method, asked: Tensor, precision: str) -> Tensor:
        """As `logits`, in other batches: the first image by itself, then the others."""
        parts = [part for part in (asked[:1], asked[1:]) if len(part)]
        return self._predict(method, parts, precision)

    def _predict(self, method: Method, parts: Sequence[Tensor], precision: str) -> Tensor:
        """Logits of the images at `parts`, batch by batch, on the CPU."""
        frozen = self._frozen_features(precision)
        logits = []
        for index, images in self._batches(parts):
            with torch.inference_mode(), autocast(self.device, precision):
                known = () if frozen is None else (frozen[index.to(self.device)],)
                logits.append(hooks.predict(method, images, *known).float())
        return torch.cat(logits).cpu()

    def _batches(self, parts: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        loaded = self._loader.load(Request(index) for index in parts)
        for index, images in zip(parts, loaded, strict=True):
            yield index, self._range(images)

    def _frozen_features(self, precision: str) -> Tensor | None:
        if self._frozen_model is not None and self._frozen is None:
            model = self._frozen_model
            parts = torch.arange(len(self._loader)).split(self._batch_size)
            with torch.inference_mode(), autocast(self.device, precision):
                self._frozen = torch.cat([model(x).float() for _, x in self._batches(parts)])
        return self._frozen


def predicted(
    build: Callable[[], Method],
    test: TestSet,
    asked: Tensor,
    probes: Tensor,
    seen: int,
    precision: str,
) -> tuple[Tensor, bool]:
    """Logits [n, seen] of the images at `asked`, and whether they depend on the whole batch.

    Some images, those at the positions `probes` of `asked`, are predicted again in other batches by
    another method that `build` makes of the same state: what a method does to its state, or keeps
    of images it has met, must change nothing.

    Raises:
        MethodError: Logits are malformed, differ, or the method has changed its state.
    """
    method = build()
    before = Snapshot(tensors_of(method))
    logits = test.logits(method, asked, precision)
    _check_logits(method, logits, len(asked), seen)
    if not before.shows(tensors_of(method)):
        raise hooks.wrong(method, "predict", "changed the method's state")
    if not method.batch_dependent:
        again = test.logits_alone(build(), asked[probes], precision)
        _check_independence(method, logits, probes, again, precision)
    return logits, method.batch_dependent


def choices(logits: Tensor, class_groups: np.ndarray) -> dict[str, np.ndarray]:
    """What is kept of logits [n, classes seen]; classes are in the order of learning.

    class_groups: int [C], the task of every class; all 0 where every task has all classes.

    Returns:
        top_classes, int16 [n, k], best first; top_scores, float16 [n, k], their logits; and
        best_of_task, int16 [n, T], the best class of each task seen.
    """
    seen = logits.shape[1]
    scores, classes = logits.topk(min(TOP, seen), dim=1)
    groups = torch.from_numpy(class_groups[:seen])
    best = [
        logits.masked_fill(groups != group, -torch.inf).argmax(dim=1)
        for group in range(int(groups.max()) + 1)
    ]
    return {
        "top_classes": classes.short().numpy(),
        "top_scores": scores.half().numpy(),
        "best_of_task": torch.stack(best, dim=1).short().numpy(),
    }


def _check_logits(method: Method, logits: Tensor, count: int, seen: int) -> None:
    """Raise `MethodError` where logits are not [count, seen], or not finite."""
    if logits.shape != (count, seen):
        raise hooks.wrong(
            method, "predict", f"gave logits for {logits.shape[1]} classes, {seen} were seen"
        )
    if not bool(torch.isfinite(logits).all()):
        raise hooks.wrong(method, "predict", "gave logits that are not finite")


def _check_independence(
    method: Method, first: Tensor, repeated: Tensor, again: Tensor, precision: str
) -> None:
    """Logits of the same images must agree, whatever the other images of the batch.

    first: float [n, C]; again: float [m, C], of the images at the rows `repeated` (int64 [m]).
    """
    if again.shape != (len(repeated), first.shape[1]):
        raise hooks.wrong(method, "predict", "gave logits of two shapes for one image")
    moved = float(np.abs(first[repeated].numpy() - again.numpy()).max(initial=0.0))
    if not moved <= BATCH_TOLERANCE[precision] * max(float(np.abs(first.numpy()).max()), 1.0):
        raise hooks.wrong(
            method,
            "predict",
            f"broke a rule: its {BATCH_MARK}, or on images predicted before (a logit moved by "
            f"{moved:.3g}); declare batch_dependent = True to run it as a marked row",
        )


def final_choices(predictions: Mapping[str, np.ndarray], stage: int) -> dict[str, np.ndarray]:
    """The best class at the last stage alone, of stored predictions (see `results.schema`).

    A small part of all, and enough for every metric of `benchmark.metrics`.
    """
    kept = {name: array for name, array in predictions.items() if "/" not in name}
    for name in ("top_classes", "top_scores"):
        kept[f"{name}/{stage}"] = predictions[f"{name}/{stage}"][:, :1]
    return {**kept, f"known/{stage}": predictions[f"known/{stage}"]}
