"""The seam: all that Lightning calls private or internal is touched here, a function a matter.

When a release moves one, the test of its name in tests/test_lightning.py of the template fails.
"""

import builtins
import contextlib
import inspect
import logging
import os
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.data import suggested_max_num_workers
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.loops.optimization.manual import _ManualOptimization
from pytorch_lightning.profilers import Profiler
from pytorch_lightning.utilities.memory import is_oom_error
from pytorch_lightning.utilities.model_helpers import is_overridden
from pytorch_lightning.utilities.model_summary import ModelSummary
from torch import Tensor
from torch.utils._pytree import tree_map_only
from torch.utils.flop_counter import FlopCounterMode
from torchmetrics import Metric

from core.errors import UsageError

# What Lightning calls the parts of training, by how it ends: trainer/call.py, loops/.
PARTS = {
    "].train_dataloader_next": "waiting for data",
    ".batch_to_device": "transfer to device",
    ".training_step": "forward",
    ".backward": "backward",
    ".optimizer_step": "optimizer",
    ".validation_step": "validation",
    "].val_next": "validation",
    "logging": "logging",
}
EPOCH = "run_training_epoch"  # what all parts of training are inside of: loops/fit_loop.py


def epoch(trainer: pl.Trainer) -> int:
    """Epochs that training has ended, also before its loop begins: loops/progress.py."""
    current: Any = trainer.fit_loop.epoch_progress.current
    return int(current.processed)


def batches_begun(trainer: pl.Trainer) -> int:
    """Batches of this epoch that training has taken: loops/training_epoch_loop.py."""
    return int(trainer.fit_loop.epoch_loop.batch_progress.current.ready)


def batches_done(trainer: pl.Trainer) -> int:
    """Batches of the epoch that training is in, 0 once it is over: loops/training_epoch_loop.py."""
    batches: Any = trainer.fit_loop.epoch_loop.batch_progress
    is_over = batches.is_last_batch and batches.current.processed == batches.current.ready
    return 0 if is_over else int(batches.current.processed)


def take_refused(trainer: pl.Trainer) -> dict[str, Any]:
    """Takes off what is refused under manual optimization: trainer/configuration_validator.py."""
    taken = {n: getattr(trainer, n) for n in ("gradient_clip_val", "accumulate_grad_batches")}
    vars(trainer).update(gradient_clip_val=None, accumulate_grad_batches=1)
    return taken


@contextlib.contextmanager
def apart(trainer: pl.Trainer) -> Iterator[None]:
    """Leaves a manual pass's gradients in their process: strategies/, overrides/distributed.py.

    Lightning would then no longer have the buffers of the first process before each batch.
    """
    with getattr(trainer.strategy, "block_backward_sync", contextlib.nullcontext)():
        yield
    if isinstance(trainer.strategy.model, torch.nn.parallel.DistributedDataParallel):
        trainer.strategy.model.require_forward_param_sync = True


class _CountsOnce(_ManualOptimization):
    """Counts a batch's steps, of however many optimizers, as one."""

    def __init__(self, trainer: pl.Trainer, flush: Callable[[Any], None]) -> None:
        super().__init__(trainer)
        self.flush, self.has_stepped = flush, False
        self.profiler: Any = trainer.profiler  # type: ignore[attr-defined]

    def advance(self, kwargs: Any) -> None:
        super().advance(kwargs)
        if self.trainer.fit_loop.epoch_loop._should_accumulate():
            return
        self.flush(self.trainer.lightning_module)
        if self.has_stepped:
            self.optim_step_progress.increment_ready()
            self.optim_step_progress.increment_completed()
        self.has_stepped = False

    def _on_before_step(self) -> None:
        self.profiler.start("optimizer_step")

    def _on_after_step(self) -> None:
        self.profiler.stop("optimizer_step")
        self.has_stepped = True


def count_once(trainer: pl.Trainer, flush: Callable[[Any], None]) -> None:
    """Counts a batch's manual steps in `global_step` as one: loops/optimization/manual.py.

    Before, `flush` may make those that are left over.
    """
    trainer.fit_loop.epoch_loop.manual_optimization = _CountsOnce(trainer, flush)


def move_schedules_of_epochs(trainer: pl.Trainer) -> None:
    """Has Lightning move them under manual optimization, too: loops/training_epoch_loop.py."""
    loop, model = trainer.fit_loop.epoch_loop, trainer.lightning_module
    update = type(loop)._update_learning_rates

    def update_learning_rates(interval: str, update_plateau_schedulers: bool) -> None:
        model.automatic_optimization = interval == "epoch"
        update(loop, interval, update_plateau_schedulers)
        model.automatic_optimization = False

    vars(loop)["_update_learning_rates"] = update_learning_rates


def is_in_epoch(trainer: pl.Trainer) -> bool:
    """Whether training has begun, not only looked at an example: loops/progress.py."""
    total: Any = trainer.fit_loop.epoch_progress.total
    return trainer.training and bool(total.started)


