"""Songs to learn from: corpora, and training windows (notebook 02).

Reading order: store, members, pop909, corpus, downloads, reading, scores, mask_mix, windows,
mixture.

- `store`: what is kept of a file; tables of notes in memory and on disk.
- `members`: the files of folders, globs and archives.
- `pop909`: POP909's annotations become bars and chords.
- `corpus`: Corpus and Songs: read lazily, divided without leaks.
- `downloads`: corpora from the web, pinned by content.
- `reading`: `read_corpus`: many files at once, on one machine or many.
- `scores`: a corpus of classical and folk music, converted from the scores in music21.
- `mask_mix`: random masks of every kind.
- `windows`: training windows: a picture and a mask that depend on an index alone.
- `mixture`: several corpora at once, each with its share of the windows.
"""

from ..faces import face

__all__, __getattr__, __dir__ = face(
    __name__,
    {
        "store": "fingerprint",
        "members": "ARCHIVES",
        "pop909": "",
        "corpus": "SPLITS Corpus Songs split_of",
        "downloads": "CORPORA fetch",
        "reading": "read_corpus",
        "scores": "",
        "mask_mix": "MASK_MIX draw_kind onsets_per_bar random_mask",
        "windows": "Window Windows usual_densities",
        "mixture": "",
        ".files": "assets_dir",
        ".music.shipped": "songs",
    },
)
