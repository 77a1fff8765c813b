"""From shards to music: train, generate, evaluate.

`train` fits projector and diffusion model on the pairs of a release; `generate` turns pictures
into WAV files with nothing but a checkpoint; `evaluate` measures sets of generated clips against
the tracks that belong to the pictures.
"""
