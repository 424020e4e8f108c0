import torch.nn as nn


class Base(nn.Module):
    width = 16

    def __init__(self, num_classes=10, dropout=0.):
        super().__init__()
        w = self.width
        self.net = nn.Sequential(nn.Conv2d(3, w, 4, 4), nn.ReLU(), nn.Flatten(), nn.Dropout(dropout), nn.Linear(64 * w, num_classes))

    def forward(self, x):
        return self.net(x)


class Small(Base):
    width = 4
