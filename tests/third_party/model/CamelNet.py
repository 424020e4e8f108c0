import torch.nn as nn


class CamelNet(nn.Module):
    def __init__(self, humps=2, num_classes=10):
        super().__init__()
        self.humps = nn.ModuleList(nn.Conv2d(3, 3, 3, padding=1) for _ in range(humps))
        self.out = nn.Linear(3, num_classes)

    def forward(self, x):
        for h in self.humps:
            x = h(x).relu() + x
        return self.out(x.mean((2, 3)))


class DromedaryNet(nn.Module):
    def __init__(self, num_classes=10):
        super().__init__()
        self.out = nn.Linear(3, num_classes)

    def forward(self, x):
        return self.out(x.mean((2, 3)))
