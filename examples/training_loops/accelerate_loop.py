"""Accelerate: `prepare` leaves a loader as it is, since its ranks share the samples already."""

import accelerate
import torch

import artsound

accelerator = accelerate.Accelerator(cpu=True)
data = artsound.open("out/shards").split("train")
stream = data.stream(batch_size=4, decode={"image_size": 32, "audio": False})
model = torch.nn.Linear(3, 1)
model, optimiser = accelerator.prepare(model, torch.optim.SGD(model.parameters(), lr=1e-6))
loader = accelerator.prepare(stream.loader(workers=2))
accelerator.register_for_checkpointing(loader)  # its state is saved with the model's

for step, batch in enumerate(loader, start=1):
    image = batch["image"].to(accelerator.device)
    accelerator.backward(model(image.float().mean(dim=(2, 3))).square().mean())
    optimiser.step()
    optimiser.zero_grad()
    if step == 2:
        accelerator.save_state("accelerate")
        break

# In a new process: the next pass continues at the exact sample.
accelerator.load_state("accelerate")
seen = [key for batch in loader for key in batch["key"]]
assert len(seen) == len(data) - 8  # each once, less the two batches above
