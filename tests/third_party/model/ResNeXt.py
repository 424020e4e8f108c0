import torch.nn as nn


class Block(nn.Module):
    '''Grouped convolution block.'''
    expansion = 2

    def __init__(self, in_planes, cardinality=2, bottleneck_width=4):
        super(Block, self).__init__()
        group_width = cardinality * bottleneck_width
        self.conv1 = nn.Conv2d(in_planes, group_width, 1, bias=False)
        self.conv2 = nn.Conv2d(group_width, group_width, 3, padding=1, groups=cardinality, bias=False)
        self.conv3 = nn.Conv2d(group_width, in_planes, 1)

    def forward(self, x):
        return x + self.conv3(self.conv2(self.conv1(x).relu()).relu())


class ResNeXt(nn.Module):
    def __init__(self, num_blocks=(1, 1), cardinality=2, bottleneck_width=4, num_classes=10):
        super(ResNeXt, self).__init__()
        self.conv1 = nn.Conv2d(3, 8, 4, 4)
        self.layers = nn.Sequential(*(Block(8, cardinality, bottleneck_width) for n in num_blocks for _ in range(n)))
        self.linear = nn.Linear(8, num_classes)

    def forward(self, x):
        return self.linear(self.layers(self.conv1(x)).mean((2, 3)))


class ResNeXtEnsemble(nn.Module):
    def __init__(self, n=2):
        super().__init__()
        self.nets = nn.ModuleList([ResNeXt() for _ in range(n)])

    def forward(self, x):
        return sum(net(x) for net in self.nets)


def ResNeXt29_2x4d():
    return ResNeXt(num_blocks=[1, 1, 1], cardinality=2, bottleneck_width=4)
