"""The tasks of a run, one after another: train, evaluate, save."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmark.backbones.catalogue import BackboneError
from benchmark.data.base import DataError
from benchmark.data.stream import TrainingImages
from benchmark.engine import checkpoint, cost
from benchmark.engine.checkpoint import Progress
from benchmark.engine.context import Context, input_range, preparation
from benchmark.engine.evaluation import TestSet, evaluate, final_choices
from benchmark.engine.plan import PlannedRun
from benchmark.engine.trainer import Observer, TaskRecord, autocast, train_task
from benchmark.events import EpochDone, Event, RunStarted, TaskDone, TaskStarted
from benchmark.method import Batch, Task
from benchmark.registry import METHODS
from benchmark.results.schema import BATCH_MARK
from benchmark.seeds import derive

PART_OF_EVERY_RUN = True  # see engine.provenance

EVALUATION_BATCH = {"cpu": 64, "cuda": 256}  # what runs fastest; no number depends on it
Emit = Callable[[Event], None]


class TaskLoop(Observer):
    """A run in progress."""

    def __init__(self, planned: PlannedRun, context: Context, folder: Path, emit: Emit) -> None:
        self.spec, self.key = planned.spec, planned.key
        self.context, self.folder, self.emit = context, folder, emit
        spec = self.spec
        dataset = context.dataset(spec.dataset, spec.split)
        backbone = context.backbone(spec.backbone, spec.backbone_file)
        if backbone.weight_hash != planned.weight_hash:
            raise BackboneError(f"the weights of {spec.backbone} changed after the run was planned")
        if context.data_hash(spec) != planned.data_hash:
            raise DataError(f"the images of {spec.dataset} changed after the run was planned")
        self.stream = context.stream(spec)
        self.preparation = preparation(spec, dataset, backbone)
        self.range = input_range(spec, backbone)
        self.frozen_model = backbone.model
        kind = METHODS.get(spec.method)
        torch.manual_seed(derive(spec.seed, "construction"))
        own = copy.deepcopy(backbone.model).requires_grad_(True)
        self.method = kind(own, spec.settings)
        self.method.to(context.device)
        self.initial = checkpoint.initial_state(self.method)
        self.joint = kind.stream == "joint"
        self.tasks = [self.stream.joint_task()] if self.joint else self.stream.tasks
        emit(RunStarted(planned.key, planned.label, len(self.tasks), spec.recipe.epochs))

    def carry_out(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Train and evaluate every task; return the outcome and the predictions to store."""
        method, spec = self.method, self.spec
        images, labels, counts = self.stream.test()
        device = self.context.device
        test = TestSet(
            self.context.loader(images, self.preparation, keep=True),
            labels,
            counts,
            batch_size=EVALUATION_BATCH.get(device.type, 256),
            device=device,
            input_range=self.range,
            frozen=self.frozen_model if method.frozen_features else None,
        )
        class_tasks, image_tasks = self._tasks_of(counts)
        cost.reset_peak_memory(device)
        progress = self._resume()
        for task in self.tasks:
            if task.index < progress.tasks:
                continue
            data = self._task_stream(task)
            self.emit(TaskStarted(self.key, task.index))
            # Every task starts from streams of its own, so a resumed run draws the same numbers.
            torch.manual_seed(derive(spec.seed, "initialisation", task.index))
            method.grow(task)
            method.to(device)
            record = train_task(method, task, data, spec.recipe, self, spec.precision)
            data.close()
            stage = len(spec.tasks) - 1 if self.joint else task.index
            accuracy = self._evaluate(test, stage, class_tasks, record, progress)
            progress.tasks = task.index + 1
            progress.notes = method.notes
            checkpoint.save(self.folder, method, self.initial, progress)
            self.emit(TaskDone(self.key, task.index, sum(accuracy) / len(accuracy)))
        sample = self._task_stream(self.tasks[-1]).sample(cost.SAMPLE)
        predictions = {name: value.numpy() for name, value in progress.predictions.items()}
        predictions |= {
            "labels": labels.short().numpy(),
            "task_of_class": class_tasks,
            "task_of_image": image_tasks,
        }
        if self.context.keep == "last":
            predictions = final_choices(predictions, len(spec.tasks) - 1)
        return {
            "status": "done",
            "error": None,
            "accuracy": progress.accuracy,
            "losses": progress.losses,
            "train_seconds": progress.train_seconds,
            "eval_seconds": progress.eval_seconds,
            "train_images_per_second": progress.train_images_per_second,
            "trainable_parameters": progress.trainable_parameters,
            "test_counts": counts,
            **self._costs(sample),
            "marks": [*([BATCH_MARK] if method.batch_dependent else []), *method.notes],
        }, predictions

    def epoch_done(self, task: Task, epoch: int, mean_loss: float) -> None:
        """Emit an event after every epoch."""
        epochs = self.spec.recipe.epochs
        self.emit(EpochDone(self.key, task.index, epoch, epochs, mean_loss))

    def _resume(self) -> Progress:
        saved = checkpoint.load(self.folder)
        if saved is None:
            return Progress(accuracy=[None] * len(self.spec.tasks))
        state, progress = saved
        checkpoint.restore(self.method, self.tasks[: progress.tasks], state, self.initial)
        self.method.to(self.context.device)
        self.method.notes = progress.notes
        return progress

    def _tasks_of(self, counts: list[int]) -> tuple[np.ndarray, np.ndarray]:
        """Task of every class, int16 [C] (0 where all tasks share them), and test image [n]."""
        tasks = np.arange(len(counts), dtype=np.int16)
        if self.spec.scenario == "domain":
            of_class = np.zeros(len(self.stream.order), dtype=np.int16)
        else:
            of_class = np.repeat(tasks, self.spec.tasks)
        return of_class, np.repeat(tasks, counts)

    def _task_stream(self, task: Task) -> TrainingImages:
        images, labels = self.stream.train(task)
        augment = self.spec.augmentation != "none"
        return TrainingImages(
            task,
            self.context.loader(images, self.preparation, keep=not augment),
            labels.to(self.context.device),
            batch_size=self.spec.recipe.batch_size,
            seed=self.spec.seed,
            augment=augment,
            input_range=self.range,
            frozen=self._frozen_features if self.method.frozen_features else None,
            drop_last=self.spec.recipe.drop_last,
        )

    def _frozen_features(self, images: Tensor) -> Tensor:
        with torch.no_grad(), autocast(images.device, self.spec.precision):
            features: Tensor = self.frozen_model(images)
        return features.float()

    def _evaluate(
        self,
        test: TestSet,
        stage: int,
        class_tasks: np.ndarray,
        record: TaskRecord,
        progress: Progress,
    ) -> list[float]:
        """Evaluate after a task, add the outcome to `progress` and return the accuracies."""
        started = time.perf_counter()
        accuracy, kept = evaluate(self.method, test, stage, class_tasks, self.spec.precision)
        progress.accuracy[stage] = accuracy
        progress.predictions |= {f"{name}/{stage}": values for name, values in kept.items()}
        progress.losses.append(record.losses)
        progress.train_seconds.append(round(record.seconds, 4))
        progress.eval_seconds.append(round(time.perf_counter() - started, 4))
        progress.train_images_per_second.append(round(record.images / record.seconds, 1))
        progress.trainable_parameters.append(record.trainable)
        return accuracy

    def _costs(self, sample: Batch) -> dict[str, Any]:
        method = self.method
        query = cost.forward_flops(self.frozen_model, sample.images)
        peak = cost.peak_memory_mb(self.context.device)
        return {
            "expanded_parameters": method.expanded_parameters(),
            "stored_statistics": method.statistics(),
            "stored": cost.stored(method),
            "classifier_parameters": sum(p.numel() for p in method.heads.parameters()),
            "backbone_parameters": sum(p.numel() for p in self.frozen_model.parameters()),
            "flops_per_image": cost.flops_per_image(
                method, sample, self.tasks[-1], query, self.spec.recipe.batch_size
            ),
            "peak_memory_mb": round(peak, 1),
        }
