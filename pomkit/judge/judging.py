"""The judge: a model and the baselines compose the same windows, and all of it is measured.

    judge = Judge(model, valid_songs, train_songs)
    result = judge.judge_task("melody")
    result.rows["uncover"]["note_f1"]  # [value, low, high]

In four steps, each a method:

1. `choose`: windows of held-out songs, and the task's mask of each.
2. `fill`: every row's picture of every window: real, chance, baselines, model.
3. `measure`: numerators and denominators of every measure, for each row and window.
4. `bootstrap` and `assemble`: values and intervals over draws of songs.

A model has a row for each of its methods, and for each way that files come: with annotated chords,
or, as most files, with none (`tasks.CHORDS`). What the rows and columns mean stands in
`report.HOW_TO_READ`.

**A new measure** has one of three homes, and is one function and one line in a table there:
`statistics.STATISTICS` (of a clip), `metrics.REGION_MEASURES` (of a composition beside what was
there), or `MEASURES_OF_ROWS` here (of all compositions at once, with the training songs at hand).
Each gives numerators and denominators, which are added up over windows before they are divided.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from tqdm.auto import tqdm

from ..composing.region import inpaint
from ..errors import OptionError, check_choice
from ..music import masks
from ..music.picture import render
from ..music.pixels import Mask, Picture
from ..music.song import Song
from ..processes.contract import Model, methods_of
from . import baselines
from .clips import Clips, read_clips
from .intervals import DRAWS, INTERVAL, draw_songs
from .likeness import FEATURES, compare
from .metrics import Region, longest_shared, shuffled
from .statistics import describe
from .tasks import CHORDS, TASKS, Task, TestWindow, as_brought, held_out, song_around

# So many real windows for each that is composed.
REAL_WINDOWS = 4
# Measures that stand in a table once more: less the real music's, and over it.
MINUS_REAL = ("in_scale", "on_grid", "one_step_notes", "broken_notes", "leaps", "turns")
OVER_REAL = ("chord_accuracy", "note_length", "mean_interval")
# Decimals of the values of a table.
DIGITS = 4

# A row of a table: measure -> [value, low, high].
Row = dict[str, list[float]]
# Task -> row -> measure -> [value, low, high].
Tables = dict[str, dict[str, Row]]
# One window, composed in every way: row -> picture, uint8 (128, width, 3).
Fill = dict[str, Picture]
# Measure -> numerators and denominators, (2, rows, windows) or (2, clips).
Counts = dict[str, np.ndarray]
# Measure -> the value, then that of each draw, (1 + DRAWS,), or the same of every row.
Shares = dict[str, np.ndarray]


class Sample(NamedTuple):
    """What the model's first row composed: pictures uint8 (128, width, 3), mask (128, width)."""

    before: Picture
    mask: Mask
    after: Picture


class TaskResult(NamedTuple):
    """What was found at one task.

    Attributes:
        task: its name.
        rows: row -> measure -> [value, low, high]; what is not defined is left out.
        samples: what the model's first row composed, a sample for each window.
    """

    task: str
    rows: dict[str, Row]
    samples: list[Sample]


class Question(NamedTuple):
    """A window and what is hidden of it: mask bool (128, width)."""

    window: TestWindow
    mask: Mask


