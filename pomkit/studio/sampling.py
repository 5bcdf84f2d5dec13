"""The settings of a studio: what a person may wish, and what a model is then asked for.

`SETTINGS` is the one table of all wishes: their first values, ranges and words. A session keeps
one value of each, and a panel makes one control of each.

    settings = defaults() | {"n": 4, "key_lock": 1.0}
    inpaint(model, state.picture, state.mask, **options_of(model, state, settings))

Read on: `session`, which composes with them.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ..composing.busyness import busiest_of
from ..composing.voices import AS_THE_PART, voices_limit, with_voices
from ..data.mask_mix import onsets_per_bar
from ..errors import OptionError, check_choice, check_range, shown
from ..music import mask_words
from ..music.bars import masked_bars
from ..music.chords import ROOTS
from ..music.harmony import KEY_PROFILES, estimate_key
from ..music.picture import parse
from ..music.pixels import Picture
from ..music.tables import BAR
from ..processes import rules
from ..processes.contract import Model
from .editor import State

KEY_NAMES = [f"{root}:{mode}" for mode in KEY_PROFILES for root in ROOTS]


@dataclass(frozen=True)
class Setting:
    """One wish of the person who composes.

    Attributes:
        name: by which `Session.set` knows it, the word of the papers.
        default: its first value; every value is of the same type.
        label: its name in the panel, a plain word.
        tip: what it means, in a tooltip.
        low: the lowest value of a number.
        high: the highest value of a number.
        choices: the words to choose from; none: the models decide.
        learned: the value that leaves it to the model, "auto" in a panel; None: there is none.
        is_primary: whether it is wished often; others may stand under "More".
    """

    name: str
    default: int | float | str
    label: str = ""
    tip: str = ""
    low: float = 0
    high: float = 0
    choices: tuple[str, ...] = ()
    learned: int | float | str | None = None
    is_primary: bool = False

    @property
    def text(self) -> str:
        """What a panel writes beside it: the label, or else the name."""
        return self.label or self.name

    def fit(self, value: Any) -> Any:
        """A value in the setting's type; OptionError where it is none, or outside the range."""
        kind = type(self.default)
        if self.choices:
            check_choice(self.name, value, self.choices)
        try:
            value = kind(value)
        except (TypeError, ValueError, OverflowError) as fault:
            raise OptionError(
                f"{self.name} is {shown(value)}, which is no {kind.__name__}; choose another value"
            ) from fault
        if kind in (int, float):
            check_range(self.name, value, self.low, self.high)
        return value


_ALL = [
    Setting("seed", 0, high=2**31 - 1),
    Setting("n", 3, "candidates", "how many to compose at once", 1, 8),
    Setting(
        "density",
        0.0,
        "Busy-ness",
        "density: notes that begin per masked bar; 0: as learned, up to the song's busier bars",
        high=40,
        learned=0.0,
        is_primary=True,
    ),
    Setting("rank", False, "nearest Busy-ness first"),
    Setting(
        "percentile",
        0,
        "busiest first",
        "which of the candidates comes first: 100 the busiest, 50 the middle one; 0: any",
        high=100,
        learned=0,
    ),
    Setting(
        "temperature",
        0.0,
        "Wildness",
        "temperature: below 1 plays safe, above takes risks; 1: as learned; 0: the model's own",
        high=2,
        learned=0.0,
        is_primary=True,
    ),
    Setting(
        "guidance",
        1.0,
        tip="weight of the surroundings; 1: as learned",
        low=0,
        high=3,
        learned=1.0,
    ),
    Setting("steps", 0, tip="network calls in one pass; 0: the method's own", high=64, learned=0),
    Setting(
        "U",
        1,
        tip="how often each stretch is composed again; edm thins out, cells change little",
        low=1,
        high=10,
    ),
    Setting("key_lock", 0.0, "key lock", "0: free, 1: no new note off the scale", high=1),
    Setting("key", "", choices=("", *KEY_NAMES), learned=""),
    Setting(
        "chord_lock",
        0.0,
        "chord lock",
        "0: free, 1: new notes begin on tones of the chords above",
        high=1,
    ),
    Setting(
        "heard_chords",
        True,
        "hear chords",
        "where the song names no chords, show the model those heard in it",
    ),
    Setting(
        "repeats",
        True,
        "repeat bars",
        "on: bars that come back may return as they were elsewhere in the song; off: as new ones",
    ),
    Setting(
        "voices",
        AS_THE_PART,
        tip="of a chosen part, how many notes sound at once: as many as it has, or any number",
        choices=(AS_THE_PART, "free"),
    ),
    Setting("model", ""),
    Setting("method", ""),
]
SETTINGS = {setting.name: setting for setting in _ALL}
# The option of `inpaint` that a setting becomes; the others concern no model.
OPTION_OF = {
    "density": "density",
    "temperature": "temperature",
    "guidance": "guidance",
    "steps": "calls",
    "U": "U",
    "key_lock": "rule",
    "key": "rule",
    "chord_lock": "rule",
    "voices": "rule",
    "method": "method",
}


