"""Plug-ins for ArtSound."""
