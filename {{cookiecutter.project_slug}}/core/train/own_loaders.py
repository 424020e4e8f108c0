"""A LightningDataModule that was dropped in: its loaders are used as they are."""

from typing import Any

import pytorch_lightning as pl
from torch import Tensor
from torch.utils._pytree import tree_map_only

from core import lightning
from core.errors import UsageError


class OwnLoaders:
    """Has the methods of `Parts`, and what it knows from the loaders of another.

    Args:
        source: Whose loaders they are.
    """

    def __init__(self, source: pl.LightningDataModule) -> None:
        self.source = source
        self._made: dict[str, Any] = {}

    def loader(self, split: str) -> Any:
        """The loader of a part; an empty list if there is none.

        Made before Lightning asks: those that it watches being made it can't change to predict.
        """
        if split not in self._made:
            names = [f"{split}_dataloader", *["test_dataloader"] * (split == "predict")]
            own = [name for name in names if lightning.has_step(self.source, name)]
            self._made[split] = getattr(self.source, own[0])() if own else []
            if own and isinstance(self._made[split], list | tuple | dict):
                what = f"{type(self.source).__name__}.{own[0]} returns several loaders"
                raise UsageError(f"{what}; return one")
        return self._made[split]

    def part(self, split: str) -> Any:
        """The dataset of a part's loader; None if there is none."""
        return getattr(self.loader(split), "dataset", None)

    def any(self) -> Any:
        """The dataset that trains."""
        return self.part("train")

    def sample(self) -> Any:
        """A batch of one sample."""
        batch = next(iter(self.loader("train")))
        return tree_map_only(Tensor, lambda tensor: tensor[:1] if tensor.ndim else tensor, batch)

    def download(self) -> None:
        """Has it prepare its data."""
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
        """Whose loaders they are."""
        name = type(self.source).__name__
        return f"the loaders are those of {name}: their order on resume is its own, maybe another"
