"""Networks that tell the class of each pixel."""

import itertools
from typing import Any

import torch
from torch import Tensor, nn

from model import MInterface


class UNet(nn.Module):
    """Convolutions at ever coarser sizes and back again, with shortcuts between equal sizes.

    Args:
        num_classes: Number of outputs for each pixel.
        in_channels: Channels of the images.
        width: Channels at full size; each of the coarser sizes doubles them.
        depth: How often the size is halved; it must be divisible by 2 ** depth.

    Source: Ronneberger et al., U-Net, https://arxiv.org/abs/1505.04597; padded, so that the output
    is as large as the image, and with batch normalisation.
    """

    def __init__(
        self, num_classes: int, in_channels: int = 3, width: int = 16, depth: int = 3
    ) -> None:
        super().__init__()
        widths = [width << level for level in range(depth + 1)]
        pairs = [*itertools.pairwise(widths)]  # from fine to coarse
        self.first = _block(in_channels, width)
        self.down = nn.ModuleList(_block(fine, coarse) for fine, coarse in pairs)
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(coarse, fine, 2, stride=2) for fine, coarse in pairs
        )
        self.merge = nn.ModuleList(_block(2 * fine, fine) for fine, _ in pairs)
        self.pool = nn.MaxPool2d(2)
        self.last = nn.Conv2d(width, num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, num_classes, H, W) of images (B, in_channels, H, W)."""
        found = [self.first(x)]
        for down in self.down:
            found.append(down(self.pool(found[-1])))
        x = found.pop()
        for up, merge in zip(reversed(self.up), reversed(self.merge), strict=True):
            x = merge(torch.cat([found.pop(), up(x)], dim=1))
        logits: Tensor = self.last(x)
        return logits


def _block(in_channels: int, out_channels: int) -> nn.Module:
    """Twice convolution, batch normalisation and ReLU."""
    layers: list[nn.Module] = []
    for channels in (in_channels, out_channels):
        layers += [
            nn.Conv2d(channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)


class Segmenter(MInterface):
    """Trains a `UNet`, and measures beside it what a threshold on the brightness finds.

    A threshold tells no classes but what stands out from what does not, so both are measured by
    that: `ink_iou` and `ink_iou_threshold` are the means over the images of the IoU of all pixels
    that are not of class 0.

    Args:
        num_classes: See `UNet`, like the next three.
        in_channels: Channels of the images.
        width: Channels at full size.
        depth: How often the size is halved.
        threshold: The brightness above which a pixel counts as found; 0.5 does about best in
            training, of all that are the same for each image.
        options: Those of every network.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 3,
        width: int = 16,
        depth: int = 3,
        threshold: float = 0.5,
        **options: Any,
    ) -> None:
        super().__init__(UNet(num_classes, in_channels, width, depth), **options)
        self.threshold = threshold

    def step(self, batch: Any, stage: str) -> dict[str, Any]:
        """Adds both to the loss."""
        done = super().step(batch, stage)
        images, masks = batch
        found, bright = done["output"].argmax(1) > 0, images.mean(1) > self.threshold
        scores = {"ink_iou": found, "ink_iou_threshold": bright}
        return done | {name: _iou(pixels, masks > 0) for name, pixels in scores.items()}


def _iou(found: Tensor, there: Tensor) -> Tensor:
    """Mean over images of intersection over union of two sets of pixels, (B, H, W), bool."""
    both, either = (found & there).sum((1, 2)), (found | there).sum((1, 2))
    return (both / either.clamp(min=1)).mean()
