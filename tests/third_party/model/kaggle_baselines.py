# %% [code]
import os, random, gc, warnings
import numpy as np
import torch
from torch import nn
warnings.filterwarnings("ignore")

SEED = 42

def seed_everything(seed=SEED):
    random.seed(seed)
    os.environ['PYTHONHASHSEED'] = str(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    torch.cuda.manual_seed_all(seed)
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False

seed_everything()

# %% [code]
class SimpleCNN(nn.Module):
    def __init__(self, n_classes=10):
        super().__init__()
        print('building SimpleCNN with', n_classes, 'classes')
        self.net = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, n_classes))

    def forward(self, x): return self.net(x)


# %% [code]
# cats vs dogs, so 2 classes
class DeepCNN(nn.Module):
    def __init__(self, n_classes=2, hidden=8, p=.1):
        super().__init__()
        print('*' * 20)
        print('DeepCNN | hidden =', hidden)
        print('*' * 20)
        self.c1 = nn.Conv2d(3, hidden, 3, 2)
        self.c2 = nn.Conv2d(hidden, hidden, 3, 2)
        self.drop = nn.Dropout(p)
        self.out = nn.Linear(hidden, n_classes)

    def forward(self, x):
        x = torch.relu(self.c1(x)); x = torch.relu(self.c2(x))
        return self.out(self.drop(x.mean((2, 3))))

# %% [code]
gc.collect()
