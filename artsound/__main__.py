"""`python -m artsound …` is `artsound …`."""

from artsound.cli import main

if __name__ == "__main__":
    main()
