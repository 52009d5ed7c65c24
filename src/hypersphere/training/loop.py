# SPDX-License-Identifier: MIT
"""The training loop: batches in, optimiser steps, metrics, evaluations and checkpoints out."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast, gather_object
from torch import Tensor, nn

from hypersphere.analysis.layers import measure_layers
from hypersphere.analysis.operators import learned_values
from hypersphere.config import Config
from hypersphere.data import ImageSet, normalize_pixels
from hypersphere.evaluation import classify
from hypersphere.models import Classifier
from hypersphere.nn import leave_unsampled_rows
from hypersphere.regularizers.base import LayerRegularizer
from hypersphere.training.adversary import Adversary
from hypersphere.training.batches import check_batches, training_batches
from hypersphere.training.checkpoint import (
    CHECKPOINT,
    Progress,
    generator_states,
    load_checkpoint,
    save_checkpoint,
)
from hypersphere.training.failures import Diverged, explain, first_not_finite, first_spoiled_layer
from hypersphere.training.head import MEASURES, head_schedules, measured, told
from hypersphere.training.kernels import AngularKernels
from hypersphere.training.metrics import MetricsFile, Window
from hypersphere.training.optimizer import make_optimizer, set_rate
from hypersphere.training.progress import Display
from hypersphere.training.recalibrate import check_statistics, recalibrate, running_statistics
from hypersphere.training.regularization import make_regularizers
from hypersphere.training.schedules import rate_factor
from hypersphere.training.start import Start
from hypersphere.training.stopping import stop_signals

__all__ = ["Trainer", "autocast"]


class Trainer:
    """One run: everything that changes while it goes on, and the loop that changes it.

    Args:
        config: the run's settings.
        folder: the run folder; only the first process writes to it.
        train: images to learn from.
        held_out: images to evaluate on between epochs.
        held_out_split: which split those are, "validation" or "test".
        classifier: on the CPU, freshly made.
        accelerator: devices, processes and precision.
        start: what the classifier took over from another model, to be told.
        quiet: show no progress.
    """

    def __init__(
        self,
        config: Config,
        folder: Path,
        train: ImageSet,
        held_out: ImageSet,
        held_out_split: str,
        classifier: Classifier,
        accelerator: Accelerator,
        *,
        start: Start | None = None,
        quiet: bool = False,
    ) -> None:
        self.config = config
        self.folder = folder
        self.train_images = train
        self.held_out = held_out
        self.held_out_split = held_out_split
        self.accelerator = accelerator
        self.start = start
        self.quiet = quiet or not accelerator.is_main_process
        settings = config.training
        self.steps_per_epoch = train.num_batches(settings.batch_size, drop_last=True)
        if self.steps_per_epoch < 1:
            raise ValueError(
                f"training.batch_size is {settings.batch_size}, but the train split of {train.name} has only "
                f"{len(train)} images. Set training.batch_size to that or less."
            )
        check_batches(train, config)
        if settings.batch_size < accelerator.num_processes:
            raise ValueError(
                f"training.batch_size is {settings.batch_size}, fewer than the {accelerator.num_processes} processes "
                "that share each batch. Set training.batch_size to that or more."
            )
        self.total_steps = settings.steps or max(1, round(settings.epochs * self.steps_per_epoch))
        self.evaluate_interval = max(1, round(settings.evaluate_every * self.steps_per_epoch))
        if settings.channels_last:
            classifier.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.classifier = classifier.to(accelerator.device)
        self.adversary = Adversary(config, self.classifier)
        self.schedules = head_schedules(config, self.classifier.head)
        self.regularizers = make_regularizers(config)
        # a pattern that matches nothing must be heard before the first step
        self._layer_terms()
        self.optimizer = make_optimizer(self.classifier, config.optimizer)
        if config.head.sample_rate < 1:
            leave_unsampled_rows(self.optimizer, self.classifier.head)
        self.kernels = AngularKernels(self.classifier, config.optimizer)
        if settings.recalibrate:
            check_statistics(self.classifier)
        if settings.compile:
            self.classifier.model.compile()
        self.wrapped: nn.Module = accelerator.prepare_model(self.classifier)
        self.progress = Progress()
        self.window = Window()
        self.metrics: MetricsFile | None = None
        self.board: Any = None
        self._rate = 0.0
        self._since = time.perf_counter()

    # -- the loop -------------------------------------------------------------------------------------------------

    def fit(self) -> None:
        """Train to the end, from the checkpoint if the folder has one.

        Raises:
            Diverged: when the loss is no longer finite.
            KeyboardInterrupt: after Ctrl-C or SIGTERM, once a checkpoint is written.
            OSError: when a file cannot be written, on a full disk for one; the last checkpoint is then unharmed.
        """
        found = load_checkpoint(
            self.folder, self.classifier, self.regularizers, self.optimizer, rank=self.accelerator.process_index
        )
        self.progress = found or Progress()
        for schedule in self.schedules.values():
            # its state is the number of steps, which the checkpoint has
            schedule.load_state_dict({"last_step": self.progress.step})
        self.window = Window(self.progress.window)
        with self.open_files(), stop_signals() as stop_asked:
            if found is None:
                self._tell_start()
                self._evaluate()
            self.advance_to_end(stop_asked)

    def advance_to_end(self, stop_asked: Callable[[], bool] = lambda: False) -> None:
        """Take all steps that are left; between two of them `stop_asked` may end it, with a checkpoint."""
        for images, labels in self._batches():
            self._advance(images, labels, due=self.progress.step + 1)
            if self._all_stop(stop_asked) and not self.finished:
                self._checkpoint()
                raise KeyboardInterrupt

    @property
    def finished(self) -> bool:
        """Whether all steps are done."""
        return self.progress.step >= self.total_steps

    def _advance(self, images: Tensor, labels: Tensor, *, due: int) -> None:
        """One step and whatever falls due after it."""
        settings = self.config.training
        self._step(images, labels)
        self.progress.step = due
        # the time of its batch included, that of what falls due left out
        self.window.add(seconds=self._lap())
        self.display.advance(due)
        last = due == self.total_steps
        if due % settings.log_every == 0 or last:
            self._log()
        if due % self.evaluate_interval == 0 or last:
            self._evaluate()
        if due % settings.checkpoint_every == 0 or last:
            self._checkpoint()
        self._lap()

    def _lap(self) -> float:
        """Seconds since the last call, added to those of the run."""
        now = time.perf_counter()
        elapsed, self._since = now - self._since, now
        self.progress.seconds += elapsed
        return elapsed

    def _all_stop(self, asked: Callable[[], bool]) -> bool:
        """Whether to stop here; several processes agree on a step, or one would wait for the others for ever."""
        if self.accelerator.num_processes == 1:
            return asked()
        if self.progress.step % self.config.training.log_every:
            return False
        return bool(self._mean_over_processes(torch.tensor(float(asked()))) > 0)

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """This process's share of each batch from the current step on."""
        return self._batches_of(self.progress.step, self.total_steps)

    def _batches_of(self, first: int, last: int) -> Iterator[tuple[Tensor, Tensor]]:
        ranks = {"rank": self.accelerator.process_index, "world_size": self.accelerator.num_processes}
        return training_batches(self.train_images, self.config, first, last, **ranks)

    def _step(self, images: Tensor, labels: Tensor) -> None:
        """One optimiser step on the batch that all processes share."""
        settings = self.config.training
        rate = self.config.optimizer.rate * rate_factor(
            self.config.schedule,
            self.progress.step,
            total_steps=self.total_steps,
            steps_per_epoch=self.steps_per_epoch,
        )
        set_rate(self.optimizer, rate)
        self.wrapped.train()
        self._share_statistics()
        # each process averages over its own images and DDP over processes: shares of unequal size are weighed here
        share = self.accelerator.num_processes / settings.batch_size
        parts = list(zip(images.chunk(settings.accumulate), labels.chunk(settings.accumulate), strict=True))
        sums = torch.zeros(1 + len(self.regularizers), device=self.accelerator.device)
        seen = torch.zeros(len(MEASURES), device=self.accelerator.device)
        energy = torch.zeros((), device=self.accelerator.device)
        for number, (part, part_labels) in enumerate(parts, start=1):
            last = number == len(parts)
            with contextlib.nullcontext() if last else self.accelerator.no_sync(self.wrapped):
                pixels, targets = self._to_device(part, part_labels)
                with autocast(self.config, self.accelerator.device):
                    pixels = self.adversary(pixels, targets, self.progress.step, self.accelerator.process_index, number)
                    loss, measures = self.wrapped(pixels, targets, with_measures=True)
                total = loss * (len(part) * share)
                sums[0] += total.detach()
                seen += measured(measures)
                if measures.energy is not None:
                    energy += measures.energy * (len(part) * share)
                if last:
                    # these depend on the weights alone, so they count once for each step, however the batch is divided
                    for place, regularizer in enumerate(self.regularizers.values(), start=1):
                        value = regularizer(self.classifier)
                        sums[place] += value.detach()
                        total = total + value
                self.accelerator.backward(total)
        # the one place of a step that waits for the device
        objective, *added = sums.tolist()
        terms = {"objective": objective} | dict(zip(self.regularizers, added, strict=True))
        if not math.isfinite(sum(terms.values())):
            self._stop_because_broken(terms, pixels, rate)
        if settings.clip is not None:
            self.accelerator.clip_grad_norm_(self.classifier.parameters(), settings.clip)
        self.kernels.step(self.optimizer, self.progress.step + 1)
        for schedule in self.schedules.values():
            schedule.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.window.add(steps=1.0, images=float(len(images)), class_energy=float(energy), **terms)
        self.window.add(**dict(zip(MEASURES, seen.tolist(), strict=True)))
        self._rate = rate

    def _share_statistics(self) -> None:
        """Every process attacks the network of the first one, as it does after a resume.

        The wrapper shares running statistics in the same way, but at its forward, which comes after the attack.
        """
        if self.config.adversary.active and self.accelerator.num_processes > 1:
            for buffer in self.classifier.buffers():
                buffer.copy_(broadcast(buffer))

    def _stop_because_broken(self, terms: dict[str, float], pixels: Tensor, rate: float) -> NoReturn:
        """Raise before the optimiser spoils weights that are still good."""
        with autocast(self.config, self.accelerator.device):
            layer = first_spoiled_layer(self.classifier, pixels)
        step = self.progress.step + 1
        message = explain(self.classifier, terms, self._layer_terms(), layer=layer, step=step, rate=rate)
        raise Diverged(f"{message} {self._where_the_last_checkpoint_is()}")

    # -- what falls due -------------------------------------------------------------------------------------------

    def _log(self) -> None:
        """Write a line of training metrics and begin a new window."""
        terms = {name: self.window.mean(name) for name in ("objective", *self.regularizers)}
        counts = torch.tensor([self.window.sums[name] for name in (*MEASURES, "images")], dtype=torch.float64)
        if self.accelerator.num_processes > 1:
            objective = torch.tensor([terms["objective"]], dtype=torch.float64)
            terms["objective"] = float(self._mean_over_processes(objective))
            counts = self._mean_over_processes(counts) * self.accelerator.num_processes
        seconds = self.window.sums["seconds"]
        speed = float(counts[-1]) / seconds if seconds else 0.0
        shares = dict(zip(MEASURES, (counts[:-1] / counts[-1]).tolist(), strict=True))
        loss = sum(terms.values())
        self._write(
            {
                "kind": "train",
                "step": self.progress.step,
                "epoch": self.progress.step / self.steps_per_epoch,
                "loss": loss,
                "terms": terms,
                **({"energy": {}} | self._layer_terms()),
                "accuracy": shares.pop("right"),
                "margin": shares | told(self.classifier.head, self.schedules) | self._class_energy(),
                "rate": self._rate,
                "images_per_second": speed,
                "seconds": self.progress.seconds,
            }
        )
        self.display.measured(speed, loss)
        self.window.clear()

    def _tell_start(self) -> None:
        """What came from another model, as a line of metrics and in words."""
        if self.start is None:
            return
        self._write({"kind": "start", "step": 0, **asdict(self.start), "source": str(self.start.source)})
        self.display.say(f"start from {self.start.sentence()}")

    def _evaluate(self) -> None:
        """Accuracy on held-out images and the spread of every layer's neurons, as one line of metrics."""
        self.wrapped.eval()
        batches = self.held_out.batches(self.held_out.evaluation_batch)
        result = classify(self.forward, batches)
        monitor = self.config.monitor
        layers = measure_layers(
            self.classifier, power=monitor.power, distance=monitor.distance, half_space=monitor.half_space
        )
        learned = learned_values(self.classifier)
        self._lap()
        epoch = self.progress.step / self.steps_per_epoch
        self._write(
            {
                "kind": "evaluation",
                "step": self.progress.step,
                "epoch": epoch,
                "split": self.held_out_split,
                "loss": result.loss,
                "accuracy": result.accuracy,
                "seconds": self.progress.seconds,
                "layers": {name: asdict(layer) for name, layer in layers.items()},
                **({"operators": learned} if learned else {}),
            }
        )
        self.display.say(
            f"epoch {epoch:6.2f}  step {self.progress.step:6d}  {self.held_out_split} accuracy {result.accuracy:.4f}  "
            f"loss {result.loss:.4f}  {self.progress.seconds:7.1f} s"
        )

    def _checkpoint(self) -> None:
        """Save where the run stands, unless a weight is no longer finite."""
        if first_not_finite(self.classifier) is not None:
            message = explain(self.classifier, {}, {}, step=self.progress.step, rate=self._rate)
            raise Diverged(f"{message} {self._where_the_last_checkpoint_is()}")
        self._lap()
        states = gather_object([generator_states()])
        if self.metrics is not None:
            with self._writing(self.metrics.path):
                self.progress.metrics_bytes = self.metrics.size()
            self.progress.window = dict(self.window.sums)
            with self._writing(self.folder / CHECKPOINT):
                save_checkpoint(self.folder, self.progress, self.classifier, self.regularizers, self.optimizer, states)
        self.accelerator.wait_for_everyone()

    def recalibrate(self) -> None:
        """Measure running statistics again, on the training batches that would have come next; alike everywhere.

        Each process measures its own shares, in the parts that training has, attacked where training attacks them, and
        all take the mean.
        """
        settings, first = self.config.training, self.total_steps
        self._share_statistics()
        # the network that is measured has no statistics to be attacked by meanwhile
        adversary = self.adversary.as_of_now()
        parts = (
            adversary(*self._to_device(*part), step, self.accelerator.process_index, number)
            for step, batch in enumerate(self._batches_of(first, first + settings.recalibrate), start=first)
            for number, part in enumerate(zip(*(half.chunk(settings.accumulate) for half in batch), strict=True), 1)
        )
        with autocast(self.config, self.accelerator.device):
            recalibrate(self.classifier, parts)
        for statistic in running_statistics(self.classifier).values():
            statistic.copy_(self._mean_over_processes(statistic))

    # -- small parts ----------------------------------------------------------------------------------------------

    def forward(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Features, logits and loss of uint8 images in evaluation mode, in the precision of training."""
        pixels, targets = self._to_device(images, labels)
        with autocast(self.config, self.accelerator.device):
            features = self.classifier.features(pixels)
            logits = self.classifier.head(features)
            loss = self.classifier.head(features, targets)
        return features, logits, loss

    def _to_device(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        data, device = self.config.data, self.accelerator.device
        images = images.to(device, non_blocking=True)
        pixels = normalize_pixels(images, data.mean, data.std, channel_order=data.channel_order)
        if self.config.training.channels_last:
            pixels = pixels.contiguous(memory_format=torch.channels_last)
        return pixels, labels.to(device, non_blocking=True)

    def _layer_terms(self) -> dict[str, dict[str, float]]:
        """Term of the loss -> its unweighted value in each layer."""
        found = {}
        for name, regularizer in self.regularizers.items():
            assert isinstance(regularizer, LayerRegularizer)
            with torch.no_grad():
                found[name] = {layer: float(value) for layer, value in regularizer.terms(self.classifier).items()}
        return found

    def _class_energy(self) -> dict[str, float]:
        """The energy of class vectors in the objective, without its weight; nothing where there is none."""
        has = getattr(self.classifier.head, "energy", None) is not None
        return {"class_energy": self.window.mean("class_energy")} if has else {}

    def _mean_over_processes(self, values: Tensor) -> Tensor:
        reduced: Tensor = self.accelerator.reduce(values.to(self.accelerator.device), "mean")
        return reduced.cpu()

    def _write(self, line: dict[str, Any]) -> None:
        if self.metrics is not None:
            with self._writing(self.metrics.path):
                self.metrics.write(line)
        if self.board is not None:
            step = line["step"]
            for name in ("loss", "accuracy", "rate"):
                if name in line:
                    self.board.add_scalar(f"{line['kind']}/{name}", line[name], step)
            for layer, measure in line.get("layers", {}).items():
                self.board.add_scalar(f"energy/{layer}", measure["energy"], step)

    @contextlib.contextmanager
    def open_files(self) -> Iterator[None]:
        """Metrics, open on the first process, TensorBoard if asked for, and the progress bar."""
        if self.accelerator.is_main_process:
            self.metrics = MetricsFile(self.folder / "metrics.jsonl", keep=self.progress.metrics_bytes)
            if self.config.training.tensorboard:
                from torch.utils.tensorboard import SummaryWriter

                self.board = SummaryWriter(str(self.folder / "tensorboard"), purge_step=self.progress.step)
        try:
            self._since = time.perf_counter()
            with Display(self.total_steps, step=self.progress.step, quiet=self.quiet) as self.display:
                yield
        finally:
            for open_file in (self.metrics, self.board):
                if open_file is not None:
                    open_file.close()

    @contextlib.contextmanager
    def _writing(self, path: Path) -> Iterator[None]:
        """Say which file could not be written, what is safe, and what to do."""
        try:
            yield
        except OSError as error:
            raise OSError(
                f"training stopped at step {self.progress.step}: {path} could not be written "
                f"({error.strerror or error}). {self._where_the_last_checkpoint_is()} Make room, then go on with "
                "--resume."
            ) from error

    def _where_the_last_checkpoint_is(self) -> str:
        path = self.folder / CHECKPOINT
        return f"The last good checkpoint is {path}." if path.is_file() else "There is no checkpoint from before."


def autocast(config: Config, device: torch.device) -> torch.autocast:
    """Matrix products and convolutions in the precision of a run."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=config.training.precision == "bfloat16")
