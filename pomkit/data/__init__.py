"""Songs to learn from: the shipped pieces, corpora, and training windows (notebook 02).

Reading order: corpus, downloads, windows.

- `corpus`: many files, read in parallel, kept as tables of notes, divided without leaks.
- `downloads`: corpora from the web, pinned by content.
- `windows`: the shipped songs; training windows with random masks.
"""

from ..faces import face

__all__, __getattr__, __dir__ = face(
    __name__,
    {
        "corpus": "ARCHIVES SPLITS Corpus Songs fingerprint read_corpus split_of",
        "downloads": "CORPORA fetch",
        ".files": "assets_dir",
        "windows": "MASK_MIX Window Windows draw_kind onsets_per_bar random_mask songs",
    },
)
