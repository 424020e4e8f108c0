import torch.nn as nn
from collections import OrderedDict


class AlexNet(nn.Sequential):
    def __init__(self, num_classes=10, init=True):
        super(AlexNet, self).__init__(OrderedDict([
            ('conv1', nn.Conv2d(3, 8, 5, stride=2, padding=2)),
            ('relu1', nn.ReLU(inplace=True)),
            ('pool1', nn.MaxPool2d(2)),
            ('lrn', nn.LocalResponseNorm(2)),
            ('flat', nn.Flatten()),
            ('fc', nn.Linear(8 * 8 * 8, num_classes)),
        ]))
        if init:
            nn.init.zeros_(self.fc.bias)
