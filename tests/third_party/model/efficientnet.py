'''EfficientNet in PyTorch, cfg dict as first positional argument.'''
import torch
import torch.nn as nn
import torch.nn.functional as F


def swish(x):
    return x * x.sigmoid()


class MBBlock(nn.Module):
    def __init__(self, inp, oup, k, stride):
        super(MBBlock, self).__init__()
        self.dw = nn.Conv2d(inp, inp, k, stride, (1 if k == 3 else 2), groups=inp, bias=False)
        self.bn = nn.BatchNorm2d(inp)
        self.pw = nn.Conv2d(inp, oup, 1)

    def forward(self, x):
        return self.pw(swish(self.bn(self.dw(x))))


class EfficientNet(nn.Module):
    def __init__(self, cfg, num_classes=10):
        super(EfficientNet, self).__init__()
        self.cfg = cfg
        self.conv1 = nn.Conv2d(3, 8, 3, 1, 1, bias=False)
        self.layers = self._make_layers(in_channels=8)
        self.linear = nn.Linear(cfg['out_channels'][-1], num_classes)

    def _make_layers(self, in_channels):
        layers = []
        cfg = [self.cfg[k] for k in ['out_channels', 'kernel_size', 'stride']]
        for out_channels, kernel_size, stride in zip(*cfg):
            layers.append(MBBlock(in_channels, out_channels, kernel_size, stride))
            in_channels = out_channels
        return nn.Sequential(*layers)

    def forward(self, x):
        out = self.layers(swish(self.conv1(x)))
        out = F.adaptive_avg_pool2d(out, 1).flatten(1)
        if self.training and self.cfg.get('dropout_rate', 0) > 0:
            out = F.dropout(out, p=self.cfg['dropout_rate'])
        return self.linear(out)


def EfficientNetB0():
    cfg = {
        'out_channels': [8, 16],
        'kernel_size': [3, 5],
        'stride': [2, 2],
        'dropout_rate': 0.2,
    }
    return EfficientNet(cfg)
