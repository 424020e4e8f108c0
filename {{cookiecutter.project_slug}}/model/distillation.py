"""A small network learns from the outputs of a trained one."""

import zlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from core.errors import UsageError
from core.runs.folders import find_checkpoint, find_folder
from model import MInterface
from model.mlp import MLP


class Distillation(MInterface):
    """A multilayer perceptron as a student, and a run as its teacher.

    The teacher is no part of the student: neither its checkpoints nor its optimizer hold the
    teacher's weights. A run that goes on finds it again, and refuses another one.

    Args:
        input_size: Shape of one input.
        num_classes: Number of classes.
        teacher: A run, by name or folder, whose best weights teach.
        hidden_sizes: Width of each hidden layer of the student.
        share: How much the teacher counts, from 0 to 1; the labels count the rest.
        temperature: What the logits of both are divided by.
        options: Those of every network.

    Source: Hinton et al., Distilling the Knowledge in a Neural Network,
    https://arxiv.org/abs/1503.02531
    """

    def __init__(
        self,
        input_size: Sequence[int],
        num_classes: int,
        teacher: str,
        hidden_sizes: Sequence[int] = (32,),
        share: float = 0.9,
        temperature: float = 4.0,
        **options: Any,
    ) -> None:
        super().__init__(MLP(input_size, num_classes, hidden_sizes), **options)
        self.share, self.temperature = share, temperature
        self._teacher: list[MInterface] = []  # in a list it is no module of this one
        self._taught_by: int | None = None  # what tells its weights from others

    def setup(self, stage: str) -> None:
        """Loads the teacher, to train alone."""
        super().setup(stage)
        if stage == "fit":
            folder = find_folder("runs", self.hparams["teacher"])
            teacher = MInterface.load_from_checkpoint(find_checkpoint(folder, "best"))
            self._teacher = [teacher.eval().requires_grad_(False)]

    def step(self, batch: Any, stage: str) -> dict[str, Any]:
        """In training, adds to the loss how far the student is from the teacher."""
        done = super().step(batch, stage)
        if stage != "train":
            return done
        inputs, _ = self.split_batch(batch)
        student = F.log_softmax(done["output"] / self.temperature, 1)
        teacher = F.log_softmax(self._taught(*inputs) / self.temperature, 1)
        far = F.kl_div(student, teacher, reduction="batchmean", log_target=True)
        loss = (1 - self.share) * done["loss"] + self.share * self.temperature**2 * far
        return done | {"loss": loss, "distance": far}

    @torch.no_grad()
    def _taught(self, *inputs: Tensor) -> Tensor:
        """The teacher's logits."""
        [teacher] = self._teacher
        logits: Tensor = teacher.to(self.device)(*inputs)
        return logits

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keeps what tells the teacher from another one."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["teacher"] = self._sum()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuses another teacher than before."""
        super().on_load_checkpoint(checkpoint)
        if self._teacher and checkpoint["teacher"] != self._sum():
            name = self.hparams["teacher"]
            raise UsageError(f"--teacher {name}: its weights are not those that taught this run")

    def _sum(self) -> int:
        """A checksum of the teacher's weights."""
        total = 0
        for weight in self._teacher[0].state_dict().values() if self._teacher else ():
            total = zlib.crc32(weight.cpu().numpy().tobytes(), total)
        return total
