"""Residual networks."""

from typing import Literal

import torchvision
from torch import Tensor, nn


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut, as in ResNet-18 and -34."""

    expansion = 1

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(in_channels, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        activated: Tensor = self.relu(out + self.downsample(x))
        return activated


class Bottleneck(nn.Module):
    """A 3x3 convolution between two 1x1 ones beside a shortcut, as in ResNet-50 and deeper."""

    expansion = 4

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(in_channels, 4 * width, stride)

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        activated: Tensor = self.relu(out + self.downsample(x))
        return activated


def _shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    conv = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(out_channels))


_DEPTHS: dict[int, tuple[type[BasicBlock] | type[Bottleneck], list[int]]] = {
    18: (BasicBlock, [2, 2, 2, 2]),
    34: (BasicBlock, [3, 4, 6, 3]),
    50: (Bottleneck, [3, 4, 6, 3]),
    101: (Bottleneck, [3, 4, 23, 3]),
    152: (Bottleneck, [3, 8, 36, 3]),
}


class ResNet(nn.Module):
    """A residual network. Its weights have torchvision's names.

    Args:
        num_classes: Number of outputs.
        in_channels: Channels of the images.
        depth: Number of layers.
        width: Channels of the first stage; each of the next three doubles them.
        stem: small keeps the resolution at first (3x3 convolution, for images of up to about 64
            pixels), large quarters it (7x7 convolution of stride 2, then pooling).
        pretrained: Whether to start from torchvision's ImageNet weights (downloaded once); layers
            of another shape, such as the head, start at random. Needs width 64.

    Source: He et al., Deep Residual Learning for Image Recognition, https://arxiv.org/abs/1512.03385;
    the stride of a bottleneck is in its 3x3 convolution, as in torchvision; the small stem is that
    of https://github.com/kuangliu/pytorch-cifar.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 3,
        depth: Literal[18, 34, 50, 101, 152] = 18,
        width: int = 64,
        stem: Literal["small", "large"] = "small",
        pretrained: bool = False,
    ) -> None:
        super().__init__()
        block, counts = _DEPTHS[depth]
        if stem == "small":
            self.conv1 = nn.Conv2d(in_channels, width, 3, padding=1, bias=False)
            self.maxpool: nn.Module = nn.Identity()
        else:
            self.conv1 = nn.Conv2d(in_channels, width, 7, stride=2, padding=3, bias=False)
            self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        channels = width
        for stage, count in enumerate(counts):
            blocks = []
            for index in range(count):
                blocks.append(
                    block(channels, width << stage, stride=2 if stage and not index else 1)
                )
                channels = block.expansion * (width << stage)
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if pretrained:
            self._load_pretrained(depth)

    def _load_pretrained(self, depth: int) -> None:
        weights = torchvision.models.get_model_weights(f"resnet{depth}")["DEFAULT"]
        found = weights.get_state_dict(progress=True, check_hash=True)
        own = self.state_dict()
        self.load_state_dict(
            {n: v for n, v in found.items() if v.shape == own[n].shape}, strict=False
        )

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, num_classes) of images (B, in_channels, H, W)."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for stage in range(4):
            x = self.get_submodule(f"layer{stage + 1}")(x)
        logits: Tensor = self.fc(self.avgpool(x).flatten(1))
        return logits