def let_plateau_step(trainer: pl.Trainer) -> None:
    """Has a resumed epoch count for ReduceLROnPlateau: loops/fit_loop.py, `restarting`."""
    trainer.fit_loop.restarting = False


def end_training(trainer: pl.Trainer) -> None:
    """Ends training with the step just made: loops/training_epoch_loop.py, `max_steps`.

    What was made as long as training, such as schedules, has its length already.
    """
    trainer.fit_loop.epoch_loop.max_steps = trainer.global_step


def count_steps_before(trainer: pl.Trainer, checkpoint: dict[str, Any]) -> None:
    """Takes back a step that is logged but not yet made: loops/training_epoch_loop.py.

    On loading Lightning would else go on one step further.
    """
    loop: Any = trainer.fit_loop.epoch_loop
    batches = loop.batch_progress.current
    if batches.started < batches.ready and not loop._should_accumulate():
        state = checkpoint["loops"]["fit_loop"]["epoch_loop.state_dict"]
        state["_batches_that_stepped"] -= 1


def count_batches_anew(checkpoint: dict[str, Any], then: int, now: int) -> None:
    """Counts an epoch's batches in another size: loops/progress.py."""
    done = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]["current"]
    done.update({name: count * then // now for name, count in done.items()})


def forget_lengths(checkpoint: dict[str, Any]) -> None:
    """Takes the lengths out of saved schedules, which may be others now: torch's lr_scheduler.py.

    Lightning saves them as they are: trainer/connectors/checkpoint_connector.py.
    """
    for state in checkpoint.get("lr_schedulers", []):
        for inner in [state, *state.get("_schedulers", [])]:
            for name in ("total_steps", "_schedule_phases", "T_max", "total_iters"):
                inner.pop(name, None)


def logged_sums(trainer: pl.Trainer) -> list[dict[str, Any]]:
    """What `self.log` has summed up in training: trainer/connectors/logger_connector/result.py.

    For each value how it is logged, the sums, and what is logged of the step.
    """
    found = []
    for item in trainer.fit_loop.epoch_loop._results.values():
        if item.has_reset or not item.is_tensor or item.meta.sync.group is not None:
            continue
        names = "fx name prog_bar logger on_step on_epoch enable_graph add_dataloader_idx"
        how = {name: getattr(item.meta, name) for name in [*names.split(), "metric_attribute"]}
        how |= {"sync_dist": item.meta.sync.should, "reduce_fx": item.meta.reduce_fx.__name__}
        how["rank_zero_only"] = item.meta.sync.rank_zero_only
        is_own = item.meta.reduce_fx in (max, min, sum)  # Python's, not torch's
        states = dict(item.metric_state)
        found.append({"how": how, "own": is_own, "states": states, "step": item._forward_cache})
    return found


def go_on_summing(trainer: pl.Trainer, found: list[dict[str, Any]]) -> None:
    """Takes over what `logged_sums` gave, before a batch is logged, or after all were."""
    results: Any = trainer.fit_loop.epoch_loop._results
    zero = torch.zeros((), device=trainer.strategy.root_device)
    for saved in found:
        how = dict(saved["how"])
        how["reduce_fx"] = getattr(builtins if saved["own"] else torch, how["reduce_fx"])
        sync = {"sync_dist_fn": trainer.strategy.reduce}
        results.log(value=zero, batch_size=1, **how, **sync)
        item = results[f"{how['fx']}.{how['name']}"]
        for name, value in (saved["states"] | {"_forward_cache": saved["step"]}).items():
            setattr(item, name, value.to(zero.device) if isinstance(value, Tensor) else value)
        if trainer._logger_connector._first_loop_iter:  # else the batch's first log would reset all
            trainer._logger_connector._first_loop_iter = False


def known(trainer: pl.Trainer) -> dict[str, Any]:
    """What was logged last under each name, for plateaus and others that look at it.

    No checkpoint of Lightning holds it: connectors/logger_connector/, `_callback_metrics`.
    """
    return trainer._logger_connector._callback_metrics


def restore(metric: Metric, states: dict[str, Any]) -> None:
    """Gives a metric the sums of another: torchmetrics/metric.py, `_update_count`."""
    for state, value in tree_map_only(Tensor, lambda t: t.to(metric.device), states).items():
        setattr(metric, state, value)
    metric._update_count = 1


class Summary(ModelSummary):
    """Layers, sizes and FLOPs as far as they can be computed: utilities/model_summary/.

    Lightning calls the example without gradients, where the counter of FLOPs takes no view of a
    parameter, such as an expanded class token; nested tensors it never takes.
    """

    missing = ""  # what could not be computed, and why

    def _forward_example_input(self) -> None:
        model, trainer = self._model, self._model._trainer
        example = model._on_before_batch_transfer(model.example_input_array)
        example = model._apply_batch_transfer_handler(example)
        if trainer is not None:  # as precise as the network, which Lightning forgets
            example = trainer.precision_plugin.convert_input(example)
        modes = {module: module.training for module in model.modules()}
        model.eval()
        for what, grad, counter in (
            ("FLOPs", torch.enable_grad(), self._flop_counter),
            ("sizes", torch.no_grad(), contextlib.nullcontext()),
        ):
            context: Any = trainer.precision_plugin.forward_context() if trainer else grad
            try:
                with context, grad, counter:
                    if isinstance(example, dict):
                        model(**example)
                    else:
                        model(*example if isinstance(example, list | tuple) else [example])
                break
            except Exception as error:  # of the network or the counter: training will tell which
                self.missing = f"no {what}: {type(error).__name__}: {str(error)[:120]}"
                depth = self._max_depth + 1
                self._flop_counter = FlopCounterMode(display=False, depth=depth)
        for module, mode in modes.items():
            module.training = mode

    def table(self) -> tuple[Any, ...]:
        """What Lightning's `ModelSummary.summarize` prints: columns, and numbers."""
        numbers = (self.total_parameters, self.trainable_parameters, self.model_size)
        return (self._get_summary_data(), *numbers, self.total_training_modes, self.total_flops)


def as_precise(trainer: pl.Trainer, batch: Any) -> Any:
    """A batch in the precision of the network: plugins/precision/precision.py."""
    return trainer.precision_plugin.convert_input(batch)


def can_fuse(trainer: pl.Trainer) -> bool:
    """Whether an optimizer may be fused: none is clipped then in plugins/precision/amp.py."""
    return not (trainer.gradient_clip_val and "mixed" in str(trainer.precision))


def logged(trainer: pl.Trainer) -> list[str]:
    """What has been logged, also in an epoch that is not over: logger_connector/result.py."""
    results: Any = trainer._results
    of_epoch = [item.meta.name for item in results.values()] if results else []
    return [*dict.fromkeys([*trainer.callback_metrics, *of_epoch])]


def has_step(model: pl.LightningModule | pl.LightningDataModule, step: str) -> bool:
    """Whether a module has such a step, or loader, of its own: utilities/model_helpers.py."""
    return bool(is_overridden(step, model))


def is_out_of_memory(error: Exception) -> bool:
    """Of a device, the host, or a process that loads data and was killed: utilities/memory.py."""
    texts = ("out of memory", "allocate memory", "killed by signal: Killed", "exited unexpectedly")
    found = isinstance(error, MemoryError) or any(text in str(error) for text in texts)
    return found or bool(is_oom_error(error))


def most_workers(devices: int) -> int:
    """Processes that Lightning advises to load data with: lightning_fabric/utilities/data.py."""
    return int(suggested_max_num_workers(devices))


def check_takes_several(trainer: pl.Trainer, split: str) -> None:
    """Refuses several loaders for a step that can't tell them apart: loops/utilities.py."""
    step = {"val": "validation_step", "test": "test_step"}[split]
    model = trainer.lightning_module
    if "dataloader_idx" not in inspect.signature(getattr(model, step)).parameters:
        name = f"{type(model).__name__}.{step}"
        raise UsageError(f"there are several {split} sets; give {name} dataloader_idx=0, too")


def unwatched(loader: Any) -> Any:
    """A loader that Lightning can change to predict: lightning_fabric/utilities/data.py.

    Of one that it watched being made, `DataLoader(dataset, 8)`, it would pass the 8 twice.
    """
    held = getattr(loader, "__dict__", {})
    for name in [name for name in held if name.startswith("__pl_saved")]:
        del held[name]
    return loader


@contextlib.contextmanager
def refused(*more: type[Exception], title: str = "trainer") -> Iterator[None]:
    """Tells in a line what Lightning refuses: lightning_fabric/utilities/exceptions.py.

    So are exceptions of the kinds `more`; the line begins with the title.
    """
    try:
        yield
    except UsageError:
        raise
    except Exception as error:
        if not isinstance(error, (MisconfigurationException, *more)):
            raise
        raise UsageError(f"{title}: {' '.join(str(error).split())}") from error


def check_strategy(strategy: Any) -> None:
    """Refuses what forks or spawns processes that would not know the run: strategies/launchers/."""
    if isinstance(strategy, str) and any(w in strategy for w in ("spawn", "fork", "notebook")):
        hint = "type --strategy ddp"
        raise UsageError(f"--strategy {strategy}: its processes do not start main.py; {hint}")


def profile(trainer: pl.Trainer, profiler: Profiler) -> None:
    """Has a trainer that is made already profiled: trainer/trainer.py."""
    trainer.profiler = profiler  # type: ignore[attr-defined]


def mute() -> None:
    """Mutes what no user can mend, by what the warnings say: lightning_fabric/utilities/."""
    if not torch.cuda.is_available():  # else each step looks for a driver
        os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "0"
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    for noise in (
        "not have many workers",
        "is not empty",
        "sync_dist=True",  # whoever logs the epoch has put the processes' sums together
        "LeafSpec",
        "is not supported by the model summary",
        "logging interval",
        "dataloader is not resumable",
        "when using `ckpt_path`, callbacks",
    ):
        warnings.filterwarnings("ignore", f".*{noise}")
