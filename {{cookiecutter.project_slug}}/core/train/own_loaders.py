"""Loaders that are used as they are: a LightningDataModule's, or a LightningModule's own."""

import functools
from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.utilities.seed import isolate_rng
from torch import Tensor
from torch.utils._pytree import tree_map_only

from core import lightning
from core.errors import UsageError

# What a source is set up for before it is asked for a loader.
_STAGES = {"train": "fit", "val": "fit", "test": "test", "predict": "predict"}


class OwnLoaders:
    """Has the methods of `Parts`, and what it knows from the loaders of another.

    Args:
        source: Whose loaders they are. What is a LightningModule is asked by Lightning alone, once
            it is set up.
        is_ordered: Whether folds or weights were asked for.

    Raises:
        UsageError: They were.
    """

    def __init__(
        self, source: pl.LightningDataModule | pl.LightningModule, is_ordered: Any = False
    ) -> None:
        if is_ordered:
            what = "divides and orders its data by itself"
            raise UsageError(f"--folds and --balanced: {type(source).__name__} {what}")
        self.is_network = isinstance(source, pl.LightningModule)
        self.source, self.name = source, type(source).__name__
        self._made: dict[str, Any] = {}
        self._is_ready: set[str] = set()  # for these stages
        for split in ("val", "predict") if self.is_network else ():
            if own := self._own(split):
                asked = getattr(source, f"{own[0]}_dataloader")
                setattr(source, f"{split}_dataloader", functools.partial(self._ask, own[0], asked))

    def _ask(self, split: str, asked: Callable[[], Any]) -> Any:
        """A network's loader; outside of training it is set up as for that, or the test."""
        trainer: Any = self.source.trainer
        if trainer.validating or (trainer.predicting and split == "test"):
            self.source.setup(_STAGES[split])
        loader = asked()
        if trainer.predicting and isinstance(loader, dict | list | tuple):
            raise UsageError(f"{self.name}.{split}_dataloader returns several loaders; return one")
        return lightning.unwatched(loader) if trainer.predicting else loader

    def loader(self, split: str) -> Any:
        """The loader of a part, of several by name; an empty list if there is none.

        Made before Lightning asks: those that it watches being made it can't change to predict.
        """
        if split not in self._made:
            self._made[split] = self._make(split)
        return self._made[split]

    def _own(self, split: str) -> list[str]:
        """The splits whose loader is that of a split, the likeliest first."""
        splits = [split, *["test"] * (split == "predict")]
        return [s for s in splits if lightning.has_step(self.source, f"{s}_dataloader")]

    def _make(self, split: str) -> Any:
        if not (own := self._own(split)):
            return []
        if (stage := _STAGES[own[0]]) not in self._is_ready:
            self._is_ready.add(stage)
            self.source.setup(stage)
        made = getattr(self.source, f"{own[0]}_dataloader")()
        if isinstance(made, dict | list | tuple) and split == "train":
            raise UsageError(f"{self.name}.train_dataloader returns several loaders; return one")
        if isinstance(made, list | tuple):
            made = made[0] if len(made) == 1 else {str(n): one for n, one in enumerate(made)}
        return [] if made is None else made

    def part(self, split: str) -> Any:
        """The dataset of a part's loader; of several by name; None if there is none.

        Of a LightningModule what makes the loader.
        """
        if self.is_network:
            return next((getattr(self.source, f"{s}_dataloader") for s in self._own(split)), None)
        loader = self.loader(split)
        if isinstance(loader, dict):
            return {name: getattr(one, "dataset", one) for name, one in loader.items()}
        return getattr(loader, "dataset", None)

    def any(self) -> Any:
        """The dataset that trains."""
        return self.part("train")

    @isolate_rng(include_cuda=False)
    def sample(self) -> Any:
        """A batch of one sample."""
        batch = next(iter(self.loader("train")))
        return tree_map_only(Tensor, lambda tensor: tensor[:1] if tensor.ndim else tensor, batch)

    def download(self) -> None:
        """Has it prepare its data."""
        if not self.is_network:
            self.source.prepare_data()

    def has_target(self, split: str) -> bool:
        """Of its batches it knows best."""
        return True

    def take_whole(self) -> None:
        """Its part to predict is what it says."""

    def sizes(self) -> dict[str, int]:
        """It may not know."""
        return {}

    def is_divided(self) -> bool:
        """It divides by itself."""
        return False

    def take_heldout(self) -> bool:
        """It is not divided into folds."""
        return False

    def told(self) -> str:
        """Whose loaders they are, and the names of several."""
        if self.is_network:
            hint = "they may go on in another order on resume; --dataset NAME takes other data"
            return f"the loaders are those of {self.name} itself, as no --dataset is typed: {hint}"
        named = {s: [*made] for s, made in self._made.items() if isinstance(made, dict)}
        text = "".join(
            f"; {s} sets: {', '.join(n)} ({s}_loss is of the first)" for s, n in named.items()
        )
        return f"the loaders are those of {self.name}: their order on resume is its own{text}"
