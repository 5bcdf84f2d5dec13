"""A corpus of classical and folk music, made once of the scores that music21 brings along.

    python -m pomkit.data.scores music21.corpus         # needs: pip install "pomkit[score]"
    corpus = read_corpus("music21.corpus")              # 1,300 songs or so, with their own bars

music21's wheel holds some thousand scores. Their music is in the public domain, but not every
encoding may be used freely: its `corpus/license.txt` says so, and sends the reader to the notes in
the files. `COLLECTIONS` are those that are taken, with their terms; `LEFT_OUT` says why others are
not. No score is copied into pomkit: the command converts what is installed.

Three laws. A song's bars are the bars of its score, in every metre, with pickups and with bars that
a repeat cuts in two; MIDI could not say so. No tune comes twice, in whatever key, and none that
pomkit ships: those stay unseen. The movements of a work are in one split, since its name, up to
`MOVEMENT`, decides (see `corpus.split_of`).

Beside the corpus stands a JSON file with the same name: what was taken, on which terms, and what
failed. A model's card repeats the terms.
"""

import argparse
import importlib
import json
import re
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from numpy.lib.recfunctions import unstructured_to_structured
from tqdm.auto import tqdm

from ..errors import OptionError, PomkitError, exit_code
from ..files import AnyPath, write
from ..music.grid import KeySign, Meter
from ..music.midi import read_midi
from ..music.shipped import songs as shipped_songs
from ..music.song import Song
from ..music.tables import NOTE_DTYPE
from .corpus import MOVEMENT, SPLITS, Corpus, split_of

INSTALL_SCORES = 'pip install "pomkit[score]"'
MOST_WORKS = 1500
# A song of fewer bars has nothing to be completed.
LEAST_BARS = 4
# How far onsets may be from 16ths on average, in steps: of triplets every second or third one is a
# third of a step away.
MOST_OFF_GRID = 0.05
# Steps of a quarter.
STEPS = 4
# Of notes where no dynamics are written: mezzo forte.
SCORE_VELOCITY = 70
# Steps that are less than this apart are the same.
SAME_TIME = 0.01
# Two tunes are the same where they share so many of their runs of so many intervals.
RUN = 8
SAME_SHARE = 0.3


@dataclass(frozen=True)
class Collection:
    """Scores of one origin.

    Attributes:
        title: what it is.
        terms: on which terms the encodings may be used, and who says so.
        files: a pattern of paths below music21's corpus folder.
        part: of the works there, one in so many is taken.
    """

    title: str
    terms: str
    files: str
    part: int = 1


GUTENBERG = (
    "public domain: Project Gutenberg's MusicXML editions of the quartets, as music21's page of "
    "acknowledgements says"
)
CHAMBERS = (
    "tunes of the public domain, encoded by volunteers around John Chambers, who provided them for "
    "distribution, as music21's page of acknowledgements says; the files name no restriction"
)
COLLECTIONS = {
    "haydn": Collection("Haydn, string quartets", GUTENBERG, r"haydn/opus.*\.mxl"),
    "mozart": Collection("Mozart, string quartets", GUTENBERG, r"mozart/k(?!545).*\.mxl"),
    "beethoven": Collection("Beethoven, string quartets", GUTENBERG, r"beethoven/opus.*\.mxl"),
    "songs": Collection(
        "single works by Johnson, Liliuokalani, Lusitano and Weber",
        "CC0 or released to the public domain by the encoder, as each file says",
        r"(johnson_j_r|liliuokalani|lusitano|weber)/.*\.mxl",
    ),
    "ryan": Collection("Ryan's Mammoth Collection (1883)", CHAMBERS, r"ryansMammoth/.*\.abc"),
    "oneill": Collection("O'Neill's Music of Ireland (1903)", CHAMBERS, r"oneills1850/.*\.abc", 6),
}
LEFT_OUT = {
    "essenFolksong": "for non-commercial use only, as its license.txt says",
    "bach": "(c) 2004 Margaret Greentree, who permitted music21 alone to distribute the chorales",
    "palestrina": "rights to derivative formats reserved, as each file says",
    "josquin": "under the GPL, as each file says",
    "monteverdi, trecento": "after modern editions, some of which are named as copyright",
    "schumann_clara, beach, ciconia, luca, webern": "under CC BY-SA, as each file says",
    "airdsAirs, miscFolk": "permitted to music21; on other use the encoder's page is silent",
    "all others": "single works on whose encoding nobody says anything",
}


