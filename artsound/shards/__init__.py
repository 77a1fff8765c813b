"""Pairs packed in WebDataset shards: writing, indexing, reading, streaming, checking, choosing."""
