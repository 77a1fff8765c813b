"""The Trainer of transformers: a stream of single samples is its training dataset."""

import torch
import transformers

import artsound
from artsound.shards.stream import collate


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(3, 1)

    def forward(self, image):
        return {"loss": self.layer(image.float().mean(dim=(2, 3))).square().mean()}


def only_image(sample):
    return {"image": sample["image"]}


def trainer(**limits):
    arguments = transformers.TrainingArguments(
        output_dir="trainer", per_device_train_batch_size=4, save_strategy="steps", save_steps=1,
        remove_unused_columns=False, use_cpu=True, report_to=[], disable_tqdm=True, **limits,
    )  # fmt: skip
    return transformers.Trainer(Model(), arguments, data_collator=collate, train_dataset=stream)


data = artsound.open("out/shards").split("train")
stream = data.stream(transform=only_image, decode={"image_size": 32, "audio": False})
trainer(max_steps=2).train()

# In a new process: within the epoch, at the exact sample.
trainer(num_train_epochs=2).train(resume_from_checkpoint=True)
