"""Judge a model on held-out songs: `python -m pomkit.evaluate MODEL --data CORPUS --out report/`.

All is counted on the notes that begin inside the mask. In brackets: 95 % bootstrap intervals over songs. Rows:

- "real halves": real songs against other real songs, halves drawn at random. With few songs this ceiling is low.
- "real": the music that was there, measured like a model; "chance": its notes at random cells of the mask; "permuted": no
  music, made to fool the measures: its pitches dealt anew among its notes.
- "copy": the bars before the mask; "nearest": the training bars whose surroundings match best; "markov": an order-2 chain.
- "uncover", "conditioned", "repaint": the model.

Columns:

- overlapping area, KLD: mean of six features' inter- against intra-set distances, to real windows of other songs
  (`metrics.compare`); in "sets" each feature's overlapping area, and the means of `metrics.describe`.
- in scale, on 8th grid: of the whole song; chord accuracy: root and kind of third, estimated from the result, are the known
  chord's; chord tones: notes that belong to it; note F1: against the music that was there (`metrics.Region`).
- longest shared: notes of the longest sequence that also stands in a training song; leak: pixels changed outside the mask."""

import json
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from einops import rearrange
from tqdm.auto import tqdm

from ..composing.former import METHODS
from ..composing.region import inpaint
from ..data.windows import Windows
from ..errors import OptionError, check_choice
from ..files import write
from ..music import masks
from ..music.picture import parse, render
from ..music.song import Song
from ..play import audio, plot
from ..processes.checkpoint import Model
from ..processes.contract import methods_of
from . import baselines, metrics

Window = tuple[Song, int, np.ndarray]  # a song, the step where the picture begins, the picture
Row = dict[str, list[float]]  # of a table: measure -> value, low, high
Tables = dict[str, dict[str, Row]]  # task -> row
DRAWS = 200  # of songs, for the intervals
X = np.linspace(0.05, 0.95, 33)
# Brush strokes over a window: radius in cells, paths of (share of the width, pitch); from what training saw to what it did not.
SHAPES: dict[str, tuple[float, list[Any]]] = {
    "rising line": (3, [np.c_[X, 46 + 40 * X]]),
    "falling line": (3, [np.c_[X, 86 - 40 * X]]),
    "diverging lines": (3, [np.c_[X, 66 + 22 * X], np.c_[X, 66 - 22 * X]]),
    "arch": (3, [np.c_[X, 48 + 36 * np.sin(np.pi * X)]]),
    "blob": (16, [[(0.35, 62), (0.5, 70), (0.6, 60)]]),
    "scattered dots": (
        2.5,
        [[dot] for dot in np.random.default_rng(0).uniform((0, 44), (1, 88), (50, 2))],
    ),
}


def drawn(name: str, song: Song, start: int, width: int) -> np.ndarray:
    """The mask of a drawn shape, bool (128, width), wherever it lies."""
    radius, paths = SHAPES[name]
    return np.logical_or.reduce(
        [masks.stroke(width, np.multiply(path, (width, 1)), radius) for path in paths]
    )


