import torch.nn as nn
from ._registry import BACKBONES, HEADS


@BACKBONES.register_module()
class TinyBackbone(nn.Module):
    def __init__(self, in_channels=3, width=8):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, width, 3, stride=2)

    def forward(self, x):
        return self.conv(x).relu()


@HEADS.register_module('cls')
class LinearHead(nn.Module):
    def __init__(self, in_channels, num_classes):
        super().__init__()
        self.fc = nn.Linear(in_channels, num_classes)

    def forward(self, x):
        return self.fc(x.mean((2, 3)))


class ImageClassifier(nn.Module):
    """Parts are found by their names in the registry, never mentioned in code."""

    def __init__(self,
                 backbone=dict(type='TinyBackbone', width=8),
                 head=dict(type='cls', in_channels=8, num_classes=10)):
        super().__init__()
        self.backbone = BACKBONES.build(backbone)
        self.head = HEADS.build(head)

    def forward(self, img):
        return self.head(self.backbone(img))
