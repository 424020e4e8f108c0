from functools import partial
from typing import Any, Callable, List, Optional, Sequence

import torch
from torch import nn, Tensor

__all__ = ["MobileNetV3", "mobilenet_v3_small"]


class InvertedResidualConfig:
    # Stores information listed at Tables 1 and 2 of the MobileNetV3 paper
    def __init__(self, input_channels: int, out_channels: int, activation: str, stride: int):
        self.input_channels = input_channels
        self.out_channels = out_channels
        self.use_hs = activation == "HS"
        self.stride = stride


class MobileNetV3(nn.Module):
    def __init__(
        self,
        inverted_residual_setting: List[InvertedResidualConfig],
        last_channel: int,
        num_classes: int = 1000,
        block: Optional[Callable[..., nn.Module]] = None,
        norm_layer: Optional[Callable[..., nn.Module]] = None,
        activation_layer: Callable[..., nn.Module] = nn.Hardswish,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        if not inverted_residual_setting:
            raise ValueError("The inverted_residual_setting should not be empty")
        elif not isinstance(inverted_residual_setting, Sequence):
            raise TypeError("The inverted_residual_setting should be List[InvertedResidualConfig]")
        if norm_layer is None:
            norm_layer = partial(nn.BatchNorm2d, eps=0.001, momentum=0.01)
        layers: List[nn.Module] = []
        for c in inverted_residual_setting:
            layers += [
                nn.Conv2d(c.input_channels, c.out_channels, 3, c.stride, 1, bias=False),
                norm_layer(c.out_channels),
                nn.Hardswish() if c.use_hs else nn.ReLU(),
            ]
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.Linear(inverted_residual_setting[-1].out_channels, last_channel),
            activation_layer(),
            nn.Linear(last_channel, num_classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(torch.flatten(self.features(x).mean((2, 3)), 1))


def mobilenet_v3_small(*, progress: bool = True, width_mult: float = 1.0, **kwargs: Any) -> MobileNetV3:
    w = int(8 * width_mult)
    setting = [InvertedResidualConfig(3, w, "RE", 2), InvertedResidualConfig(w, 2 * w, "HS", 2)]
    return MobileNetV3(setting, 16, **kwargs)


def small_net(act_layer: Callable[..., nn.Module] = nn.ReLU, num_classes: int = 10) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 4, 4), act_layer(), nn.Flatten(), nn.Linear(512, num_classes))