@dataclass(frozen=True)
class Work:
    """A score to convert.

    Attributes:
        name: of the song that comes of it.
        path: of its file.
        number: of a file with several works, the one that is meant.
    """

    name: str
    path: Path
    number: int | None = None


@dataclass(frozen=True)
class Failure:
    """A work of which no song came, and why."""

    name: str
    reason: str


def load_music21(module: str = "music21") -> Any:
    """music21, or a module of it; PomkitError where it is missing."""
    try:
        return importlib.import_module(module)
    except ImportError as fault:
        raise PomkitError(
            f"the scores are in music21, which is not there ({fault}); run: {INSTALL_SCORES}"
        ) from fault


def find_works(folder: Path) -> list[Work]:
    """The works of all COLLECTIONS, in the order of that table, then by their paths.

    Args:
        folder: music21's corpus folder.
    """
    works = []
    for name, collection in COLLECTIONS.items():
        paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        pattern = re.compile(collection.files)
        found = [path for path in paths if pattern.fullmatch(path.relative_to(folder).as_posix())]
        these = [work for path in found for work in works_of(name, path)]
        works += these[:: collection.part]
    return works[:MOST_WORKS]


def works_of(collection: str, path: Path) -> list[Work]:
    """The works in a file: one, or all tunes of a book in ABC.

    A movement of a quartet is named after the work, then `MOVEMENT`, then itself.
    """
    name = f"{collection}_{path.stem}"
    if path.parent.name.startswith(("opus", "k")):
        name = f"{collection}_{path.parent.name}{MOVEMENT}{path.stem}"
    if path.suffix != ".abc":
        return [Work(name, path)]

    text = path.read_text("utf-8", "replace")
    numbers = [int(number) for number in re.findall(r"(?m)^X:\s*(\d+)", text)]
    if len(numbers) < 2:
        return [Work(name, path)]
    # A book that counts a tune twice would give the first one twice.
    return [Work(f"{collection}_{number:04}", path, number) for number in dict.fromkeys(numbers)]


# One score becomes a song


def convert(work: Work) -> Song | Failure:
    """The song of a work as it is played, with repeats; or why there is none."""
    try:
        return song_of(work)
    except PomkitError as fault:
        return Failure(work.name, str(fault))
    except Exception as fault:
        # music21 raises errors of many kinds on scores that it cannot read.
        return Failure(work.name, f"{type(fault).__name__}: {str(fault)[:100]}")


def song_of(work: Work) -> Song:
    """The song of a work; OptionError where it fits no grid of 16ths or is too short."""
    converter = load_music21("music21.converter")
    score = converter.parse(work.path, number=work.number, forceSource=True)
    if any(part.getInstrument().transposition for part in score.parts):
        score = score.toSoundingPitch()
    parts = [list(part.getElementsByClass("Measure")) for part in score.parts]
    order = played_order(max(parts, key=len), score)

    # All parts bar by bar, in the order in which they are played.
    times = [Played(measures, order) for measures in parts]
    rows = [row for number, part in enumerate(times) for row in part.notes(number)]
    off_grid = np.abs([row[0] - round(row[0]) for row in rows])
    if off_grid.mean() > MOST_OFF_GRID:
        raise OptionError("its onsets do not fit a grid of 16ths; leave it out")
    longest = max(times, key=lambda part: part.lines[-1])
    bars = longest.bars()
    if len(bars) < LEAST_BARS:
        raise OptionError(f"it has {len(bars)} bars, fewer than {LEAST_BARS}; leave it out")

    instruments = [part.getInstrument() for part in score.parts]
    notes = whole_steps(rows)
    names = tuple(each.partName or "" for each in instruments)
    programs = tuple(each.midiProgram or 0 for each in instruments)
    signs: dict[str, Any] = {"meters": longest.meters(), "keys": longest.keys()}
    return Song(notes, parts=names, bars=bars, name=work.name, programs=programs, **signs)


