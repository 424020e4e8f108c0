'''
Properly implemented ResNet-s for CIFAR10 as described in paper [1].

name      | layers | params
ResNet20  |    20  | 0.27M
'''
import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.nn.init as init

__all__ = ['ResNet', 'resnet20', 'resnet32']

def _weights_init(m):
    if isinstance(m, nn.Linear) or isinstance(m, nn.Conv2d):
        init.kaiming_normal_(m.weight)

class LambdaLayer(nn.Module):
    def __init__(self, lambd):
        super(LambdaLayer, self).__init__()
        self.lambd = lambd

    def forward(self, x):
        return self.lambd(x)


class BasicBlock(nn.Module):
    expansion = 1

    def __init__(self, in_planes, planes, stride=1, option='A'):
        super(BasicBlock, self).__init__()
        self.conv1 = nn.Conv2d(in_planes, planes, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.shortcut = nn.Sequential()
        if stride != 1 or in_planes != planes:
            self.shortcut = LambdaLayer(lambda x:
                                        F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, planes//4, planes//4), "constant", 0))

    def forward(self, x):
        return F.relu(self.bn1(self.conv1(x)) + self.shortcut(x))


class ResNet(nn.Module):
    def __init__(self, block, num_blocks, num_classes=10):
        super(ResNet, self).__init__()
        self.in_planes = 4
        self.conv1 = nn.Conv2d(3, 4, 3, 1, 1, bias=False)
        layers = []
        for i, n in enumerate(num_blocks):
            for s in [1 if i == 0 else 2] + [1] * (n - 1):
                layers.append(block(self.in_planes, 4 * 2 ** i, s))
                self.in_planes = 4 * 2 ** i
        self.layers = nn.Sequential(*layers)
        self.linear = nn.Linear(16, num_classes)
        self.apply(_weights_init)

    def forward(self, x):
        return self.linear(self.layers(self.conv1(x)).mean([2, 3]))


def resnet20():
    return ResNet(BasicBlock, [1, 1, 1])


def resnet32():
    return ResNet(BasicBlock, [2, 2, 2])


if __name__ == "__main__":
    for net_name in __all__:
        if net_name.startswith('resnet'):
            print(net_name, globals()[net_name]()(torch.randn(1, 3, 32, 32)).shape)
