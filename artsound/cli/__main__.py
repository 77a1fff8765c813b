"""`python -m artsound.cli`, which launchers such as `accelerate launch -m` need."""

from artsound.cli import main

main()
