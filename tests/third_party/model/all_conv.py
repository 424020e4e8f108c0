"""Striving for simplicity, constants at the top."""
from math import prod
import torch.nn as nn

NUM_CLASSES = 10
IMG_SHAPE = (3, 32, 32)
WIDTHS = [8, 8, 16]
ACT = nn.ReLU

assert prod(IMG_SHAPE) == 3072


class AllConvNet(nn.Module):
    def __init__(self, input_shape=IMG_SHAPE, widths=WIDTHS, n_classes=NUM_CLASSES, act=ACT):
        super().__init__()
        c = input_shape[0]
        mods = []
        for w in widths:
            mods += [nn.Conv2d(c, w, 3, 2, 1), act()]
            c = w
        self.features = nn.Sequential(*mods)
        self.last = nn.Conv2d(c, n_classes, 1)

    def forward(self, x):
        return self.last(self.features(x)).mean(dim=(2, 3))