class Judge:
    """Measures a model task by task, beside the real music, chance and the baselines.

    `judge(task)` gives the rows of a table, and `judge.samples` what the model composed for it;
    `judge.judge_task(task)` gives both as one record.
    """

    def __init__(
        self,
        model: Model,
        songs: Sequence[Song],
        training: Sequence[Song] | baselines.Training = (),
        count: int = 48,
        methods: Sequence[str] | None = None,
        seed: int = 0,
        progress: bool = True,
        chords: Sequence[str] = ("annotated",),
        **options: Any,
    ) -> None:
        """Prepare a judge.

        Args:
            model: what is judged.
            songs: held out.
            training: for the baselines and for what is shared with them; none: both are left out.
                What `baselines.Training` made of them serves many judges.
            count: windows a task, of drawn shapes a third.
            methods: of the model, a row each; None: all that it has.
            seed: of windows and samples.
            progress: whether a bar shows how far it is.
            chords: what the model is shown of a song's chords, of `tasks.CHORDS`: a row each.
            options: those of `inpaint`.

        Raises:
            OptionError: there are no songs, no windows are asked for, or no such chords.
        """
        if not songs or count < 1:
            raise OptionError(
                f"{len(songs)} songs, {count} windows: give at least one of each; "
                "another split may have songs"
            )
        self.model = model
        self.songs = list(songs)
        self.count = count
        self.methods = methods or methods_of(model)
        for way in chords:
            check_choice("chords", way, CHORDS)
        self.model_rows = {
            row_of(method, way): (method, way) for method in self.methods for way in chords
        }
        self.seed = seed
        self.progress = progress
        self.options = options
        self.samples: list[Sample] = []

        self.training = as_training(training)
        self.markov = baselines.Markov(self.training) if self.training else None
        self.windows = lru_cache(self._windows)
        self.halves = _halves(len(self.songs), seed)

    def _windows(self, width: int) -> list[TestWindow]:
        """Real windows of a width in steps: the first are composed, all are compared with."""
        return held_out(self.songs, width, REAL_WINDOWS * self.count, self.seed)

    def __call__(self, task: str) -> dict[str, Row]:
        """Judge a task: row -> measure -> [value, low, high]; keeps the samples in `samples`.

        Raises:
            OptionError: there is no such task.
        """
        result = self.judge_task(task)
        self.samples = result.samples
        return result.rows

    def can_answer(self, task: Task) -> bool:
        """Whether the model answers the masks of a task; False where there is no window of it."""
        questions = self.choose(task)[: self.count]
        try:
            for question in questions:
                self.model.check_mask(question.mask)
        except OptionError:
            return False
        return bool(questions)

    def judge_task(self, name: str, task: Task | None = None) -> TaskResult:
        """Judge a task and give all that was found; without a window to ask it of, no rows.

        Args:
            name: of the task.
            task: of your own; None: the one of `TASKS` that has this name.

        Raises:
            OptionError: there is no such task.
        """
        if task is None:
            check_choice("task", name, TASKS)
            task = TASKS[name]
        real = self.choose(task)
        if not real:
            return TaskResult(name, {}, [])

        # The first windows are composed, all are compared with.
        questions = real[: max(self.count // task.fraction, 1)]
        progress = tqdm(questions, name, unit="window", disable=not self.progress)
        fills = [self.fill(i, question, task) for i, question in enumerate(progress)]
        counts = self.measure(questions, fills)
        shares = self.bootstrap(questions, counts)
        rows = self.assemble(real, fills, shares)
        return TaskResult(name, rows, self._samples(questions, fills))

    def choose(self, task: Task) -> list[Question]:
        """The task's masks of all real windows, without those that hide nothing."""
        width = task.width or self.model.width
        questions = []
        for window in self.windows(width):
            mask = task.mask_of(window.song, window.start, width)
            if mask.any() and (window.song.chords or not task.of_chords):
                questions.append(Question(window, mask))
        return questions

    def fill(self, index: int, question: Question, task: Task) -> Fill:
        """Compose one window in every way; its `index` is the seed of whatever is random."""
        (song, start, picture), mask = question
        rng = np.random.default_rng((self.seed, index))
        fills = {
            "real": picture,
            "chance": shuffled(picture, mask, rng),
            "permuted": baselines.permuted(picture, mask, rng),
        }
        if task.has_context:
            fills["copy"] = baselines.copied(picture, mask, song, start, task.kind)
        if self.training:
            fills["nearest"] = baselines.nearest(picture, mask, self.training, task.kind, rng)
        if self.markov and task.kind == "melody":
            fills["markov"] = self.markov(picture, mask, rng)

        for row in self.model_rows:
            fills[row] = self.compose(index, question, row)
        return fills

    def compose(self, index: int, question: Question, row: str) -> Picture:
        """Compose one window by the model, uint8 (128, width, 3).

        Args:
            index: the number of the window, which is the seed.
            question: the window and its mask.
            row: one of `model_rows`.
        """
        method, chords = self.model_rows[row]
        window, mask = question
        shown = as_brought(window, chords)
        bars, meters = window.song.metre_from(window.start, shown.shape[1])
        options: dict[str, Any] = {"bars": bars, "meters": meters} | self.options
        options["seed"] = self.seed + index
        if self.model.recalls:
            options["whole"] = song_around(window, chords)
        pictures = inpaint(self.model, shown, mask, method=method, **options)

        # What it was shown of the chords is no part of its answer.
        known_chords = masks.chords(mask) & ~mask
        return np.where(known_chords[..., None], window.picture, pictures[0])

    def measure(self, questions: Sequence[Question], fills: Sequence[Fill]) -> Counts:
        """Numerators and denominators of every measure, (2, rows, windows) each."""
        rows = list(fills[0])
        regions = [
            Region(window.picture, mask, render(window.song), window.start)
            for window, mask in questions
        ]
        by_row = [
            [region.counts(fill[row]) for region, fill in zip(regions, fills, strict=True)]
            for row in rows
        ]
        counts: Counts = {}
        for name in by_row[0][0]:
            pairs = np.array([[each[name] for each in row] for row in by_row], float)
            counts[name] = np.moveaxis(pairs, -1, 0)  # (2, rows, windows)

        # The rest is counted on the clips of all rows at once, row after row.
        masks = np.tile([mask for _, mask in questions], (len(rows), 1, 1))
        clips = read_clips([fill[row] for row in rows for fill in fills], masks)
        for measures in MEASURES_OF_ROWS:
            for name, pair in measures(clips, self.training).items():
                counts[name] = pair.reshape(2, len(rows), len(fills))  # (2, rows, windows)
        return counts

    def bootstrap(self, questions: Sequence[Question], counts: Counts) -> Shares:
        """Every measure's share over all windows, then over those of drawn songs.

        Returns:
            Measure -> float (rows, 1 + DRAWS); nan where nothing is counted.
        """
        # Of each song all windows count as often as it is drawn: sums first, then the share.
        songs = self._songs_of(questions)
        by_song = np.eye(len(self.songs))[songs]  # (windows, songs)
        stacked = np.stack(list(counts.values()), axis=1)  # (2, measures, rows, windows)
        above, below = stacked @ by_song @ self._draws(songs).T
        with np.errstate(invalid="ignore", divide="ignore"):
            pooled = np.where(below > 0, above / below, np.nan)  # (measures, rows, 1 + DRAWS)
        shares = dict(zip(counts, pooled, strict=True))

        # The same beside the real music, which is the first row.
        for name in MINUS_REAL:
            shares[f"{name}_minus_real"] = shares[name] - shares[name][0]
        with np.errstate(invalid="ignore", divide="ignore"):
            for name in OVER_REAL:
                shares[f"{name}_over_real"] = shares[name] / shares[name][0]
        return shares

    def assemble(
        self,
        real: Sequence[Question],
        fills: Sequence[Fill],
        shares: Shares,
    ) -> dict[str, Row]:
        """The table: likeness to all real windows, and the shares of `bootstrap`.

        Args:
            real: all real windows.
            fills: of the first of them.
            shares: measure -> float (rows, 1 + DRAWS).
        """
        masks = np.array([mask for _, mask in real])  # (windows, 128, width)
        songs = self._songs_of(real)
        reference = read_clips([window.picture for window, _ in real], masks)

        # Real music beside itself: one half of the songs with the other.
        halves = compare(reference, reference, songs, songs, weights=self.halves)
        table = {"real halves": _round(_of_halves(_flat(halves)))}

        # The composed windows are drawn by song; all real windows stay.
        n = len(fills)
        draws = self._draws(songs[:n])
        weights = np.stack([draws, np.ones_like(draws)], axis=1)  # (1 + DRAWS, 2, songs)
        for i, row in enumerate(fills[0]):
            clips = read_clips([fill[row] for fill in fills], masks[:n])
            alike = compare(clips, reference, songs[:n], songs, weights=weights)
            values = _without_repeats(_flat(alike))
            values |= {name: share[i] for name, share in shares.items()}
            table[row] = _round(values)
        return table

    def _songs_of(self, questions: Sequence[Question]) -> np.ndarray:
        """The number of each window's song, int (windows,)."""
        return np.array([self.songs.index(question.window.song) for question in questions])

    def _draws(self, songs: np.ndarray) -> np.ndarray:
        """How often each song counts, float (1 + DRAWS, songs): see `draw_songs`."""
        return draw_songs(songs, len(self.songs), self.seed)

    def _samples(self, questions: Sequence[Question], fills: Sequence[Fill]) -> list[Sample]:
        """What the model's first row made of each window."""
        samples = []
        for (window, mask), fill in zip(questions, fills, strict=True):
            samples.append(Sample(window.picture, mask, fill[next(iter(self.model_rows))]))
        return samples


def as_training(training: Sequence[Song] | baselines.Training) -> baselines.Training | None:
    """Training songs, or what was made of them, as the baselines take them; None without songs."""
    if isinstance(training, baselines.Training):
        return training
    return baselines.Training(list(training)) if len(training) else None


def row_of(method: str, chords: str) -> str:
    """The name of a model's row: its method, and what it was shown, if not annotated chords."""
    return method if chords == "annotated" else f"{method}, chords {chords}"


def means_of_statistics(clips: Clips, training: baselines.Training | None) -> Counts:
    """The means of `describe`: a clip where a measure is not defined does not count, (2, clips)."""
    counts = {}
    for name, values in describe(clips).items():
        if values.ndim == 1:  # (clips,)
            counts[name] = np.stack([np.nan_to_num(values), ~np.isnan(values)])
    return counts


def lengths_shared(clips: Clips, training: baselines.Training | None) -> Counts:
    """The mean of `longest_shared` with the training songs, (2, clips); none without these."""
    if training is None:
        return {}
    shared = longest_shared(clips.notes, training.lines, len(clips.columns))
    return {"longest_shared": np.stack([shared, np.ones_like(shared)])}


# Each takes the clips of all rows, row after row, and the training songs, None without any. It
# gives measure -> numerators and denominators, (2, clips).
MEASURES_OF_ROWS: list[Callable[[Clips, baselines.Training | None], Counts]] = [
    means_of_statistics,
    lengths_shared,
]


def _halves(songs: int, seed: int) -> np.ndarray:
    """Divide songs in two halves at random, again and again, float (DRAWS, 2, songs) of 0 and 1."""
    rng = np.random.default_rng(seed)
    first = np.tile(np.arange(songs) < songs // 2, (DRAWS, 1))  # (DRAWS, songs)
    first = rng.permuted(first, axis=1)
    return np.stack([first, ~first], axis=1).astype(float)


def _flat(alike: dict[str, np.ndarray]) -> Shares:
    """The result of `compare` as measures with a name each, (draws,) each."""
    area, kld = alike["mean"]
    areas = {f"overlapping_area_{name}": alike[name][0] for name in FEATURES}
    return {"overlapping_area": area, "kld": kld, **areas}


def _of_halves(values: Shares) -> Shares:
    """Shares of many divisions in halves, (DRAWS,), with their mean put first, (1 + DRAWS,)."""
    return {name: np.append(value.mean(), value) for name, value in values.items()}


def _without_repeats(values: Shares) -> Shares:
    """Shares over draws, shifted so that their mean is the value of all songs, (1 + DRAWS,) each.

    A drawn set holds songs twice, so it is less like real music: that is no matter of chance.
    """
    shifted = {}
    for name, value in values.items():
        draws = value[1:] - value[1:].mean() + value[0]
        shifted[name] = np.append(value[0], np.maximum(draws, 0))
    return shifted


def _round(values: Shares) -> Row:
    """Each value with the interval of its draws; those that are not defined are left out."""
    row = {}
    for name, value in values.items():
        if np.isfinite(value[0]):
            interval = np.nanquantile(value[1:], INTERVAL)
            row[name] = [round(float(number), DIGITS) for number in (value[0], *interval)]
    return row
