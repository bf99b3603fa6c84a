"""The tasks of a run, one after another: train, evaluate, save."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmark.backbones.catalogue import BackboneError
from benchmark.data.stream import TrainingImages
from benchmark.engine import checkpoint, cost, hooks
from benchmark.engine.checkpoint import Progress, Saved
from benchmark.engine.context import Context, input_range, preparation
from benchmark.engine.evaluation import TestSet, choices, predicted
from benchmark.engine.examiner import RunData
from benchmark.engine.outside import kept_outside
from benchmark.engine.plan import PlannedRun
from benchmark.engine.state import Builder, Snapshot, StateError, tensors_of
from benchmark.engine.trainer import Observer, TaskRecord, autocast, train_task
from benchmark.engine.within_task import ResumeError, TaskSaver
from benchmark.events import EpochDone, Event, Message, RunStarted, TaskStarted
from benchmark.method import Batch, Method, Task
from benchmark.registry import METHODS
from benchmark.results.schema import BATCH_MARK

PART_OF_EVERY_RUN = True  # see engine.provenance

EVALUATION_BATCH = {"cpu": 64, "cuda": 256}  # what runs fastest; no number depends on it
Emit = Callable[[Event], None]


class TaskLoop(Observer):
    """A run in progress."""

    def __init__(
        self, planned: PlannedRun, context: Context, folder: Path, data: RunData, emit: Emit
    ) -> None:
        self._started = time.perf_counter()
        self.spec, self.key, self.label = planned.spec, planned.key, planned.label
        self.remarks = planned.notes
        self.context, self.folder, self.data, self.emit = context, folder, data, emit
        spec = self.spec
        backbone = context.backbone(spec.backbone, spec.backbone_file, spec.backbone_image_size)
        if backbone.weight_hash != planned.weight_hash:
            raise BackboneError(f"the weights of {spec.backbone} changed after the run was planned")
        self.preparation = preparation(spec, backbone)
        self.range = input_range(spec, backbone)
        self.frozen_model = backbone.model
        self.kind = METHODS.get(spec.method)
        hooks.check_class(self.kind)
        hooks.skip(self.kind, spec)  # it was no reason to skip the run, but it may raise
        self.joint = self.kind.stream == "joint"
        self.tasks = data.outline.tasks
        self.builder = Builder(
            self.kind, spec.settings, backbone.model, self.tasks, spec.seed, context.device
        )
        self._frozen = Snapshot(tensors_of(backbone.model))
        self._outside = kept_outside(self.kind)
        self._earlier_seconds = 0.0  # of processes that worked on the run before
        emit(RunStarted(planned.key, planned.label, len(self.tasks), spec.recipe.epochs))

    @property
    def seconds(self) -> float:
        """Time the run has taken, that of earlier processes included."""
        return self._earlier_seconds + time.perf_counter() - self._started

    def carry_out(self) -> dict[str, Any]:
        """Train and evaluate every task; return the outcome without accuracies."""
        device = self.context.device
        test = TestSet(
            self.data.test_loader(self.preparation),
            batch_size=EVALUATION_BATCH.get(device.type, 256),
            device=device,
            input_range=self.range,
            frozen=self.frozen_model if self.kind.frozen_features else None,
        )
        cost.reset_peak_memory(device)
        saved = self._resume()
        progress = saved.progress
        for task in self.tasks[progress.tasks :]:
            state, record = self._train(task, saved)
            self._evaluate(test, state, record, progress)
            saved = Saved(state, progress)
            self._save(saved)
            self.data.finished(task.index)
        return {
            "status": "done",
            "error": None,
            "losses": progress.losses,
            "train_seconds": progress.train_seconds,
            "eval_seconds": progress.eval_seconds,
            "train_images_per_second": progress.train_images_per_second,
            "trainable_parameters": progress.trainable_parameters,
            **progress.costs,
            "peak_memory_mb": round(progress.peak_memory_mb, 1),
            "marks": [
                *([BATCH_MARK] if progress.batch_dependent else []),
                *self.remarks,
                *progress.notes,
            ],
        }

    def _train(self, task: Task, saved: Saved) -> tuple[bytes, TaskRecord]:
        """Train on a task a method made of the state of the tasks before; return its state.

        Only what is in the state reaches the next task, whether or not the run is interrupted.
        """
        self.emit(TaskStarted(self.key, task.index))
        try:
            return self._train_from(task, saved)
        except ResumeError as error:
            self.emit(Message(f"{self.label}: task {task.index + 1} starts again: {error}"))
            return self._train_from(task, replace(saved, within=b""))

    def _train_from(self, task: Task, saved: Saved) -> tuple[bytes, TaskRecord]:
        data, progress = self._task_stream(task), saved.progress
        method = self.builder.build(saved.state, task.index)
        method.notes = list(progress.notes)
        self.builder.grow(method, task)
        self._current = _Current(data, progress)
        saver = TaskSaver(
            self.builder,
            self.context.checkpoint_every,
            keep=lambda within: self._save(replace(saved, within=within)),
            found=saved.within,
            warn=lambda text: self.emit(Message(f"{self.label} {text}")),
        )
        record = train_task(method, task, data, self.spec.recipe, self, self.spec.precision, saver)
        self._collect_marks(method, progress)
        sample = data.sample(cost.SAMPLE)
        data.close()
        state = self.builder.pack(method)
        progress.tasks = task.index + 1
        progress.costs |= self._costs(method, sample, progress)
        return state, record

    def prepared(self, method: Method, task: Task) -> None:
        """Remember the backbone as it is before training."""
        self._current.backbone = Snapshot(self.builder.pretrained())

    def trained(self, method: Method, task: Task) -> None:
        """Check the backbone, and count the operations of a step of the last task."""
        progress = self._current.progress
        self._collect_marks(method, progress)
        if not self._current.backbone.shows(self.builder.pretrained()):
            raise hooks.MethodError(
                f"{method.name} declares trains_backbone = False, but training changed the backbone"
            )
        if task is self.tasks[-1]:
            sample = self._current.data.sample(cost.SAMPLE)
            query = cost.forward_flops(self.frozen_model, sample.images)
            progress.costs["flops_per_image"] = {
                "train": self._counted(
                    "a training step",
                    progress,
                    cost.train_flops,
                    method,
                    sample,
                    task,
                    query,
                    self.spec.recipe.batch_size,
                )
            }

    def _counted(
        self, what: str, progress: Progress, count: Callable[..., float], *arguments: Any
    ) -> float | None:
        """A cost, or None and a note where it cannot be measured."""
        try:
            return count(*arguments)
        except Exception as error:  # noqa: BLE001 - a cost is never worth a run
            note = f"operations of {what} could not be counted: {hooks.described(error)}"
            progress.notes.append(note)
            return None

    def _collect_marks(self, method: Method, progress: Progress) -> None:
        """What a method has once said of a run stays said."""
        progress.notes += [text for text in hooks.notes(method) if text not in progress.notes]
        progress.batch_dependent |= bool(method.batch_dependent)

    def epoch_done(self, task: Task, epoch: int, mean_loss: float) -> None:
        """Emit an event after every epoch."""
        epochs = self.spec.recipe.epochs
        self.emit(EpochDone(self.key, task.index, epoch, epochs, mean_loss))

    def _resume(self) -> Saved:
        """Where an earlier process stopped, or the beginning."""
        try:
            if saved := checkpoint.load(self.folder):
                self.builder.build(saved.state, saved.progress.tasks)  # it fits
                self._earlier_seconds = saved.progress.seconds
                for stage, kept in saved.progress.choices.items():
                    self.data.answer(stage, {name: a.numpy() for name, a in kept.items()})
                return saved
        except (checkpoint.CheckpointError, StateError) as error:
            aside = checkpoint.put_aside(self.folder)
            text = f"{self.label} starts again, its checkpoint is put aside as {aside.name}"
            self.emit(Message(f"{text}: {error}"))
        return Saved(b"", Progress())

    def _save(self, saved: Saved) -> None:
        """Keep the run as far as it is."""
        progress = saved.progress
        peak = cost.peak_memory_mb(self.context.device)
        progress.peak_memory_mb = max(progress.peak_memory_mb, peak)
        progress.seconds = self.seconds
        checkpoint.save(self.folder, saved)

    def _task_stream(self, task: Task) -> TrainingImages:
        images, labels = self.data.train(task.index)
        augment = self.spec.augmentation != "none"
        return TrainingImages(
            task,
            self.context.loader(images, self.preparation, keep=not augment),
            torch.from_numpy(labels).to(self.context.device),
            batch_size=self.spec.recipe.batch_size,
            seed=self.spec.seed,
            augment=augment,
            input_range=self.range,
            frozen=self._frozen_features if self.kind.frozen_features else None,
            drop_last=self.spec.recipe.drop_last,
        )

    def _frozen_features(self, images: Tensor) -> Tensor:
        with torch.no_grad(), autocast(images.device, self.spec.precision):
            features: Tensor = self.frozen_model(images)
        return features.float()

    def _evaluate(
        self, test: TestSet, state: bytes, record: TaskRecord, progress: Progress
    ) -> None:
        """Predict the test images of the classes seen so far, and hand the answers in."""
        outline = self.data.outline
        stage = outline.stages - 1 if self.joint else progress.tasks - 1
        asked = torch.from_numpy(self.data.asked(stage))
        probes = torch.from_numpy(self.data.probes(stage))
        started = time.perf_counter()
        logits, batch_dependent = predicted(
            lambda: self._built(state, progress),
            test,
            asked,
            probes,
            self.tasks[progress.tasks - 1].seen,
            self.spec.precision,
        )
        progress.batch_dependent |= batch_dependent
        self._check_outside()
        answer = choices(logits, outline.class_groups)
        self.data.answer(stage, answer)
        progress.choices[stage] = {name: torch.from_numpy(a) for name, a in answer.items()}
        progress.losses.append(record.losses)
        progress.train_seconds.append(round(record.seconds, 4))
        progress.eval_seconds.append(round(time.perf_counter() - started, 4))
        progress.train_images_per_second.append(round(record.images / record.seconds, 1))
        progress.trainable_parameters.append(record.trainable)

    def _check_outside(self) -> None:
        """A method may keep numbers in its state alone."""
        if not self._frozen.shows(tensors_of(self.frozen_model)):
            raise hooks.MethodError("the method changed the frozen backbone, which is not its own")
        for name, count in kept_outside(self.kind).items():
            if count > self._outside.get(name, 0):
                raise hooks.MethodError(
                    f"the method keeps {count} numbers outside its state, in {name}: what is to "
                    "last belongs into a buffer or an extra state"
                )

    def _built(self, state: bytes, progress: Progress) -> Method:
        """A method made of the state after the finished tasks."""
        method = self.builder.build(state, progress.tasks)
        method.notes = list(progress.notes)
        return method

    def _costs(self, method: Method, sample: Batch, progress: Progress) -> dict[str, Any]:
        """What the outcome says of the method after a task; operations after the last one only."""
        backbone, heads, everything = (
            sum(p.numel() for p in module.parameters())
            for module in (self.frozen_model, method.heads, method)
        )
        added = everything - backbone - heads
        kept = sum(count for _, count in Method.named_statistics(method))
        costs = {
            "expanded_parameters": hooks.count(method, "expanded_parameters", added),
            "stored_statistics": hooks.count(method, "statistics", kept),
            "stored": cost.stored(method),
            "classifier_parameters": heads,
            "backbone_parameters": backbone,
        }
        if progress.tasks == len(self.tasks):
            query = cost.forward_flops(self.frozen_model, sample.images)
            costs["flops_per_image"] = progress.costs["flops_per_image"] | {
                "predict": self._counted(
                    "a prediction", progress, cost.predict_flops, method, sample, query
                ),
                "query": query if method.frozen_features else 0.0,
            }
        return costs


@dataclass
class _Current:
    """What is known of the task in progress."""

    data: TrainingImages
    progress: Progress
    backbone: Snapshot = field(default_factory=lambda: Snapshot(()))
