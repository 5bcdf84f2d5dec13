"""The one exception family: every message names what was given, what is wrong with it and what to do."""


class PomkitError(Exception):
    """Base of all errors that pomkit raises on purpose."""


class MidiError(PomkitError):
    """A MIDI file cannot be read or written."""


class PictureError(PomkitError):
    """An image, picture or mask has the wrong shape, type or content."""


class CheckpointError(PomkitError):
    """A checkpoint is missing, damaged or of another architecture."""


class OptionError(PomkitError, ValueError):
    """An option has a value that does not exist or does not fit the other options."""
