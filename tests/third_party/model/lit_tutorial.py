# Lightning tutorial notebook, everything in one cell
import os
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

try:
    from pytorch_lightning import LightningDataModule, LightningModule
except ImportError:
    from lightning.pytorch import LightningDataModule, LightningModule

BATCH_SIZE = 256 if torch.cuda.is_available() else 64


class ConvNet(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv = nn.Conv2d(3, width, 4, 4)
        self.fc = nn.Linear(width, 10)

    def forward(self, x):
        return self.fc(self.conv(x).relu().mean((2, 3)))


class FakeCIFAR(LightningDataModule):
    def train_dataloader(self):
        return DataLoader(TensorDataset(torch.randn(8, 3, 32, 32), torch.zeros(8).long()), BATCH_SIZE)


class LitClassifier(LightningModule):
    def __init__(self, width=8, learning_rate=2e-4):
        super().__init__()
        self.learning_rate = learning_rate
        self.model = ConvNet(width)
        self.loss = nn.CrossEntropyLoss()

    def forward(self, x):
        return self.model(x)

    def training_step(self, batch, batch_nb):
        x, y = batch
        return {'loss': self.loss(self(x), y)}

    def validation_step(self, batch, batch_nb):
        x, y = batch
        self.log('val_acc', (self(x).argmax(1) == y).float().mean())

    def configure_optimizers(self):
        opt = torch.optim.SGD(self.parameters(), lr=self.learning_rate)
        return [opt], [torch.optim.lr_scheduler.StepLR(opt, 1)]