# Tasks: the kind of notes that is hidden, and the mask of a window (song, start, width).
TASKS: dict[str, tuple[str, Callable[[Song, int, int], np.ndarray]]] = {
    "unconditional": ("all", lambda song, start, width: masks.everything(width, chords=True)),
    "melody": ("melody", lambda song, start, width: masks.melody(song, start=start, width=width)),
    "accompaniment": (
        "accompaniment",
        lambda song, start, width: masks.accompaniment(song, start=start, width=width),
    ),
    "continuation": ("all", lambda song, start, width: masks.continuation(width, width // 2)),
    "loop middle": ("all", lambda song, start, width: masks.bars(width, 13, 20)),
    "chords only": ("all", lambda song, start, width: masks.everything(width)),
    **{name: ("all", partial(drawn, name)) for name in SHAPES},
}
COLUMNS = {
    "density": "notes / real",
    "overlapping_area": "overlapping area",
    "kld": "KLD",
    "in_scale": "in scale",
    "on_grid": "on 8th grid",
    "chord_accuracy": "chord accuracy",
    "chord_tones": "chord tones",
    "filled": "mask filled",
    "note_f1": "note F1",
    "longest_shared": "longest shared",
    "changed_outside": "leak",
}


def held_out(songs: Sequence[Song], width: int, count: int, seed: int = 0) -> list[Window]:
    """`count` windows (song, start, picture): one a song in turn, at a random bar line where the music is dense enough."""
    rng = np.random.default_rng(seed)
    starts = [rng.permutation(Windows([song], width).starts[0]) for song in songs]
    windows = (
        (song, int(start), render(song, int(start), width))
        for turn in zip_longest(*starts)
        for song, start in zip(songs, turn, strict=True)
        if start is not None
    )
    dense = (
        w for w in windows if (w[2][8:120, :, 0] > 0).sum() >= width / 2
    )  # no intros and endings
    return list(islice(dense, count))


class Judge:
    """Measures a model task by task: `judge(task)` gives the rows of its table, `judge.samples` what the model composed.
    `songs`: held out; `training`: songs for the baselines and for what is shared (none: these are left out); `count`: windows a
    task, of drawn shapes a third; four times as many real ones are compared with. `options`: those of `inpaint`."""

    def __init__(
        self,
        model: Model,
        songs: Sequence[Song],
        training: Sequence[Song] = (),
        count: int = 48,
        methods: Sequence[str] | None = None,
        seed: int = 0,
        progress: bool = True,
        **options: Any,
    ) -> None:
        if not songs or count < 1:
            raise OptionError(
                f"{len(songs)} songs, {count} windows: give at least one of each; another split may have songs"
            )
        self.model, self.count, self.seed, self.progress = model, count, seed, progress
        self.methods, self.options = methods or methods_of(model), options
        self.songs, n, rng = list(songs), len(songs), np.random.default_rng(seed)
        self.windows = lru_cache(lambda width: held_out(self.songs, width, 4 * count, seed))
        self.samples: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self.training = baselines.Training(list(training)) if len(training) else None
        self.markov = baselines.Markov(self.training) if self.training else None
        self.halves = np.stack(
            [half := rng.permuted(np.tile(np.arange(n) < n // 2, (DRAWS, 1)), axis=1), ~half],
            axis=1,
        )

    def __call__(self, task: str) -> dict[str, Row]:
        """The rows of a task, row -> measure -> [value, low, high]; what is not defined is left out."""
        check_choice("task", task, TASKS)
        (kind, region_of), width = TASKS[task], 512 if task == "loop middle" else self.model.width
        found = [
            (window, region_of(window[0], window[1], width))
            for window in self.windows(width)
            if window[0].chords or task != "chords only"
        ]
        found, self.samples = [(window, mask) for window, mask in found if mask.any()], []
        if not found:
            return {}
        made, counts = [], []
        todo = tqdm(
            found[: self.count // (3 if task in SHAPES else 1) or 1],
            task,
            unit="window",
            disable=not self.progress,
        )
        for i, ((song, start, picture), mask) in enumerate(todo):
            rng, region = (
                np.random.default_rng((self.seed, i)),
                metrics.Region(picture, mask, render(song), start),
            )
            chance, permuted = (
                metrics.shuffled(picture, mask, rng),
                baselines.permuted(picture, mask, rng),
            )
            rows = {"real": picture, "chance": chance, "permuted": permuted}
            if task not in ("unconditional", "chords only"):
                rows["copy"] = baselines.copied(picture, mask, song, start, kind)
            if self.training:
                rows["nearest"] = baselines.nearest(picture, mask, self.training, kind, rng)
            if self.markov and kind == "melody":
                rows["markov"] = self.markov(picture, mask, rng)
            for method in self.methods:
                after = inpaint(
                    self.model, picture, mask, seed=self.seed + i, method=method, **self.options
                )
                rows[method] = np.asarray(after[0])
            made.append(rows)
            counts.append([region.measure(after) for after in rows.values()])
            self.samples.append((picture, mask, rows[self.methods[0]]))
        return self.table(made, np.array(counts), *zip(*found, strict=True))

    def table(
        self,
        made: Sequence[dict[str, np.ndarray]],
        counts: np.ndarray,
        windows: Sequence[Window],
        regions: Sequence[np.ndarray],
    ) -> dict[str, Row]:
        """Values and intervals of every row over the same draws of songs; `counts`: `Region.measure` (n, rows, 2, measures)."""
        rows, n, songs = (
            list(made[0]),
            len(made),
            np.array([self.songs.index(window[0]) for window in windows]),
        )
        there, rng = np.unique(songs[:n]), np.random.default_rng(self.seed)
        draws = np.ones((1 + DRAWS, len(self.songs)))  # the first: every song once
        draws[1:, there] = rng.multinomial(len(there), np.ones(len(there)) / len(there), DRAWS)
        clips = metrics.read_clips(
            [each[row] for row in rows for each in made], np.tile(regions[:n], (len(rows), 1, 1))
        )
        parts = dict(
            zip(
                metrics.MEASURES,
                rearrange(counts, "n rows two measures -> measures two (rows n)"),
                strict=True,
            )
        )
        parts |= {
            key: np.stack([np.nan_to_num(x), ~np.isnan(x)])
            for key, x in metrics.describe(clips).items()
            if x.ndim == 1
        }
        if self.training:
            shared = metrics.longest_shared(clips.notes, self.training.lines, len(rows) * n)
            parts["longest_shared"] = np.stack([shared, np.ones_like(shared)])
        sums = rearrange(list(parts.values()), "measures two (rows n) -> two measures rows n", n=n)
        above, below = (
            sums @ np.eye(len(self.songs))[songs[:n]] @ draws.T
        )  # (measures, rows, 1 + DRAWS)
        with np.errstate(invalid="ignore", divide="ignore"):
            shares = dict(zip(parts, np.where(below > 0, above / below, np.nan), strict=True))
            for key in ("in_scale", "on_grid"):
                shares[f"{key}_minus_real"] = shares[key] - shares[key][0]  # the first row: real
            shares["chord_accuracy_over_real"] = (
                shares["chord_accuracy"] / shares["chord_accuracy"][0]
            )
        reference = metrics.read_clips([picture for _, _, picture in windows], np.array(regions))
        against = np.stack([draws, np.ones_like(draws)], axis=1)  # the real windows stay
        likeness = {
            "real halves": metrics.compare(
                reference, reference, songs, songs, self.halves.astype(float)
            )
        }
        for row in rows:
            clips = metrics.read_clips([each[row] for each in made], np.array(regions[:n]))
            likeness[row] = metrics.compare(clips, reference, songs[:n], songs, against)
        table: dict[str, Row] = {}
        for i, (row, compared) in enumerate(likeness.items()):
            values = {
                "overlapping_area": compared["mean"][0],
                "kld": compared["mean"][1],
                **{f"overlapping_area_{key}": compared[key][0] for key in metrics.FEATURES},
            }
            if i == 0:
                values = {key: np.append(value.mean(), value) for key, value in values.items()}
            else:  # a drawn set holds songs twice, so it is less like: shift that away
                values = {
                    key: np.append(value[0], np.maximum(value[1:] - value[1:].mean() + value[0], 0))
                    for key, value in values.items()
                } | {key: share[i - 1] for key, share in shares.items()}
            table[row] = {
                key: [
                    round(float(x), 4)
                    for x in (value[0], *np.nanquantile(value[1:], (0.025, 0.975)))
                ]
                for key, value in values.items()
                if np.isfinite(value[0])
            }
        return table


def as_markdown(tables: Tables, columns: dict[str, str] = COLUMNS) -> str:
    """A table for people: a line for each task and row."""
    lines = [["task", "", *columns.values()], ["---"] * (len(columns) + 2)]
    lines += [
        [task, row, *(cell(found.get(key)) for key in columns)]
        for task in tables
        for row, found in tables[task].items()
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cell(values: Sequence[float] | None) -> str:
    """ "0.976 (0.959 to 0.988)", "" where there is nothing."""
    texts = [f"{x:.3f}".removesuffix(".000") for x in values or ()]
    return f"{texts[0]} ({texts[1]} to {texts[2]})" if len(set(texts)) > 1 else "".join(texts[:1])


def write_report(out: Path, report: dict[str, Any]) -> None:
    """report.json and report.md of what is finished so far, atomically."""
    tables, settings = report["tasks"], report["settings"]
    found = (key for rows in tables.values() for row in rows.values() for key in row)
    more = {key: key.replace("_", " ") for key in found if key not in COLUMNS}
    text = [
        f"# {settings['model']}",
        ", ".join(f"{key}: {value}" for key, value in settings.items()),
        as_markdown(tables),
        "## Sets",
        as_markdown(tables, more),
        "## How to read it",
        (__doc__ or "").partition("\n\n")[2],
    ]
    write(out / "report.json", json.dumps(report, indent=1).encode())
    write(out / "report.md", "\n\n".join(text).encode() + b"\n")


def draw_measures(path: Path, tables: Tables) -> None:
    """Write a figure with a panel a measure: tasks downwards, a dot with its interval for each row."""
    figure = plot.new_figure(16, 4 + 1.1 * len(tables), 90)
    rows, ours = (
        list(dict.fromkeys(row for table in tables.values() for row in table)),
        [*METHODS["cells"], *METHODS["edm"]],
    )
    for ax, (key, title) in zip(
        figure.subplots(2, 5, sharey=True).ravel(), list(COLUMNS.items())[:-1], strict=True
    ):
        for i, row in enumerate(rows):
            found = np.array(
                [table.get(row, {}).get(key, [np.nan] * 3) for table in tables.values()]
            )  # (tasks, 3)
            mark, size = ("D", 6) if row in ours else ("o", 4)
            ax.errorbar(
                found[:, 0],
                np.arange(len(tables)) + (i + 0.5) / len(rows) * 0.8 - 0.4,
                linewidth=1,
                fmt=mark,
                markersize=size,
                xerr=np.abs(found[:, 1:] - found[:, :1]).T,
                color=f"C{i}",
                label=row,
            )
        ax.set_title(title, loc="left", fontsize=10)
        ax.set(yticks=range(len(tables)), yticklabels=list(tables), ylim=(len(tables) - 0.5, -0.5))
        ax.grid(axis="x", alpha=0.3)
    figure.legend(
        *ax.get_legend_handles_labels(), ncols=len(rows), frameon=False, loc="outside upper center"
    )
    write(path, partial(figure.savefig, format="png"))


def write_samples(
    folder: Path, samples: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]]
) -> None:
    """Pictures (before, mask, after): 8 as picture, MIDI and sound, the first as a figure."""
    for i, (before, mask, after) in enumerate(samples[:8]):
        plot.save_png(folder / f"{i}.png", after)
        parse(after).write_midi(folder / f"{i}.mid")
        audio.write_wav(folder / f"{i}.wav", audio.synthesize(after, 22050).mean(axis=1), 22050)
        if i == 0:
            plot.side_by_side(before, mask, after, folder / "0_side_by_side.png")
