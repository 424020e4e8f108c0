"""Strings of digits and the same backwards, of different lengths."""

from typing import Literal

import torch
from torch import Tensor
from torch.utils.data import Dataset

PAD, START, END = 0, 1, 2  # what fills shorter strings up, and what stands before and behind one


class ReversedDigits(Dataset[tuple[Tensor, Tensor]]):
    """Distinct strings of digits; none of those that train validates or tests.

    Items are `(source, target)`, int64: source (L,), the digits 0 to 9 as 3 to 12; target (L + 1,),
    the same backwards and `END`. A batch is filled up with `PAD`, which the loss ignores.

    Args:
        split: Which part: nine tenths train, a twentieth each validates and tests.
        num_strings: How many are drawn; some tenth of them are short, and drawn twice.
        min_length: Digits of the shortest strings.
        max_length: Digits of the longest strings; each length is as likely as others.
    """

    vocab_size = 13
    ignore_index = PAD

    def __init__(
        self,
        split: Literal["train", "val", "test"] = "train",
        num_strings: int = 10_000,
        min_length: int = 3,
        max_length: int = 8,
    ) -> None:
        generator = torch.Generator().manual_seed(0)
        lengths = torch.randint(min_length, max_length + 1, (num_strings,), generator=generator)
        digits = torch.randint(3, 13, (num_strings, max_length), generator=generator)
        drawn = zip(digits.tolist(), lengths.tolist(), strict=True)
        strings = [*dict.fromkeys(tuple(row[:length]) for row, length in drawn)]
        fold = {"train": range(18), "val": range(18, 19), "test": range(19, 20)}[split]
        self.strings = [torch.tensor(s) for n, s in enumerate(strings) if n % 20 in fold]

    def __len__(self) -> int:
        return len(self.strings)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        source = self.strings[index]
        return source, torch.cat([source.flip(0), torch.tensor([END])])

    @staticmethod
    def collate_fn(items: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        """Source (B, S) and target (B, S + 1) of the longest string, the others filled up."""
        sources, targets = (
            torch.nn.utils.rnn.pad_sequence([*strings], batch_first=True, padding_value=PAD)
            for strings in zip(*items, strict=True)
        )
        return sources, targets
