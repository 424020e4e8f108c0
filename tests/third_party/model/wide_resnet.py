import torch.nn as nn


class WideResNet(nn.Module):
    def __init__(self, depth=10, width=4, num_classes=10, dropout_rate=0.0):
        super().__init__()
        assert (depth - 4) % 6 == 0, 'depth should be 6n+4'
        n = (depth - 4) // 6
        self.stem = nn.Conv2d(3, width, 3, 2, 1)
        self.body = nn.ModuleList([nn.Sequential(nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, width, 3, 1, 1)) for _ in range(n)])
        self.drop = nn.Dropout(dropout_rate)
        self.fc = nn.Linear(width, num_classes)

    def forward(self, x):
        x = self.stem(x)
        for b in self.body:
            x = x + b(x)
        return self.fc(self.drop(x.mean((2, 3))))


class WideResNetNoisy(WideResNet):
    """adds noise; all other arguments as in WideResNet"""

    def __init__(self, *args, sigma=0.1, **kwargs):
        super().__init__(*args, **kwargs)
        self.sigma = sigma

    def forward(self, x):
        if self.training:
            x = x + self.sigma * x.new_empty(x.shape).normal_()
        return super().forward(x)


def wrn(**kw):
    kw.setdefault('depth', 16)
    return WideResNet(**kw)