def defaults() -> dict[str, Any]:
    """The first values of all settings."""
    return {name: setting.default for name, setting in SETTINGS.items()}


def knows(model: Model, setting: str) -> bool:
    """Whether a setting means something to a model; one that does not is disabled in the panel."""
    if setting == "repeats":
        return model.recalls
    return setting not in OPTION_OF or OPTION_OF[setting] in model.options


def options_of(model: Model, before: State, settings: Mapping[str, Any]) -> dict[str, Any]:
    """A studio's settings as options of `inpaint`.

    Args:
        model: what shall compose; options that it does not know are left out.
        before: the music and the mask that it shall compose.
        settings: a value of each of `SETTINGS`.
    """
    wishes = {name: settings[name] for name in ("U", "guidance", "method")}
    # Zero, or no lock, means: the model's own.
    wishes["calls"] = settings["steps"] or None
    wishes["temperature"] = settings["temperature"] or None
    # A person speaks of the song's bars, a model of 16 steps.
    shorter = masked_bars(before.mask, before.bars) * BAR / max(before.mask.any(axis=0).sum(), 1)
    wishes["density"] = settings["density"] * shorter or None
    if wishes["density"] is None and "busiest" in model.options:
        wishes["busiest"] = busiest_of(before.song, before.mask, part=before.part)
    wishes["rule"] = rules_of(before, settings) or None

    known = {name: value for name, value in wishes.items() if name in model.options}
    return {"n": settings["n"], "seed": settings["seed"]} | known


def rules_of(before: State, settings: Mapping[str, Any]) -> list[Callable[..., Any]]:
    """The rules that the settings wish; that of the voices must be the last."""
    return with_voices(locks_of(before, settings), voices_of(before, settings))


def voices_of(before: State, settings: Mapping[str, Any]) -> int:
    """How many notes of the chosen part may sound at once: as many as it has; 0: any number."""
    if before.part is None or settings["voices"] != AS_THE_PART:
        return 0
    notes = before.song.notes[mask_words.part_notes(before.song, before.part)]
    return voices_limit(AS_THE_PART, notes)


def locks_of(before: State, settings: Mapping[str, Any]) -> list[Callable[..., Any]]:
    """The rules that hold new notes to a key and to the chords, where a lock is on."""
    locks = []
    key = settings["key"] or key_around(before)
    if settings["key_lock"] and key:
        locks.append(rules.key(key, settings["key_lock"]))
    if settings["chord_lock"]:
        locks.append(rules.chords(dial=settings["chord_lock"]))
    return locks


def key_around(before: State) -> str:
    """The key of the notes outside the mask, "" where there are none."""
    known = np.where(before.mask[..., None], np.uint8(0), before.picture)
    return estimate_key(parse(known).notes)


def order_of(pictures: Sequence[Picture], before: State, settings: Mapping[str, Any]) -> np.ndarray:
    """The order in which candidates are shown, their numbers, int (n,).

    Args:
        pictures: the candidates, uint8 (n, 128, width, 3).
        before: what they were composed from.
        settings: with a `percentile`, the one that is so busy among them comes first, as in the
            demo of the paper: at 100 the busiest one. Else, with `rank`, the one nearest to the
            `density`. Else they stay as they were composed.
    """
    if settings["percentile"]:
        counts = [onsets_per_bar(each, before.mask, before.bars) for each in pictures]
        wish = np.percentile(counts, settings["percentile"], method="nearest")
        return np.argsort(np.abs(counts - wish), kind="stable")
    if settings["rank"]:
        return density_order(pictures, before, settings["density"])
    return np.arange(len(pictures))


def density_order(pictures: Iterable[Picture], before: State, wish: float) -> np.ndarray:
    """The numbers of candidates, int (n,), the one nearest to a wished density first.

    Args:
        pictures: the candidates, uint8 (n, 128, width, 3).
        before: what they were composed from.
        wish: onsets per masked bar of the song; 0: as many as there were before.
    """
    count = partial(onsets_per_bar, mask=before.mask, bars=before.bars)
    wish = wish or count(before.picture)
    distance = [abs(count(each) - wish) for each in pictures]
    return np.argsort(distance, kind="stable")
