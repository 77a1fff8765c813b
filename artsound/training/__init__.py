"""From shards to music: train, generate, evaluate.

`train` fits projector and diffusion model to the pairs of a release; `generate` makes WAV files for
pictures from a checkpoint alone; `evaluate` compares generated clips with the pictures' own tracks.
"""
