"""Networks that enlarge pictures twofold."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from model import MInterface


class EDSR(nn.Module):
    """Residual blocks without batch normalisation, which add detail to the bicubic picture.

    Args:
        in_channels: Channels of the pictures.
        guided: Whether there is a second input, a guide of one channel in the large size.
        width: Channels inside.
        depth: Number of blocks.

    Source: Lim et al., Enhanced Deep Residual Networks for Single Image Super-Resolution,
    https://arxiv.org/abs/1707.02921; smaller, and with the bicubic picture as a shortcut.
    """

    def __init__(
        self, in_channels: int = 3, guided: bool = False, width: int = 32, depth: int = 4
    ) -> None:
        super().__init__()
        self.guided = guided
        self.head = nn.Conv2d(in_channels + 4 * guided, width, 3, padding=1)
        self.body = nn.Sequential(*(ResidualBlock(width) for _ in range(depth)))
        self.tail = nn.Sequential(
            nn.Conv2d(width, 4 * in_channels, 3, padding=1), nn.PixelShuffle(2)
        )
        for parameter in self.tail.parameters():  # to begin with, it is the bicubic picture
            nn.init.zeros_(parameter)

    def forward(self, low: Tensor, guide: Tensor | None = None) -> Tensor:
        """Pictures (B, in_channels, 2 H, 2 W) of small ones (B, in_channels, H, W).

        The guide is (B, 1, 2 H, 2 W); each of its blocks of 2 x 2 pixels becomes four channels.
        """
        inputs = low
        if self.guided:
            assert guide is not None
            inputs = torch.cat([low, nn.functional.pixel_unshuffle(guide, 2)], dim=1)
        x = self.head(inputs)
        detail: Tensor = self.tail(x + self.body(x))
        return bicubic(low) + detail


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        changed: Tensor = x + self.layers(x)
        return changed


def bicubic(low: Tensor) -> Tensor:
    """Pictures (B, C, 2 H, 2 W) of small ones (B, C, H, W) without a network."""
    return interpolate(low, scale_factor=2, mode="bicubic")


class Enlarger(MInterface):
    """Trains an `EDSR`, and measures bicubic interpolation beside it (`test_psnr_bicubic`).

    Args:
        in_channels: See `EDSR`, like the next three.
        guided: Whether there is a second input.
        width: Channels inside.
        depth: Number of blocks.
        options: Those of every network.
    """

    def __init__(
        self,
        in_channels: int = 3,
        guided: bool = False,
        width: int = 32,
        depth: int = 4,
        **options: Any,
    ) -> None:
        super().__init__(EDSR(in_channels, guided, width, depth), **options)

    def step(self, batch: Any, stage: str) -> dict[str, Any]:
        """Adds what is to be measured like the output."""
        done = super().step(batch, stage)
        return done | {"bicubic": bicubic(batch["low"])} if stage != "train" else done
