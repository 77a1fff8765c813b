"""A caption for each side of a pair, where it came from, and what was checked."""
