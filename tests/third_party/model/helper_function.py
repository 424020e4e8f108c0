"""Helpers reach the model only through a function and a dict."""
import torch.nn as nn


class Swish(nn.Module):
    def forward(self, x):
        return x * x.sigmoid()


class ConvUnit(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        self.c = nn.Conv2d(i, o, 3, 2, 1)

    def forward(self, x):
        return self.c(x)


ACTS = {'swish': Swish, 'relu': nn.ReLU}


def conv_unit(i, o, act='swish'):
    return nn.Sequential(ConvUnit(i, o), ACTS[act]())


class Darknet(nn.Module):
    def __init__(self, width=8, act='swish', classes=10):
        super().__init__()
        self.body = nn.Sequential(conv_unit(3, width, act), conv_unit(width, width, act))
        self.fc = nn.Linear(width, classes)

    def forward(self, x):
        return self.fc(self.body(x).mean((2, 3)))