def played_order(measures: Sequence[Any], score: Any) -> list[int]:
    """The numbers of measures in the order in which they are played: repeats, with their endings.

    "Da capo" and the like stay as they are written.
    """
    endings: dict[int, set[int]] = {}
    places = {id(measure): place for place, measure in enumerate(measures)}
    for bracket in score.recurse().getElementsByClass("RepeatBracket"):
        for measure in bracket.getSpannedElements():
            if id(measure) in places:
                endings[places[id(measure)]] = set(bracket.numberRange)

    order: list[int] = []
    first = 0
    turn = 1
    place = 0
    while place < len(measures):
        # Where a repeat begins, or endings are over, it is the first time again.
        is_over = turn > 1 and place not in endings and place - 1 in endings
        if place > first and (is_over or repeats(measures[place].leftBarline, "start")):
            first = place
            turn = 1
        if turn in endings.get(place, {turn}):
            order.append(place)
            if repeats(measures[place].rightBarline, "end"):
                if turn == 1:
                    turn = 2
                    place = first
                    continue
                first = place + 1
                turn = 1
        place += 1
    return order


def repeats(barline: Any, direction: str) -> bool:
    """Whether a bar line, or None, begins or ends a repeat; direction: "start" or "end"."""
    return getattr(barline, "direction", None) == direction


class Played:
    """A part of a score, measure after measure as it is played."""

    def __init__(self, measures: Sequence[Any], order: Sequence[int]) -> None:
        """Take the measures of the part, and the order of their numbers.

        Args:
            measures: of music21, each of which knows its length, metre and key.
            order: of `played_order`.
        """
        self.measures = [measures[place] for place in order if place < len(measures)]
        lengths = [float(each.duration.quarterLength) * STEPS for each in self.measures]
        self.lines = [0.0, *np.cumsum(lengths).tolist()]

    def notes(self, part: int) -> list[list[float]]:
        """Onset, duration, pitch, velocity and part of its notes, in steps that may be broken."""
        rows: list[list[float]] = []
        # Of each pitch its last note, which a tie makes longer.
        last: dict[int, list[float]] = {}
        for onset, duration, velocity, note in self._sounds():
            pitch = note.pitch.midi
            is_tied = note.tie is not None and note.tie.type != "start"
            before = last.get(pitch)

            if is_tied and before and abs(before[0] + before[1] - onset) < SAME_TIME:
                before[1] += duration
            else:
                last[pitch] = [onset, duration, pitch, velocity, part]
                rows.append(last[pitch])
        return rows

    def _sounds(self) -> Iterator[tuple[float, float, int, Any]]:
        """Onset, duration, velocity, and the note itself, of all notes, those of chords as well."""
        velocity = SCORE_VELOCITY
        for measure, line in zip(self.measures, self.lines, strict=False):
            for element in measure.recurse():
                if "Dynamic" in element.classes and element.volumeScalar:
                    velocity = round(127 * element.volumeScalar)
                if not is_sounding(element):
                    continue

                onset = line + STEPS * float(element.getOffsetInHierarchy(measure))
                duration = STEPS * float(element.duration.quarterLength)
                for note in getattr(element, "notes", (element,)):
                    yield onset, duration, velocity, note

    def bars(self) -> tuple[int, ...]:
        """Steps of its bar lines, see `joined_bars`."""
        lines = [round(line) for line in self.lines]
        whole = [round(float(each.barDuration.quarterLength) * STEPS) for each in self.measures]
        return joined_bars(lines, whole)

    def meters(self) -> tuple[Meter, ...]:
        """(step, numerator, denominator) of its time signatures."""
        signs = [each.timeSignature for each in self.measures]
        pairs = [sign and (sign.numerator, sign.denominator) for sign in signs]
        return tuple((step, *pair) for step, pair in self._changes(pairs))

    def keys(self) -> tuple[KeySign, ...]:
        """(step, name) of its key signatures; of one without a mode the major key."""
        signs = [each.keySignature for each in self.measures]
        names = [sign and key_name(sign) for sign in signs]
        return tuple(self._changes(names))

    def _changes(self, told: Sequence[Any]) -> list[tuple[int, Any]]:
        """Where what the measures tell changes: (step, what)."""
        changes: list[tuple[int, Any]] = []
        for line, what in zip(self.lines, told, strict=False):
            if what and (not changes or changes[-1][1] != what):
                changes.append((round(line), what))
        return changes


