"""A blind listening test: clips without names, a page to answer on, and a key that stays behind.

    make_test("out/listening", Judge(model, songs, training), count=30)

makes

    out/listening/page/index.html    opened in a browser, without a server
    out/listening/page/clips/*.mp3   what is heard; a name says nothing
    out/listening/key.json           what each clip is: it is not given to who listens

The folder `page` goes to everybody who listens, and each sends a file of answers back. `answers`
pools them.

What keeps it blind: all clips are played alike, with one velocity, since a model has its own. Each
window is heard once, in one way: the real music, a composition of the model, or a baseline. So
nobody compares twins, and a song that is known gives one clip away at most. The page shuffles.

The first three questions are those of a sheet on which a course project at Stanford was rated: can
one hum it, do the notes sound well together, can one clap to it. Read on in `answers`.
"""

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm.auto import tqdm

from ..errors import OptionError, check_choice, check_whole
from ..files import AnyPath, write
from ..music.bars import bars_around
from ..music.pixels import Picture
from ..music.song import Song
from ..play import audio
from .clips import read_clips
from .judging import Judge
from .tasks import TASKS

# Clips of a test, if nobody says how many: at 20 s each it takes a quarter of an hour.
CLIPS = 30
# Rows of the judge that are heard, beside the model's.
SYSTEMS = ("real", "permuted", "copy", "nearest")
VELOCITY = 80
RATING = [[1, "1"], [2, "2"], [3, "3"], [4, "4"], [5, "5"]]
# Name of a question -> its text, and the values and words to choose from. The page asks them in
# this order, `answers` pools them.
QUESTIONS: dict[str, dict[str, Any]] = {
    "hummable": {"text": "Could you hum it? (1: not at all, 5: at once)", "choices": RATING},
    "consonance": {"text": "Do the notes sound well together? (1 to 5)", "choices": RATING},
    "clappable": {"text": "Could you clap to it? (1 to 5)", "choices": RATING},
    "real": {
        "text": "Real music, or composed by a program?",
        "choices": [[True, "real"], [False, "composed"]],
    },
    "known": {"text": "Did you know it?", "choices": [[True, "yes"], [False, "no"]]},
}
TEMPLATE = Path(__file__).with_name("listening.html")


class HeardClip(NamedTuple):
    """A clip of a test.

    Attributes:
        name: of its file; it says nothing.
        system: what is heard: a row of the judge.
        song: the name of the song.
        start: the first step of the clip in that song.
    """

    name: str
    system: str
    song: str
    start: int


def make_test(
    folder: AnyPath,
    judge: Judge,
    *,
    task: str = "loop middle",
    count: int = CLIPS,
) -> dict[str, Any]:
    """Compose clips, write them, the page and the key.

    Args:
        folder: where the folder `page` and the file key.json go.
        judge: of a model; its windows are heard, each once.
        task: one of `TASKS`: what is composed. A clip is the masked bars and one on either side.
        count: how many clips, or as many as there are windows.

    Returns:
        The key, as it is written: "session", "systems", "task", and "clips": name -> what it is.

    Raises:
        OptionError: there is no such task or no window for it, or `count` is out of its range.
    """
    check_choice("task", task, TASKS)
    check_whole("count", count, 1, 1000, unit="clips")
    questions = judge.choose(TASKS[task])[:count]
    if not questions:
        raise OptionError(f"no song has a window for {task!r}; give other songs or another task")

    clips = []
    folder = Path(folder)
    order = np.random.default_rng(judge.seed).permutation(len(questions))
    for i, question in enumerate(tqdm(questions, "clips", disable=not judge.progress)):
        # The systems take turns; which window is whose is drawn.
        fills = judge.fill(i, question, TASKS[task])
        systems = [row for row in fills if row in SYSTEMS or row in judge.model_rows]
        system = systems[int(order[i]) % len(systems)]
        window, mask = question
        columns = bars_around(mask)
        name = _name(judge.seed, task, i)
        sound = _sound_of(fills[system], columns)
        write(folder / "page" / "clips" / f"{name}.mp3", audio.mp3(sound))
        start = window.start + columns.start
        clips.append(HeardClip(name, system, window.song.name, start))
    return write_test(folder, clips, {"task": task, "seed": judge.seed, "systems": systems})


def write_test(folder: Path, clips: list[HeardClip], about: dict[str, Any]) -> dict[str, Any]:
    """Write the page and the key of clips, and give the key.

    Args:
        folder: where the folder `page` and the file key.json go.
        clips: whose sounds stand in page/clips.
        about: what else the key says.
    """
    names = sorted(clip.name for clip in clips)
    session = hashlib.sha256(" ".join(names).encode()).hexdigest()[:12]
    told = {"session": session, "clips": names, "questions": QUESTIONS}
    # Nothing in a script's text may look like its end.
    script = json.dumps(told).replace("</", "<\\/")
    page = TEMPLATE.read_text(encoding="utf-8").replace("SESSION", script, 1)
    write(folder / "page" / "index.html", page.encode())

    entries = {clip.name: clip._asdict() for clip in sorted(clips)}
    key = {"session": session, **about, "clips": entries}
    write(folder / "key.json", json.dumps(key, indent=1).encode() + b"\n")
    return key


def _sound_of(picture: Picture, columns: slice) -> np.ndarray:
    """The sound of some columns of a picture, all notes equally loud: float (samples, 2)."""
    notes = read_clips([picture[:, columns]]).notes
    notes["velocity"] = VELOCITY
    return audio.synthesize(Song(notes), audio.LISTEN_RATE)


def _name(seed: int, task: str, number: int) -> str:
    """A name that says nothing of what it names."""
    return hashlib.sha256(f"pomkit {seed} {task} {number}".encode()).hexdigest()[:10]
