'''SENet in PyTorch. **kwargs go on to the body.'''
import torch
import torch.nn as nn


class SEBody(nn.Module):
    def __init__(self, in_channels=3, width=8, reduction=2):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, width, 3, 2)
        self.fc1 = nn.Linear(width, width // reduction)
        self.fc2 = nn.Linear(width // reduction, width)
        self.out_dim = width

    def forward(self, x):
        x = self.conv(x).relu()
        w = self.fc2(self.fc1(x.mean((2, 3))).relu()).sigmoid()
        return x * w[..., None, None]


class SENet(nn.Module):
    def __init__(self, num_classes=10, **kwargs):
        super().__init__()
        self.body = SEBody(**kwargs)
        self.head = nn.Linear(self.body.out_dim, num_classes)

    def forward(self, x):
        return self.head(torch.flatten(self.body(x).mean(-1).mean(-1), 1))
