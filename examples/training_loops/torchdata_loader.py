"""torchdata: a StatefulDataLoader over a stream resumes it, with as many workers as before."""

from torchdata.stateful_dataloader import StatefulDataLoader

import artsound
from artsound.shards.stream import collate

data = artsound.open("out/shards").split("train")
stream = data.stream(decode={"image_size": 32, "audio": False})


def stateful():
    return StatefulDataLoader(stream, batch_size=4, collate_fn=collate, num_workers=2)


loader = stateful()
batches = iter(loader)
seen = next(batches)["key"]
state = loader.state_dict()

# In a new process: within the epoch, at the exact sample.
later = stateful()
later.load_state_dict(state)
for batch in later:
    assert not set(batch["key"]) & set(seen)