def is_sounding(element: Any) -> bool:
    """Whether an element of a score is a note or a chord that lasts: no grace, no chord symbol."""
    kinds = element.classes
    is_note = "Note" in kinds or ("Chord" in kinds and "Harmony" not in kinds)
    return is_note and element.duration.quarterLength > 0


def key_name(sign: Any) -> str:
    """A key signature as a Song names it, like "Bb" or "F#m": its minor key where it says so."""
    is_minor = getattr(sign, "mode", "major") in ("minor", "dorian", "phrygian", "aeolian")
    tonic = sign.asKey("minor" if is_minor else "major").tonic
    sharpness = tonic.accidental.modifier.replace("-", "b") if tonic.accidental else ""
    return f"{tonic.step}{sharpness}{'m' if is_minor else ''}"


def whole_steps(rows: Sequence[Sequence[float]]) -> np.ndarray:
    """Notes on whole steps, NOTE_DTYPE (notes,); each lasts one step at least."""
    table = np.array(rows, float).reshape(-1, 5)  # (notes, 5)
    onset = np.rint(table[:, 0])
    end = np.rint(table[:, 0] + table[:, 1])
    table[:, 1] = np.maximum(end - onset, 1)
    table[:, 0] = onset
    return unstructured_to_structured(table.astype(int), NOTE_DTYPE)  # (notes,)


def joined_bars(lines: Sequence[int], whole: Sequence[int]) -> tuple[int, ...]:
    """Bar lines without those inside of a bar that a repeat cuts in two.

    Args:
        lines: steps at which measures begin, and the end of the last one.
        whole: of each measure how long a bar of its metre lasts.

    Returns:
        Steps of the bar lines. A pickup stays a bar of its own.
    """
    kept = [lines[0]]
    for i in range(1, len(whole)):
        before = lines[i] - kept[-1]
        after = lines[i + 1] - lines[i]
        is_cut = 0 < before < whole[i] and after > 0 and before + after == whole[i]
        if not is_cut and lines[i] > kept[-1]:
            kept.append(lines[i])
    return tuple(kept)


# No tune twice


def melody_runs(song: Song) -> set[bytes]:
    """All runs of RUN intervals of a song's melody: its highest notes, whatever their lengths.

    They are the same in every key. A song of fewer notes has none.
    """
    onset = song.notes["onset"]
    pitch = song.notes["pitch"].astype(int)
    first = np.flatnonzero(np.r_[True, np.diff(onset) > 0])
    if not len(onset):
        return set()
    highest = np.maximum.reduceat(pitch, first)  # (onsets,)
    steps = np.diff(highest).astype(np.int8)
    return {steps[i : i + RUN].tobytes() for i in range(len(steps) - RUN + 1)}


class Tunes:
    """The tunes that there are already: says whether another one is among them."""

    def __init__(self) -> None:
        self.sizes: dict[str, int] = {}
        self.owners: dict[bytes, list[str]] = defaultdict(list)

    def add(self, song: Song) -> None:
        """Remember a song's melody."""
        runs = melody_runs(song)
        self.sizes[song.name] = len(runs)
        for run in runs:
            self.owners[run].append(song.name)

    def twin(self, song: Song) -> str:
        """The name of a song with the same tune; "" if there is none.

        Same is what shares SAME_SHARE of the runs of the shorter one.
        """
        runs = melody_runs(song)
        shared = Counter(name for run in runs for name in self.owners.get(run, ()))
        for name, count in shared.most_common(3):
            if count >= SAME_SHARE * min(len(runs), self.sizes[name]):
                return name
        return ""


def without_twins(songs: Iterable[Song]) -> Iterator[Song | Failure]:
    """The songs; a Failure instead of each that repeats an earlier one, or a shipped one."""
    tunes = Tunes()
    for path in shipped_songs().values():
        tunes.add(read_midi(path))
    for song in songs:
        twin = tunes.twin(song)
        if twin:
            yield Failure(song.name, f"the tune of {twin}")
            continue
        tunes.add(song)
        yield song


