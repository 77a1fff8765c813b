"""Lightning: a loader is given as it is; its state is part of Lightning's checkpoints."""

import lightning.pytorch as lightning
import torch

import artsound


class Model(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(3, 1)

    def loss(self, batch):
        return self.layer(batch["image"].float().mean(dim=(2, 3))).square().mean()

    def training_step(self, batch, _):
        return self.loss(batch)

    def validation_step(self, batch, _):
        self.log("validation", self.loss(batch), batch_size=len(batch["key"]))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1e-6)


data = artsound.open("out/shards")
options = {"batch_size": 4, "decode": {"image_size": 32, "audio": False}}
train = data.split("train").stream(**options).loader(workers=2)
validation = data.split("val").stream(**options, shuffle=False).loader()
checkpoints = lightning.callbacks.ModelCheckpoint(
    "lightning", save_last=True, every_n_train_steps=1
)


def trainer(**limits):
    return lightning.Trainer(
        **limits, callbacks=[checkpoints], accelerator="cpu", logger=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip


trainer(max_steps=2).fit(Model(), train, validation)

# In a new process: within the epoch, at the exact sample.
trainer(max_epochs=2).fit(Model(), train, validation, ckpt_path="lightning/last.ckpt")
