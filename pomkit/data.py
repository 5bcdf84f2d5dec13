"""Songs to learn from: the shipped pieces, corpora, the split by song, and training windows with their masks."""
from __future__ import annotations

import glob
import hashlib
import io
import os
import tarfile
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm.auto import tqdm

from . import masks
from .chords import Chord
from .errors import MidiError, OptionError
from .notes import Song, read_midi
from .picture import PITCHES, render

ARCHIVES = (".tar", ".tar.xz", ".tar.gz", ".tgz", ".zip")
MIDI_ENDINGS = (".mid", ".midi", ".rmi")
SPLITS = {"train": (0.0, 0.90), "valid": (0.90, 0.95), "test": (0.95, 1.0)}
CORPORA = {"pop909": "github.com/music-x-lab/POP909-Dataset, commit d83e6edba6872a704f5d3b8b32f5cb540088dae6"}
# How often training draws which mask: see `random_mask`.
MASK_MIX = {"all": 0.25, "bars": 0.25, "melody": 0.10, "accompaniment": 0.10, "rectangles": 0.14, "strokes": 0.14,
            "noise": 0.02}


def assets_dir() -> Path:
    """The folder of the shipped songs and models: inside the installed package, or beside it in a clone."""
    here = Path(__file__).resolve().parent
    return next((p for p in (here / "assets", here.parent / "assets") if p.is_dir()), here.parent / "assets")


def songs() -> dict[str, Path]:
    """The shipped public-domain pieces: name -> MIDI file."""
    return {p.stem: p for p in sorted((assets_dir() / "songs").glob("*.mid"))}


def fetch(name: str) -> Path:
    """The archive or folder of a corpus by name, from the folder that POMKIT_DATA names (default: the user's cache).

    Nothing is downloaded: where it is missing, the OptionError says where to get it and where to put it.
    """
    if name not in CORPORA:
        raise OptionError(f"corpus {name!r} is unknown; choose one of {', '.join(CORPORA)}")
    import pooch

    folder = Path(os.environ.get("POMKIT_DATA") or pooch.os_cache("pomkit"))
    for ending in (*ARCHIVES, ""):
        if (folder / f"{name}{ending}").exists():
            return folder / f"{name}{ending}"
    raise OptionError(f"corpus {name} is not in {folder}; get it from {CORPORA[name]} and put it there as {name}.tar.xz "
                      f"or as a folder {name}, or set POMKIT_DATA to the folder that holds it")


def split_of(name: str) -> str:
    """"train", "valid" or "test" for a song by a hash of its name: the same everywhere, 90 : 5 : 5."""
    share = int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) / 16**8
    return next(split for split, (low, high) in SPLITS.items() if low <= share < high)


@dataclass(frozen=True)
class Corpus:
    """Songs in the order of their names, and a report row (dict) for every file, also for those that failed."""

    songs: tuple[Song, ...]
    report: tuple[dict[str, Any], ...] = field(default=(), repr=False)

    def split(self, name: str) -> Corpus:
        """The songs of "train", "valid" or "test", divided by `split_of`."""
        if name not in SPLITS:
            raise OptionError(f"split {name!r} is unknown; choose one of {', '.join(SPLITS)}")
        return replace(self, songs=tuple(s for s in self.songs if split_of(s.name) == name))


class _Item(NamedTuple):
    name: str
    midi: bytes
    beats: bytes | None = None
    chords: bytes | None = None


def read_corpus(paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]], workers: int | None = None,
                progress: bool = True) -> Corpus:
    """Read every MIDI file of folders, globs, single files and tar/zip archives; a bad file is reported, never fatal.

    Annotations in POP909's layout (`beat_midi.txt`, `chord_midi.txt` beside the MIDI file) become bars and chords.
    `workers`: processes (None: as many as cores). Raises OptionError where nothing is found.
    """
    items = list(_items([paths] if isinstance(paths, str | os.PathLike) else paths))
    if not items:
        raise OptionError(f"no MIDI file found in {paths}; name a folder, a glob, a .mid file or a tar/zip archive")
    workers = min(workers or os.cpu_count() or 1, len(items) // 50 + 1)
    bar = tqdm(total=len(items), desc="reading", unit="file", disable=not progress)
    if workers > 1:
        with ProcessPoolExecutor(workers) as pool:
            results = [_tick(bar, r) for r in pool.map(_read_item, items, chunksize=16)]
    else:
        results = [_tick(bar, _read_item(item)) for item in items]
    bar.close()
    results.sort(key=lambda pair: pair[1]["file"])
    return Corpus(tuple(song for song, _ in results if song is not None), tuple(row for _, row in results))


def _tick(bar: tqdm, result: tuple[Song | None, dict[str, Any]]) -> tuple[Song | None, dict[str, Any]]:
    bar.update()
    return result


def _items(paths: Iterable[str | os.PathLike[str]]) -> Iterator[_Item]:
    """MIDI files with the annotations that lie beside them."""
    for path in (os.fspath(p) for p in paths):
        if Path(path).is_dir():
            files = {str(p): p for p in sorted(Path(path).rglob("*")) if p.suffix.lower() in (*MIDI_ENDINGS, ".txt")}
            yield from _grouped(files, lambda p: p.read_bytes())
        elif path.lower().endswith(ARCHIVES) and Path(path).is_file():
            try:
                yield from _archive_items(path)
            except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError) as fault:
                raise OptionError(f"{path} is damaged or no archive ({fault}); get it again") from fault
        else:
            found = sorted(glob.glob(path, recursive=True)) or [path]
            yield from _grouped({p: Path(p) for p in found if p.lower().endswith(MIDI_ENDINGS)}, lambda p: p.read_bytes())


