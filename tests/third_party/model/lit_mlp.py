import torch
import torch.nn.functional as F
from torch import nn

try:
    import pytorch_lightning as pl
except ImportError:
    import lightning.pytorch as pl


class LitMLP(pl.LightningModule):
    def __init__(self, hidden_dim: int = 8, lr: float = 1e-3, num_classes: int = 10):
        super().__init__()
        self.save_hyperparameters()
        self.l1 = nn.Linear(3 * 32 * 32, hidden_dim)
        self.l2 = nn.Linear(hidden_dim, num_classes)

    def forward(self, x):
        return self.l2(torch.relu(self.l1(x.flatten(1))))

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = F.cross_entropy(self(x), y)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.log("val_loss", F.cross_entropy(self(x), y), prog_bar=True)

    def test_step(self, batch, batch_idx):
        x, y = batch
        self.log("test_loss", F.cross_entropy(self(x), y))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.hparams.lr)
