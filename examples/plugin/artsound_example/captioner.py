"""A captioner that writes from what the build knows and has measured."""

from artsound.captions.base import CaptionerPlugin


class WallLabel(CaptionerPlugin):
    """A short label from genre, light, colour, tempo and loudness."""

    name, version = "wall-label", "1"

    def open(self, side, argument, settings, responses):
        return Writer()


class Writer:
    name, version, prompt, settings = "wall-label", "1", "", {}

    def captions(self, items):
        return [self._artwork(i) if i.side == "artwork" else self._track(i) for i in items]

    def _artwork(self, item):
        light = "bright" if item.measured.lightness > 0.5 else "dark"
        colour = "vivid" if item.measured.saturation > 0.4 else "muted"
        return f"A {light} {item.record.genre or 'work'} in {colour} colours, on view here."

    def _track(self, item):
        pace = "fast" if item.measured.tempo > 110 else "slow"
        return (
            f"A {pace} piece of {item.record.genre or 'music'} at {item.measured.tempo:.0f} beats."
        )
