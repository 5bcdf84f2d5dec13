"""A song as sheet music: its MusicXML drawn by verovio, page by page, as SVG.

    sheet = sheet_music(song)
    sheet.pages[0]               # the first page, SVG as text
    sheet.save("song.svg")       # song.svg, or song-1.svg, song-2.svg, ...
    sheet                        # in a notebook it shows itself

verovio belongs to the extra `score`. `Song.score` calls this.
"""

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import OptionError, PomkitError
from ..files import AnyPath, write
from .musicxml import Named, musicxml_of, of_extra

# A notebook shows so many pages, each of them 50 to 300 kB.
SHOWN_PAGES = 6
# A page of A4 in tenths of a millimetre, and how large it is drawn, in hundredths.
LAYOUT = {
    "pageWidth": 2100,
    "pageHeight": 2970,
    "scale": 40,
    "adjustPageHeight": True,
    "footer": "none",
    "svgViewBox": True,
    # Room for the names of chords, of which verovio thinks little.
    "spacingLinear": 0.28,
}


@dataclass(frozen=True)
class SheetMusic:
    """The drawn score of a song.

    Attributes:
        name: of the song.
        pages: SVG of each page, as text.
    """

    name: str
    pages: tuple[str, ...]

    def __repr__(self) -> str:
        return f"SheetMusic({self.name!r}, {len(self.pages)} pages)"

    def _repr_html_(self) -> str:
        """The first pages, for a notebook, on white paper."""
        images = []
        for page in self.pages[:SHOWN_PAGES]:
            data = base64.b64encode(page.encode()).decode()
            images.append(
                '<img style="background: white; width: 100%; max-width: 900px; display: block" '
                f'src="data:image/svg+xml;base64,{data}">'
            )
        if len(self.pages) > SHOWN_PAGES:
            images.append(f"<p>{SHOWN_PAGES} of {len(self.pages)} pages; save() writes all</p>")
        return "\n".join(images)

    def save(self, path: AnyPath) -> list[Path]:
        """Write the pages as SVG files.

        Args:
            path: of the file; of several pages each has its number behind the name.

        Returns:
            The paths.

        Raises:
            OptionError: the name does not end in .svg.
        """
        path = Path(path)
        if path.suffix.lower() != ".svg":
            raise OptionError(f"{path} is no name for a drawing; end it in .svg")
        if len(self.pages) == 1:
            return [write(path, self.pages[0].encode())]
        names = [path.with_stem(f"{path.stem}-{n}") for n in range(1, len(self.pages) + 1)]
        return [write(name, page.encode()) for name, page in zip(names, self.pages, strict=True)]


def sheet_music(song: Named) -> SheetMusic:
    """Draw the score of a song.

    Args:
        song: the Song.

    Raises:
        OptionError: it is too long for a score.
        PomkitError: music21 or verovio is missing.
    """
    verovio = of_extra("verovio")
    text = musicxml_of(song)
    verovio.enableLog(verovio.LOG_OFF)
    toolkit: Any = verovio.toolkit()
    toolkit.setOptions(LAYOUT)
    if not toolkit.loadData(text):
        raise PomkitError(f"verovio cannot draw {song.name!r}; write it with to_musicxml instead")
    pages = tuple(toolkit.renderToSVG(page + 1) for page in range(toolkit.getPageCount()))
    return SheetMusic(song.name, pages)
