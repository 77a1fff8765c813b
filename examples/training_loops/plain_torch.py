"""A loop in plain torch that stops within an epoch and continues at the exact sample."""

import torch

import artsound

data = artsound.open("out/shards").split("train")
stream = data.stream(batch_size=4, seed=1, decode={"image_size": 32, "audio": False})
model = torch.nn.Linear(3, 1)
optimiser = torch.optim.SGD(model.parameters(), lr=1e-6)


def train(loader, epoch, stop=None):
    """Train to the end of an epoch, or stop after some steps and return what to save."""
    for step, batch in enumerate(loader, start=1):
        loss = model(batch["image"].float().mean(dim=(2, 3))).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step == stop:
            return {"epoch": epoch, "loader": loader.state_dict(), "model": model.state_dict()}
    return None


torch.save(train(stream.loader(workers=2), epoch=0, stop=2), "checkpoint.pt")

# In a new process, on any number of ranks and workers:
saved = torch.load("checkpoint.pt")
model.load_state_dict(saved["model"])
loader = stream.loader(threads=2)
loader.load_state_dict(saved["loader"])
for epoch in range(saved["epoch"], 3):
    train(loader, epoch)
