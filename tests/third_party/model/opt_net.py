import torch.nn as nn


class OptNet(nn.Module):
    def __init__(self, **kwargs):
        super(OptNet, self).__init__()
        self.width = kwargs.get('width', 8)
        self.n_classes = kwargs.get('num_classes', 10)
        drop = kwargs.pop('drop', 0.)
        if 'in_channels' in kwargs:
            c = kwargs['in_channels']
        else:
            c = 3
        self.f = nn.Sequential(nn.Conv2d(c, self.width, 3, 2), nn.ELU(), nn.AdaptiveMaxPool2d(1), nn.Flatten(),
                               nn.Dropout(drop), nn.Linear(self.width, self.n_classes))

    def forward(self, input):
        return self.f(input)
