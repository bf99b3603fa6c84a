"""Evaluation after a task: every test image of the classes seen so far, once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from benchmark.data.loading import Loader, Request
from benchmark.data.transforms import InputRange
from benchmark.engine.trainer import TrainingError, autocast
from benchmark.method import Method
from benchmark.results.schema import BATCH_MARK
from benchmark.seeds import generator

PART_OF_EVERY_RUN = True  # see engine.provenance

TOP = 5  # best classes kept per image
PROBES = 8  # images predicted a second time, in a different batch
# Largest change of a logit, relative to the largest logit, that a different batch may cause:
# kernels round differently for other batch shapes, a method that reads the batch moves more.
BATCH_TOLERANCE = {"fp32": 1e-3, "bf16": 5e-2}


class TestSet:
    """All test images in task order, with frozen features computed once."""

    __test__ = False  # not a test case

    def __init__(
        self,
        loader: Loader,
        labels: Tensor,
        counts: list[int],
        *,
        batch_size: int,
        device: torch.device,
        input_range: InputRange,
        frozen: Callable[[Tensor], Tensor] | None,
    ) -> None:
        self.labels, self.counts, self.device = labels, counts, device
        self._loader, self._range, self._batch_size = loader, input_range, batch_size
        self._frozen_model = frozen
        self._frozen: Tensor | None = None

    def logits(self, method: Method, count: int, precision: str) -> Tensor:
        """Logits [count, classes seen] of the first `count` images, on the CPU.

        Images are predicted in a fixed mixed order: a batch holds all tasks, so its composition
        tells nothing about the task of an image.
        """
        mixed = torch.randperm(count, generator=generator(0, "evaluation order", count))
        logits = self._predict(method, mixed.split(self._batch_size), precision)
        self._check_batch_independence(method, mixed, logits, precision)
        ordered = torch.empty_like(logits)
        ordered[mixed] = logits
        return ordered

    def _predict(self, method: Method, parts: Sequence[Tensor], precision: str) -> Tensor:
        """Logits of the images at `parts`, batch by batch, on the CPU."""
        frozen = self._frozen_features(precision)
        logits = []
        for index, images in self._batches(parts):
            with torch.inference_mode(), autocast(self.device, precision):
                known = () if frozen is None else (frozen[index.to(self.device)],)
                logits.append(method.predict(images, *known).float())
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

    def _check_batch_independence(
        self, method: Method, mixed: Tensor, logits: Tensor, precision: str
    ) -> None:
        """Predict a few images again in different batches: their logits must stay the same."""
        if method.batch_dependent:
            return
        few = mixed[:PROBES]
        parts = [part for part in (few[:1], few[1:]) if len(part)]
        again = self._predict(method, parts, precision)
        moved = float((again - logits[: len(few)]).abs().max())
        if moved > BATCH_TOLERANCE[precision] * max(float(logits.abs().max()), 1.0):
            raise TrainingError(
                f"{method.name}: {BATCH_MARK} (a logit moved by {moved:.3g}); declare "
                "batch_dependent = True to run it as a marked row"
            )


def evaluate(
    method: Method, test: TestSet, task: int, class_tasks: np.ndarray, precision: str
) -> tuple[list[float], dict[str, Tensor]]:
    """Evaluate a method after a task.

    Args:
        method: The method, trained up to `task`.
        test: All test images.
        task: 0-based index of the last task seen.
        class_tasks: int [C], the task of every class; all 0 where every task has all classes.
        precision: "fp32" or "bf16".

    Returns:
        Accuracy in percent on each task seen, and what is stored of the n images, with classes in
        the order of learning: top_classes, int16 [n, k], best first; top_scores, float16 [n, k],
        their logits; known, int16 [n], the best class within the image's own task.
    """
    counts = test.counts[: task + 1]
    count = sum(counts)
    logits = test.logits(method, count, precision)
    seen = int((class_tasks <= task).sum())
    if logits.shape != (count, seen):
        raise TrainingError(
            f"{method.name}.predict gave logits for {logits.shape[1]} classes, {seen} were seen"
        )
    if not bool(torch.isfinite(logits).all()):
        raise TrainingError(f"{method.name}.predict gave logits that are not finite")
    labels = test.labels[:count]
    scores, classes = logits.topk(min(TOP, seen), dim=1)
    correct = (classes[:, 0] == labels).double().split(counts)
    accuracy = [100 * float(part.mean()) for part in correct]

    tasks = torch.from_numpy(class_tasks)
    foreign = tasks[labels][:, None] != tasks[None, :seen]
    known = logits.masked_fill(foreign, -torch.inf).argmax(dim=1)
    return accuracy, {
        "top_classes": classes.short(),
        "top_scores": scores.half(),
        "known": known.short(),
    }


def final_choices(predictions: Mapping[str, np.ndarray], stage: int) -> dict[str, np.ndarray]:
    """The best class at the last stage alone, of stored predictions (see `results.schema`).

    A small part of all, and enough for every metric of `benchmark.metrics`.
    """
    kept = {name: array for name, array in predictions.items() if "/" not in name}
    for name in ("top_classes", "top_scores"):
        kept[f"{name}/{stage}"] = predictions[f"{name}/{stage}"][:, :1]
    return {**kept, f"known/{stage}": predictions[f"known/{stage}"]}
