import torch.nn as nn
import torchvision
from torchvision import models
from torchvision.models import ShuffleNetV2, resnet18


def set_parameter_requires_grad(model, feature_extracting):
    if feature_extracting:
        for param in model.parameters():
            param.requires_grad = False


def initialize_model(num_classes, model_name='shufflenet_v2_x0_5', feature_extract=True, use_pretrained=False):
    model_ft = getattr(models, model_name)(weights='DEFAULT' if use_pretrained else None)
    set_parameter_requires_grad(model_ft, feature_extract)
    num_ftrs = model_ft.fc.in_features
    model_ft.fc = nn.Linear(num_ftrs, num_classes)
    return model_ft


class MyModel(nn.Module):
    def __init__(self, num_classes=10, freeze=False):
        super().__init__()
        self.base = initialize_model(num_classes, feature_extract=freeze)

    def forward(self, x):
        return self.base(x)
