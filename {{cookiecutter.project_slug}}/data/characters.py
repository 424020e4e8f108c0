"""English prose, letter by letter: the manual of Python that every Python has with it."""

from collections.abc import Iterable, Iterator
from pydoc_data.topics import topics
from typing import Literal

import torch
from torch import Tensor
from torch.utils.data import Dataset


class Characters(Dataset[tuple[Tensor, Tensor]]):
    """Parts of a text in their order: each begins where the one before it ends.

    Items are `(tokens, next)`, (T,), int64: characters, and for each the one that follows.

    The first 80 % of the text train, the next 10 % validate, the last test. A batch of training
    has a part of each of B lanes, and the next batch the parts that follow: a network that keeps
    its state from batch to batch reads B places of the text at once, from the first part on.

    Args:
        split: train, val or test.
        length: Characters of a part.
    """

    alphabet = "\n" + "".join(map(chr, range(32, 127)))
    vocab_size = len(alphabet)

    def __init__(self, split: Literal["train", "val", "test"] = "train", length: int = 64) -> None:
        parts = "\n\n".join(topics[name] for name in sorted(topics)).split("\n\n")
        once = dict.fromkeys(part for part in parts if "+--" not in part)  # what is no table
        text = "\n\n".join(once)
        codes = [self.alphabet.find(letter) for letter in text]
        tokens = torch.tensor([code for code in codes if code >= 0])
        ends = [0, len(tokens) * 8 // 10, len(tokens) * 9 // 10, len(tokens)]
        number = ["train", "val", "test"].index(split)
        self.tokens, self.length = tokens[ends[number] : ends[number + 1]], length

    def __len__(self) -> int:
        return (len(self.tokens) - 1) // self.length

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        part = self.tokens[index * self.length : (index + 1) * self.length + 1]
        return part[:-1], part[1:]

    def batches(
        self, indices: Tensor, batch_size: int, generator: torch.Generator
    ) -> Iterator[Tensor]:
        """The parts of each training batch, in lanes.

        Args:
            indices: All parts, (N,); with fewer than one for each lane there is no batch.
            batch_size: Lanes, B.
            generator: Not used: the order of a text is its own.

        Yields:
            Parts (B,), of which each follows the one in the batch before.
        """
        count = len(indices) // batch_size
        lanes: Iterable[Tensor] = indices[: count * batch_size].view(batch_size, count).T
        yield from lanes