def _archive_items(path: str) -> Iterator[_Item]:
    if path.lower().endswith(".zip"):
        with zipfile.ZipFile(path) as zipped:
            yield from _grouped({n: n for n in zipped.namelist()}, zipped.read)
    else:
        with tarfile.open(path) as tar:               # one pass: an .xz archive cannot be read at random
            wanted = (*MIDI_ENDINGS, "_midi.txt")
            found = {m.name: tar.extractfile(m).read() for m in tar                      # type: ignore[union-attr]
                     if m.isfile() and m.name.lower().endswith(wanted) and m.size < 2**26}
        yield from _grouped(found, bytes)


def _grouped(files: dict[str, Any], read: Any) -> Iterator[_Item]:
    for name in sorted(files):
        if name.lower().endswith(MIDI_ENDINGS) and not Path(name).name.startswith("._"):
            beside = [os.path.join(os.path.dirname(name), kind) for kind in ("beat_midi.txt", "chord_midi.txt")]
            try:
                yield _Item(name, read(files[name]), *(read(files[b]) if b in files else None for b in beside))
            except OSError:
                yield _Item(name, b"")                # unreadable: reported like an empty file


def _read_item(item: _Item) -> tuple[Song | None, dict[str, Any]]:
    row: dict[str, Any] = {"file": item.name, "error": ""}
    try:
        song = replace(read_midi(item.midi), name=Path(item.name).stem)
        if item.beats is not None and item.chords is not None:
            song = _annotated(song, item)
    except (MidiError, OptionError) as fault:
        return None, row | {"error": str(fault)}
    r = song.report
    return song, row | {"kept": r.kept, "merged": r.merged, "shortened": r.shortened, "dropped": r.dropped,
                        "phase": r.phase, "steps": song.end, "bars": len(song.bars), "chords": len(song.chords)}


def _annotated(song: Song, item: _Item) -> Song:
    """Bars and chords from POP909's annotations, whose seconds are those of the MIDI file's own tempo map."""
    import symusic as sm

    score: Any = sm.Score.from_midi(item.midi)
    tick = np.array([0] + [t.time for t in score.tempos], float)
    pace = np.array([500000] + [t.mspq for t in score.tempos], float)              # microseconds per beat
    second = np.r_[0, np.cumsum(np.diff(tick) * pace[:-1])] / 1e6 / score.ticks_per_quarter

    def steps(seconds: np.ndarray) -> np.ndarray:
        i = np.maximum(np.searchsorted(second, seconds, side="right") - 1, 0)
        beats = tick[i] / score.ticks_per_quarter + (seconds - second[i]) * 1e6 / pace[i]
        return np.maximum(np.rint(4 * beats - song.report.phase), 0).astype(int)

    try:
        beats = np.loadtxt(io.BytesIO(item.beats or b""), ndmin=2)                 # seconds, two flags of strong beats
        rows = [line.split() for line in (item.chords or b"").decode().splitlines() if line.strip()]
        spans = steps(np.array([[float(a), float(b)] for a, b, _ in rows]).reshape(-1, 2))
        found = tuple(Chord(int(a), int(b - a), label) for (a, b), (_, _, label) in zip(spans, rows, strict=True) if b > a)
        at = steps(beats[:, 0])
        half, whole = at[beats[:, 1] > 0], at[beats[:, 2] > 0]
    except (ValueError, IndexError) as fault:
        raise MidiError(f"{item.name}: its beat_midi.txt or chord_midi.txt is not in POP909's form ({fault})") from fault
    three_four = len(half) > 2 and np.median(np.diff(half)) == 12                  # there a strong beat is a bar
    return replace(song, bars=tuple(np.unique(half if three_four else whole).tolist()), chords=found)


class Window(NamedTuple):
    """A training example: picture uint8 (128, width, 3), mask bool (128, width), onsets per masked bar, its origin."""

    picture: np.ndarray
    mask: np.ndarray
    density: float
    song: str
    start: int
    semitones: int


