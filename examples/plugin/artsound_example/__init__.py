"""Plug-ins for ArtSound: one of each kind."""