# The whole corpus


def convert_all(out: AnyPath, workers: int = 1, progress: bool = True) -> dict[str, Any]:
    """Convert all works of COLLECTIONS to a corpus file, and write its report beside it.

    Args:
        out: of the corpus; the report has the same name and the ending ".json".
        workers: processes.
        progress: show a bar.

    Returns:
        The report.

    Raises:
        PomkitError: music21 is missing, or comes without its corpus.
    """
    folder = Path(load_music21().__file__).parent / "corpus"
    works = find_works(folder)
    if not works:
        raise PomkitError(f"{folder} holds no scores; install music21 anew: {INSTALL_SCORES}")

    started = time.process_time()
    jobs = (delayed(convert)(work) for work in works)
    results = Parallel(workers, return_as="generator")(jobs)
    bar = tqdm(results, "converting", len(works), unit="work", disable=not progress)
    converted = list(bar)
    songs = [each for each in converted if isinstance(each, Song)]
    checked = list(without_twins(songs))
    kept = [each for each in checked if isinstance(each, Song)]
    failures = [each for each in converted + checked if isinstance(each, Failure)]

    path = Corpus(kept).save(out)
    report = report_of(works, kept, failures)
    report["version"] = load_music21().__version__
    report["seconds"] = round(time.process_time() - started)
    write(path.with_suffix(".json"), json.dumps(report, indent=1).encode() + b"\n")
    return report


def report_of(
    works: Sequence[Work], songs: Sequence[Song], failures: Sequence[Failure]
) -> dict[str, Any]:
    """What came of the works, JSON values: collections with terms, metres, splits, failures."""
    collections = {}
    for name, collection in COLLECTIONS.items():
        asked = [work for work in works if work.name.startswith(f"{name}_")]
        these = [song for song in songs if song.name.startswith(f"{name}_")]
        lost = [each.reason for each in failures if each.name.startswith(f"{name}_")]
        splits = Counter(split_of(song.name) for song in these)
        row: dict[str, Any] = {"title": collection.title, "terms": collection.terms}
        row |= {"works": len(asked), "songs": len(these), "failures": reasons_of(lost)}
        row["splits"] = {split: splits[split] for split in SPLITS}
        row["metres"] = dict(Counter(song.meter.split()[0] for song in these).most_common())
        row["bars"] = sum(len(song.bar_lines()) - 1 for song in these)
        collections[name] = row
    failed = {each.name: each.reason for each in failures}
    return {"corpus": "music21", "collections": collections, "left_out": LEFT_OUT, "failed": failed}


def reasons_of(failures: Sequence[str]) -> dict[str, int]:
    """How many works failed for which reason, without names and numbers; most frequent first."""
    plain = [re.sub(r"^the tune of .*", "a tune that is there already", text) for text in failures]
    kinds = [re.sub(r"[\d.]+%?", "#", text)[:60] for text in plain]
    return dict(Counter(kinds).most_common())


def licence_of(path: AnyPath) -> dict[str, Mapping[str, Any]]:
    """The terms of a corpus file that `convert_all` wrote, by collection: title, terms, songs.

    Nothing for any other corpus.
    """
    report = Path(path).with_suffix(".json")
    if not report.is_file():
        return {}
    try:
        collections = json.loads(report.read_text())["collections"]
        return {
            name: {key: row[key] for key in ("title", "terms", "songs")}
            for name, row in collections.items()
        }
    except (ValueError, KeyError, TypeError):
        return {}


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of `python -m pomkit.data.scores OUT`.

    Returns:
        The exit code: 2, and one line on stderr, where the input is bad.
    """
    p = argparse.ArgumentParser(
        "python -m pomkit.data.scores",
        description="Make a corpus of the scores that music21 brings along.",
    )
    p.add_argument("out", help="the corpus file, like music21.corpus")
    p.add_argument("--workers", type=int, default=1, help="processes")
    o = p.parse_args(arguments)

    def work() -> None:
        report = convert_all(o.out, o.workers)
        for name, row in report["collections"].items():
            print(f"{name}: {row['songs']} songs of {row['works']} works, {row['splits']}")

    return exit_code("pomkit.data.scores", work)


if __name__ == "__main__":
    sys.exit(main())