class Windows:
    """Windows of songs at random bar lines, transposed, each with a random mask; item i is the same for ever.

    `width` in steps; `semitones`: the range of transposition, both included; `chord_dropout`: share of windows shown
    without any chord, and again the share whose chord rows are masked. Windows start on bar lines (`Song.bars`), else no
    model learns the metre. A song is drawn in proportion to its bars. Items depend on (seed, index) alone, so a resumed
    training sees what an unbroken one sees.
    """

    def __init__(self, songs: Sequence[Song], width: int = 512, semitones: tuple[int, int] = (-6, 5), seed: int = 0,
                 border: int = 8, chord_dropout: float = 0.25, mix: dict[str, float] | None = None) -> None:
        self.songs = [s for s in songs if len(s.notes)]
        if not self.songs:
            raise OptionError("there are no songs with notes to draw windows from")
        self.width, self.semitones, self.seed, self.border = width, semitones, seed, border
        self.chord_dropout, self.mix = chord_dropout, mix or MASK_MIX
        self.starts = [self._starts(s) for s in self.songs]
        sizes = np.array([len(s) for s in self.starts], float)
        self.share = np.cumsum(sizes) / sizes.sum()

    def _starts(self, song: Song) -> np.ndarray:
        lines = song.bar_lines() if not song.bars else np.array(song.bars)
        lines = lines[lines <= max(song.end - self.width, 0) + 16]
        return lines if len(lines) else np.zeros(1, int)

    def __len__(self) -> int:
        return sum(map(len, self.starts))

    def __getitem__(self, index: int) -> Window:
        rng = np.random.default_rng((self.seed, index))
        which = int(np.searchsorted(self.share, rng.random(), side="right"))
        song, start = self.songs[which], int(rng.choice(self.starts[which]))
        n = song.notes                                               # cut first: the rest is then cheap
        near = (n["onset"] < start + self.width) & (n["onset"] + n["duration"] > start)
        song = replace(song, notes=n[near])
        semitones = int(rng.integers(self.semitones[0], self.semitones[1] + 1))
        song = song.transpose(semitones)
        if rng.random() < self.chord_dropout:
            song = replace(song, chords=())
        picture = render(song, start, self.width, border=self.border)
        mask = random_mask(rng, song, start, self.width, self.mix, self.border)
        if rng.random() < self.chord_dropout:
            mask |= masks.chords(self.width, border=self.border)
        return Window(picture, mask, onsets_per_bar(picture, mask, self.border), song.name, start, semitones)


def onsets_per_bar(picture: np.ndarray, mask: np.ndarray, border: int = 8) -> float:
    """Onsets inside the mask per masked bar: bars of 16 steps, counted as masked columns / 16."""
    rows = slice(border, PITCHES - border)
    columns = max(int(mask[rows].any(axis=0).sum()), 1)
    return float(((picture[rows, :, 0] > 0) & mask[rows]).sum() / (columns / 16))


def random_mask(rng: np.random.Generator, song: Song, start: int, width: int, mix: dict[str, float] | None = None,
                border: int = 8) -> np.ndarray:
    """A mask as training draws them, bool (128, width), of a kind drawn from `mix` (name: share).

    "all": everything; "bars": one to three runs of bars; "melody", "accompaniment": a part (of a song of one part: the
    skyline); "rectangles": 2-8; "strokes": 2-5 bent brush strokes; "noise": each cell with a random probability.
    """
    mix = mix or MASK_MIX
    kind = str(rng.choice(list(mix), p=np.array(list(mix.values())) / sum(mix.values())))
    rows = slice(border, PITCHES - border)
    mask = np.zeros((PITCHES, width), bool)
    if kind == "all":
        mask[rows] = True
    elif kind == "bars":
        for _ in range(rng.integers(1, 4)):
            length = int(rng.integers(1, max(width // 32, 1) + 1)) * 16
            first = int(rng.integers(0, max((width - length) // 16, 0) + 1)) * 16
            mask[rows, first:first + length] = True
    elif kind in ("melody", "accompaniment"):
        if len(song.notes):
            mask |= (masks.melody if kind == "melody" else masks.accompaniment)(song, start=start, width=width, border=border)
    elif kind == "rectangles":
        for _ in range(rng.integers(2, 9)):
            low, first = int(rng.integers(border, 120 - border)), int(rng.integers(0, width - 4))
            mask[low:low + int(rng.integers(4, 49)), first:first + int(rng.integers(4, width // 2))] = True
    elif kind == "strokes":
        for _ in range(rng.integers(2, 6)):
            turns = int(rng.integers(2, 7))
            points = np.c_[rng.uniform(0, width, turns), rng.uniform(30, 100, turns)]
            mask |= masks.stroke(width, np.sort(points, axis=0) if rng.random() < 0.5 else points, rng.uniform(2, 12))
    elif kind == "noise":
        mask[rows] = rng.random((PITCHES - 2 * border, width)) < rng.uniform(0.1, 0.9)
    else:
        raise OptionError(f"mask kind {kind!r} is unknown; choose from {', '.join(MASK_MIX)}")
    if not mask[rows].any():
        mask[rows] = True                             # nothing to learn from an empty mask
    mask[:border] = mask[PITCHES - border:] = False
    return mask
