"""dense net in pytorch

[1] Gao Huang, Zhuang Liu, Laurens van der Maaten. Densely Connected Convolutional Networks
"""
import torch
import torch.nn as nn


class Bottleneck(nn.Module):
    """
    :param in_channels: channels that come in
    :param growth_rate: channels that are added
    """
    def __init__(self, in_channels, growth_rate):
        super().__init__()
        self.bottle_neck = nn.Sequential(
            nn.BatchNorm2d(in_channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(in_channels, growth_rate, kernel_size=3, padding=1, bias=False)
        )

    def forward(self, x):
        return torch.cat([x, self.bottle_neck(x)], 1)


class DenseNet(nn.Module):
    """Dense net.

    :param num_class: how many classes, has no default
    :type num_class: int
    :param nblocks: blocks of every stage
    :type nblocks: list[int]
    :param growth_rate: the k of the paper
    :param reduction: theta of the paper, between 0 and 1
    :param block: the block to repeat
    :returns: logits
    """
    def __init__(self, num_class, nblocks=[1, 2], growth_rate=4, reduction=0.5, block=Bottleneck):
        super().__init__()
        inner_channels = 2 * growth_rate
        self.conv1 = nn.Conv2d(3, inner_channels, kernel_size=3, stride=2, padding=1, bias=False)
        self.features = nn.Sequential()
        for index, n in enumerate(nblocks):
            for i in range(n):
                self.features.add_module("dense_block_layer_{}_{}".format(index, i), block(inner_channels, growth_rate))
                inner_channels += growth_rate
            out_channels = int(reduction * inner_channels) # int() will automatic floor the value
            self.features.add_module("transition_layer_{}".format(index), nn.Sequential(
                nn.Conv2d(inner_channels, out_channels, 1, bias=False), nn.AvgPool2d(2, stride=2)))
            inner_channels = out_channels
        self.linear = nn.Linear(inner_channels, num_class)

        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight)

    def forward(self, x):
        output = self.conv1(x)
        output = self.features(output)
        output = output.mean((2, 3))
        return self.linear(output)


def densenet121():
    return DenseNet(100, [1, 1], growth_rate=4)
