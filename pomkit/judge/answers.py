"""The answers of a listening test, pooled: means with intervals, guesses against chance, agreement.

    table = pool_answers("out/listening/answers")
    table["systems"]["real"]["hummable"]         # [4.2, 3.9, 4.5]
    table["agreement"]["hummable"]               # Krippendorff's alpha

A file of answers is what the page of `listening` saves. Chance acts on songs: an interval comes
from songs that are drawn again, each with all that was said of it. How far people agree says how
much a mean is worth: alpha is 1 where all say the same, 0 where they might as well have drawn lots.

Clips that somebody knew do not count in what that person called real.
"""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import OptionError, shown
from ..files import AnyPath
from .intervals import draw_songs, interval_of
from .listening import QUESTIONS

RATINGS = ("hummable", "consonance", "clappable")
KEY = "key.json"
# What half of all guesses would be right by.
CHANCE = 0.5

# Of one rater: clip -> question -> answer.
Sheet = dict[str, dict[str, Any]]


def pool_answers(folder: AnyPath, key: AnyPath | None = None) -> dict[str, Any]:
    """Read all files of answers in a folder, and pool them.

    Args:
        folder: with the files, *.json.
        key: the test's key; None: key.json in the folder, or in the one above it.

    Returns:
        "raters": their names. "systems": system -> "clips", "answers", and question -> [value, low,
        high]: the mean rating, 1 to 5; for "real" the share called real, by those who did not know
        the clip; for "known" the share that knew it. "right": the share of guesses that were right,
        where .5 is chance. "agreement": question -> Krippendorff's alpha; nan where it is not
        defined.

    Raises:
        OptionError: there are no answers or no key, or a file holds no answers to this test.
    """
    folder = Path(folder)
    test = _read(_key_of(folder, key))
    sheets: dict[str, Sheet] = {}
    for path in sorted(folder.glob("*.json")):
        if path.name != KEY:
            rater, sheet = read_sheet(path, test)
            sheets[_free_name(rater, sheets)] = sheet
    if not sheets:
        raise OptionError(f"{folder} holds no answers; put the files there that the page saved")

    systems: dict[str, dict[str, Any]] = {}
    names = sorted({clip["system"] for clip in test["clips"].values()})
    for system in names:
        systems[system] = _of_system(system, test, sheets)
    agreement = {name: _agreement(name, sheets) for name in QUESTIONS}
    return {
        "raters": list(sheets),
        "systems": systems,
        "right": _share_right(test, sheets),
        "agreement": agreement,
    }


def read_sheet(path: Path, test: dict[str, Any]) -> tuple[str, Sheet]:
    """Read one file of answers, as the page saves it.

    Args:
        path: of the file.
        test: the key of the test.

    Returns:
        The rater's name, and what that person said: clip -> question -> answer.

    Raises:
        OptionError: it is no such file, or one of another test; it names the file.
    """
    found = _read(path)
    if found.get("session") != test["session"] or not isinstance(found.get("answers"), dict):
        raise OptionError(
            f"{path} holds no answers to the test {shown(test['session'])}; "
            "give the files that its own page saved"
        )

    # Every clip is one of the test, every answer one of those to choose from.
    for clip, given in found["answers"].items():
        if clip not in test["clips"] or not isinstance(given, dict):
            raise OptionError(
                f"{path} speaks of a clip {shown(clip)}; give the file as it was saved"
            )
        for name, answer in given.items():
            if not _is_choice(name, answer):
                raise OptionError(
                    f"{path}: {shown(name)} of clip {clip} is {shown(answer)}; "
                    "give the file as it was saved"
                )
    return str(found.get("rater") or "anonymous"), found["answers"]


def _is_choice(question: str, answer: Any) -> bool:
    """Whether an answer is one of those to choose from; True is 1 to Python, but no rating."""
    choices = QUESTIONS[question]["choices"] if question in QUESTIONS else ()
    return any(type(answer) is type(value) and answer == value for value, _ in choices)


