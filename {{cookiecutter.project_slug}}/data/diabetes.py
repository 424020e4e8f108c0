"""A year of diabetes: a table of numbers, on every machine that has scikit-learn."""

from collections.abc import Sequence

import torch
from sklearn.datasets import load_diabetes
from torch import Tensor
from torch.utils.data import Dataset


class Diabetes(Dataset[tuple[Tensor, Tensor]]):
    """442 patients: ten measurements of each, and how far the disease was a year later.

    Items are `(measurements, progression)`: (10,), float32: age, sex, body mass index, blood
    pressure and six of blood serum; and a scalar, float32. Both have mean 0 and standard deviation
    1 over the patients that train.

    Source: Efron et al., Least Angle Regression, https://web.stanford.edu/~hastie/Papers/LARS/
    """

    def __init__(self) -> None:
        measurements, progression = load_diabetes(return_X_y=True, scaled=False)
        self.inputs = torch.from_numpy(measurements).float()
        self.targets = torch.from_numpy(progression).float()  # 25 to 346
        self.fit(range(len(self)))

    def fit(self, indices: Sequence[int]) -> None:
        """Scales by the patients that train: `DInterface` calls this once they are drawn."""
        inputs, targets = self.inputs[[*indices]], self.targets[[*indices]]
        self.means, self.stds = inputs.mean(0), inputs.std(0)
        self.mean, self.std = targets.mean().item(), targets.std().item()

    def restore(self, values: Tensor) -> Tensor:
        """Predictions in the units of the data, in which metrics are given, too."""
        return values * self.std + self.mean

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        inputs, targets = self.get_batch(torch.tensor([index]))
        return inputs[0], targets[0]

    def get_batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Returns a batch at once: measurements (B, 10) and progression (B,)."""
        inputs = (self.inputs[indices] - self.means) / self.stds
        return inputs, (self.targets[indices] - self.mean) / self.std
