"""A preset: a whole configuration of the model and its training."""

from artsound.training.config import Config, Network, Optimisation, PresetPlugin


class Pocket(PresetPlugin):
    """A very small network, a minute on a CPU."""

    name, version = "pocket", "1"
    config = Config(
        preset="pocket",
        network=Network(blocks=(32, 64), attention=(False, True), heads=2),
        optimisation=Optimisation(steps=40, batch=4, warmup=5),
    )