def krippendorff_alpha(
    ratings: np.ndarray, distance: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> float:
    """How far raters agree: 1 - observed over expected disagreement.

    Args:
        ratings: float (raters, units), nan where nothing was said.
        distance: of two arrays of answers, their squared differences; see `nominal`, `interval`.

    Returns:
        1 where all agree, 0 as by chance; nan where fewer than two said anything of any unit, or
        nobody ever said anything else.

    Source: Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability", section C.
    """
    said = ~np.isnan(ratings)
    units = [column[mask] for column, mask in zip(ratings.T, said.T, strict=True)]
    units = [unit for unit in units if len(unit) > 1]
    if not units:
        return float("nan")

    # Pairs within a unit, each unit by its number of answers; and pairs of all answers.
    everything = np.concatenate(units)
    within = [distance(unit[:, None], unit).sum() / (len(unit) - 1) for unit in units]
    observed = sum(within) / len(everything)
    between = distance(everything[:, None], everything).sum()
    expected = between / (len(everything) * (len(everything) - 1))
    return float(1 - observed / expected) if expected else float("nan")


def nominal(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The difference of names: 0 where answers are equal, else 1, float like `a` and `b`."""
    return (a != b).astype(float)


def interval(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The difference of numbers: its square, float like `a` and `b`."""
    return (a - b) ** 2.0


def as_table(pooled: dict[str, Any]) -> str:
    """What `pool_answers` found, as Markdown."""
    questions = [name for name in QUESTIONS if name != "real"]
    lines = [["", "clips", "answers", *questions, "called real"]]
    lines.append(["---"] * len(lines[0]))
    for system, row in pooled["systems"].items():
        cells = [_in_words(row[name]) for name in (*questions, "real")]
        lines.append([system, str(row["clips"]), str(row["answers"]), *cells])
    table = [f"| {' | '.join(line)} |" for line in lines]

    defined = {name: value for name, value in pooled["agreement"].items() if not np.isnan(value)}
    alphas = ", ".join(f"{name} {value:.2f}" for name, value in defined.items()) or "not defined"
    raters = len(pooled["raters"])
    guesses = _in_words(pooled["right"]) or "none of both kinds"
    right = f"right guesses, real or composed: {guesses} (chance: {CHANCE})"
    agree = f"agreement of {raters} raters (Krippendorff's alpha): {alphas}"
    return "\n".join([*table, "", right, agree])


def _key_of(folder: Path, key: AnyPath | None) -> Path:
    """Where the key of a test lies; OptionError where there is none."""
    places = [folder / KEY, folder.parent / KEY] if key is None else [Path(key)]
    for path in places:
        if path.is_file():
            return path
    raise OptionError(
        f"no key of the test at {' or '.join(map(str, places))}; put the key.json there that was "
        "written with the test"
    )


def _read(path: Path) -> dict[str, Any]:
    """A JSON file that holds a dict; OptionError."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as fault:
        raise OptionError(f"{path} cannot be read as JSON ({fault}); save it again") from fault
    if not isinstance(found, dict):
        raise OptionError(f"{path} holds no answers and no key; give the file as it was saved")
    return found


def _free_name(rater: str, taken: Iterable[str]) -> str:
    """The name of a rater, with a number if another one has it."""
    number = 1
    name = rater
    while name in taken:
        number += 1
        name = f"{rater} ({number})"
    return name


def _of_system(system: str, test: dict[str, Any], sheets: dict[str, Sheet]) -> dict[str, Any]:
    """What was said of the clips of one system."""
    of_test = test["clips"].items()
    songs = {name: clip["song"] for name, clip in of_test if clip["system"] == system}
    given = []
    for sheet in sheets.values():
        heard = [clip for clip in sheet if clip in songs and sheet[clip]]
        given += [(songs[clip], sheet[clip]) for clip in heard]

    row: dict[str, Any] = {"clips": len(songs), "answers": len(given)}
    for question in QUESTIONS:
        counted = [(song, answers) for song, answers in given if _counts(question, answers)]
        said = [(song, float(answers[question])) for song, answers in counted]
        row[question] = _mean_over_songs(said)
    return row


def _counts(question: str, given: dict[str, Any]) -> bool:
    """Whether an answer was given and counts: who knows a clip does not guess what it is."""
    return question in given and not (question == "real" and given.get("known"))


def _share_right(test: dict[str, Any], sheets: dict[str, Sheet]) -> list[float]:
    """The share of guesses that were right, real clips and others weighing the same."""
    said: dict[bool, list[tuple[str, float]]] = {True: [], False: []}
    for sheet in sheets.values():
        for clip, given in sheet.items():
            truth = test["clips"][clip]["system"] == "real"
            if _counts("real", given):
                said[truth].append((test["clips"][clip]["song"], float(given["real"] == truth)))
    if not all(said.values()):
        return [float("nan")] * 3
    parts = [_draws_of_mean(each) for each in said.values()]
    return interval_of(np.mean(parts, axis=0))


def _mean_over_songs(said: list[tuple[str, float]]) -> list[float]:
    """The mean of (song, value) pairs and its interval over songs; nan without any."""
    return interval_of(_draws_of_mean(said)) if said else [float("nan")] * 3


def _draws_of_mean(said: list[tuple[str, float]]) -> np.ndarray:
    """The mean of (song, value) pairs: of all, then of each draw of songs, float (1 + DRAWS,)."""
    names, song = np.unique([name for name, _ in said], return_inverse=True)
    song = song.reshape(-1)  # (answers,)
    values = np.array([value for _, value in said])
    draws = draw_songs(song, len(names))  # (1 + DRAWS, songs)
    total = draws @ np.bincount(song, values)
    return total / (draws @ np.bincount(song))


def _agreement(question: str, sheets: dict[str, Sheet]) -> float:
    """Krippendorff's alpha of all answers to a question."""
    clips = sorted({clip for sheet in sheets.values() for clip in sheet})
    ratings = np.full((len(sheets), len(clips)), np.nan)
    for row, sheet in zip(ratings, sheets.values(), strict=True):
        for column, clip in enumerate(clips):
            row[column] = sheet.get(clip, {}).get(question, np.nan)
    return krippendorff_alpha(ratings, interval if question in RATINGS else nominal)


def _in_words(values: list[float]) -> str:
    """A value with its interval; "" where nobody answered."""
    value, low, high = values
    return "" if np.isnan(value) else f"{value:.2f} ({low:.2f} to {high:.2f})"
