"""What a composed picture changes in a song: the notes of its region, each in a part, no others.

A picture shows all parts of a song as one. So a picture that was composed anew says which notes
sound, not who plays them, and not what stood outside it. `with_region` reads it beside the song
that it was drawn from, and beside the mask:

    mask = masks.bars(song, 9, 12)
    after = inpaint(model, render(song), mask)[0]
    changed, report = with_region(song, mask, after)
    report.remarks()                             # a sentence for each thing that was not kept

Four kinds of notes are told apart by their cells, the steps of their pitch that they sound in:

- without a cell in the mask: they stay as they are, velocity and hidden steps included;
- *crossing* ones begin before the mask: they stay, and end where the picture is first silent;
- *removed* ones begin in the mask;
- *new* ones begin in the mask of the composed picture. One that sounds into what is left of an old
  note behind the mask ends where that one ended, and takes its part (`_hand_on_tails`). All others
  go to the part that is nearest by pitch and time (`Players`).

The law: outside the mask nothing changes but tails that lost their note, and these are counted;
inside, `render` of the result gives the composed cells, less what the report counts.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from .chords import Chord, reduce_chord
from .masks import cells_of, check_mask, columns_within
from .palette import read_chords
from .pixels import (
    BORDER,
    PITCHES,
    Mask,
    Picture,
    Spans,
    notes_of_spans,
    read_spans,
    row_of_pitch,
)
from .players import Players
from .song import Parts, Song
from .tables import DURATION_ROW, ONSET_ROW, PART_ROW, PITCH_ROW, columns_of, notes_of

# Where a new note begins, (step of the song, pitch), and the numbers of the parts that play it.
HomeTable = Mapping[tuple[int, int], Sequence[int]]


@dataclass(frozen=True)
class ChangeReport:
    """What `with_region` did to the notes of a song.

    Attributes:
        removed: notes that began in the region.
        added: notes that begin there now.
        ended: notes from before the region that now end in it.
        tails: of notes of these kinds, those of which a rest behind the region went, too.
        cut: new notes that end where their channel strikes their pitch again.
        dropped: new notes that found their channel's pitch sounding.
        prolonged: notes that the picture lets sound on, but which stay as long as they were.
        chords_shown: chords that a model was shown which the song does not name; they were
            estimated, and are not written into it.
    """

    removed: int = 0
    added: int = 0
    ended: int = 0
    tails: int = 0
    cut: int = 0
    dropped: int = 0
    prolonged: int = 0
    chords_shown: int = 0

    @property
    def losses(self) -> int:
        """How many notes, or ends of notes, were not kept, or are not as the picture has them."""
        return self.ended + self.tails + self.cut + self.dropped + self.prolonged

    def remarks(self) -> tuple[str, ...]:
        """A sentence for each thing that was not kept, or that a person should know."""
        sentences = {
            "ended": "notes from before the region that end in it now",
            "tails": "notes that lost what sounded of them behind the region",
            "cut": "new notes that were cut where their channel strikes the same pitch again",
            "dropped": "new notes that were left out where their channel holds the same pitch",
            "prolonged": "notes from before the region that the picture lets sound on, "
            "but which stay as long as they were",
            "chords_shown": "chords estimated from the song, which names none, and shown to the "
            "model",
        }
        counts = {name: getattr(self, name) for name in sentences}
        return tuple(f"{sentences[name]}: {count}" for name, count in counts.items() if count)


class Changed(NamedTuple):
    """A song with a region of it composed anew, and what that did."""

    song: Song
    report: ChangeReport

    def noting(self, **counts: int) -> "Changed":
        """The same with other counts in the report, by the names of `ChangeReport`."""
        return self._replace(report=replace(self.report, **counts))

    def with_remarks(self) -> Song:
        """The song, which tells in its own report what changing it did not keep."""
        remarks = (*self.song.report.remarks, *self.report.remarks())
        return replace(self.song, report=replace(self.song.report, remarks=remarks))


def with_region(
    song: Song,
    mask: Mask,
    after: Picture,
    *,
    start: int = 0,
    part: Parts | None = None,
    homes: HomeTable | None = None,
) -> Changed:
    """The song with the region of a mask as a composed picture has it.

    Args:
        song: that the picture before was drawn from.
        mask: bool (128, width), True = composed anew.
        after: the composed picture, uint8 (128, width, 3).
        start: the step of the song that is column 0.
        part: names or numbers of the only parts that may change, or one; None: all.
        homes: the parts of new notes that are known, by step of the song and pitch.

    Returns:
        The song, with its parts, tempi and source, and the report. Chords change where the mask
        has chord rows.

    Raises:
        PictureError: the picture is none, or the mask does not fit it.
        OptionError: there is no such part, or no part that may play a new note.
    """
    mask = mask_of_parts(song, check_mask(mask, after), part, start=start)
    if not mask.any():
        return Changed(song, ChangeReport())
    region = ComposedRegion.of(mask, after, start)
    chords = _changed_chords(song.chords, mask, after, start=start)

    # The old notes: which of them go, and where others end.
    old = OldNotes.of(song, region)
    kept = columns_of(song.notes)
    kept[DURATION_ROW] -= old.shortening
    kept = kept[:, ~old.removed]  # (5, notes)

    # The new ones: how long they sound, and who plays them.
    players = Players.of(song, part)
    new, givers = _hand_on_tails(region.new_notes(old.entering), old, region, players)
    tails = old.count_lost_tails(new, givers, region)
    prolonged = region.count_prolonged(np.concatenate([kept, new], axis=1))
    new = _send_home(new, homes or {})
    homeless = new[PART_ROW] < 0
    new[PART_ROW, homeless] = players.nearest(new[:, homeless])
    new, cut, dropped = _fit_between(kept, new, song.channels)

    removed = int(old.removed.sum())
    ended = int(np.count_nonzero(old.shortening))
    report = ChangeReport(removed, new.shape[1], ended, tails, cut, dropped, prolonged)
    notes = notes_of(np.concatenate([kept, new], axis=1))
    return Changed(song.with_notes(notes, chords), report)


def mask_of_parts(song: Song, mask: Mask, part: Parts | None, *, start: int = 0) -> Mask:
    """A mask without the cells of other parts.

    Args:
        song: whose parts they are.
        mask: bool (128, width), True = compose.
        part: names or numbers of the parts that may change, or one; None: all.
        start: the step of the song that is column 0.

    Returns:
        bool (128, width).

    Raises:
        OptionError: there is no such part.
    """
    if part is None:
        return mask
    others = columns_of(song.notes[~song.select(part)])
    cells = cells_of(others, mask.shape[1], start)

    # Cells of the border are chords, whatever notes there are of such pitches.
    cells[_in_border()] = False
    return mask & ~cells


def _in_border() -> np.ndarray:
    """Which rows hold chords, bool (128,)."""
    rows = np.arange(PITCHES)
    return (rows < BORDER) | (rows >= PITCHES - BORDER)


def _count(cells: np.ndarray, row: np.ndarray, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """How many of the cells, bool (128, width), are True in each stretch of a row, int (notes,)."""
    before = np.zeros((PITCHES, cells.shape[1] + 1), int)
    before[:, 1:] = cells.cumsum(axis=1)
    return before[row, last] - before[row, first]


def _send_home(new: np.ndarray, homes: HomeTable) -> np.ndarray:
    """New notes, (5, notes), with the parts that are known of them: one for each part."""
    sent = []
    for onset, duration, pitch, velocity, part in new.T.tolist():
        for home in homes.get((onset, pitch), (part,)):
            sent.append((onset, duration, pitch, velocity, home))
    return np.array(sent, np.int64).reshape(-1, 5).T  # (5, notes)


@dataclass(frozen=True)
class ComposedRegion:
    """The masked cells of a composed picture, without its chord rows.

    Attributes:
        mask: bool (128, width), True = composed.
        spans: what the composed picture says.
        start: the step of the song that is column 0.
        silence: the first masked column, at or after each one, in which no note sounds on, or the
            width; int (128, width + 1).
    """

    mask: Mask
    spans: Spans
    start: int
    silence: np.ndarray

    @classmethod
    def of(cls, mask: Mask, after: Picture, start: int) -> "ComposedRegion":
        """The region of a mask in a composed picture.

        Args:
            mask: bool (128, width), True = composed.
            after: the picture, uint8 (128, width, 3).
            start: the step of the song that is column 0.
        """
        mask = mask & ~_in_border()[:, None]  # (128, width)
        spans = read_spans(after)
        width = mask.shape[1]

        silent = np.full((PITCHES, width + 1), width)
        silent[:, :width] = np.where(mask & ~spans.sustain, np.arange(width), width)
        silence = np.minimum.accumulate(silent[:, ::-1], axis=1)[:, ::-1]
        return cls(mask, spans, start, silence)

    @property
    def width(self) -> int:
        """Columns of the picture."""
        return self.mask.shape[1]

    def new_notes(self, entering: np.ndarray) -> np.ndarray:
        """The notes that begin in the region, as columns (5, notes) of steps, by onset.

        Args:
            entering: the rows in which an old note sounds into column 0, bool (128,): it is drawn
                there as one that begins.

        Returns:
            int64 (5, notes); their part is -1.
        """
        columns = columns_of(notes_of_spans(*self.spans[:3]))
        row = row_of_pitch(columns[PITCH_ROW])
        begins = self.mask[row, columns[ONSET_ROW]]
        begins &= (columns[ONSET_ROW] > 0) | ~entering[row]
        new = columns[:, begins]
        new = new[:, new[ONSET_ROW].argsort(kind="stable")]
        new[ONSET_ROW] += self.start
        new[PART_ROW] = -1
        return new

    def count_prolonged(self, columns: np.ndarray) -> int:
        """How many stretches of sounding cells belong to none of the notes (5, notes)."""
        covered = cells_of(columns, self.width, self.start)
        unheard = self.mask & self.spans.sustain & ~covered
        before = np.zeros_like(unheard)
        before[:, 1:] = unheard[:, :-1]
        return int(np.count_nonzero(unheard & ~before))

    def end_of(self, row: np.ndarray, column: np.ndarray, end: np.ndarray) -> np.ndarray:
        """The step until which notes sound that the picture may silence from a column on.

        Args:
            row: of each note, int (notes,).
            column: from which on it may be silenced, int (notes,).
            end: the step at which it ends by itself, int (notes,).
        """
        silence = self.silence[row, column]
        is_silenced = silence < np.minimum(end - self.start, self.width)
        return np.where(is_silenced, self.start + silence, end)


@dataclass(frozen=True)
class OldNotes:
    """What a composed region does to the notes of a song.

    Attributes:
        columns: the notes, int64 (5, notes).
        removed: which of them begin in the region, bool (notes,).
        shortening: by how many steps others end earlier, int (notes,).
        lost: the column from which on notes of both kinds are gone, int (notes,).
        tail: which of them sounded on behind the region, bool (notes,).
        entering: the rows in which a note from before the picture sounds into it, bool (128,).
    """

    columns: np.ndarray
    removed: np.ndarray
    shortening: np.ndarray
    lost: np.ndarray
    tail: np.ndarray
    entering: np.ndarray

    @classmethod
    def of(cls, song: Song, region: ComposedRegion) -> "OldNotes":
        """What a region does to the notes of a song."""
        columns = columns_of(song.notes)
        row = row_of_pitch(columns[PITCH_ROW])
        onset = columns[ONSET_ROW] - region.start
        end = columns[ONSET_ROW] + columns[DURATION_ROW]
        first, last = columns_within(columns, region.width, region.start)

        # What begins in the region goes.
        masked = np.append(region.mask, np.zeros((PITCHES, 1), bool), axis=1)
        begins_inside = (onset >= 0) & (onset < region.width)
        removed = begins_inside & masked[row, first]

        # A note from before the picture is drawn as if it began in column 0: there it is held.
        is_entering = (onset < 0) & (last > 0)
        is_struck = is_entering & region.spans.onset[row, 0]
        held = first + (is_struck & masked[row, 0])
        new_end = region.end_of(row, np.minimum(held, region.width), end)
        shortening = np.where(removed | (last <= first), 0, end - new_end)

        # What is left of it behind the region: unmasked cells, or those behind the picture.
        lost = np.where(removed, first, new_end - region.start)
        lost = np.clip(lost, 0, last)
        known_cells = _count(~region.mask, row, lost, last)
        goes_on = (known_cells > 0) | (end > region.start + region.width)
        tail = (removed | (shortening > 0)) & goes_on

        entering = np.zeros(PITCHES, bool)
        entering[row[is_entering & masked[row, 0]]] = True
        return cls(columns, removed, shortening, lost, tail, entering)

    def tails_of(self, parts: np.ndarray) -> list[int]:
        """The numbers of the notes that lost their tail, of some parts, int (parts,)."""
        return np.flatnonzero(self.tail & np.isin(self.columns[PART_ROW], parts)).tolist()

    def count_lost_tails(self, new: np.ndarray, givers: set[int], region: ComposedRegion) -> int:
        """How many notes have a tail, or a piece of one, that no new note took over.

        Args:
            new: the new notes, int64 (5, notes).
            givers: the numbers of the notes whose end a new one has.
            region: of the picture.
        """
        row = row_of_pitch(self.columns[PITCH_ROW])
        _, last = columns_within(self.columns, region.width, region.start)
        bare = ~region.mask & ~cells_of(new, region.width, region.start)
        is_bare = _count(bare, row, self.lost, last) > 0

        is_giver = np.zeros(len(row), bool)
        is_giver[list(givers)] = True
        return int(np.count_nonzero(self.tail & (is_bare | ~is_giver)))


def _hand_on_tails(
    new: np.ndarray, old: OldNotes, region: ComposedRegion, players: Players
) -> tuple[np.ndarray, set[int]]:
    """Let new notes end where old ones ended into whose rest, behind the region, they sound.

    Of several old notes the one that sounds longest hands on its end and its part. So parts that
    the picture showed as one note each keep what was theirs alone.

    Args:
        new: the new notes, int64 (5, notes).
        old: what became of the old ones.
        region: of the picture.
        players: who may play new notes, and so hand on what they played.

    Returns:
        The new notes, with the parts of those that got an end; the numbers of the
        old notes that gave theirs.
    """
    heirs = new.copy()
    givers: set[int] = set()
    by_pitch = defaultdict(list)
    for number in old.tails_of(players.candidates):
        by_pitch[int(old.columns[PITCH_ROW, number])].append(number)

    for place, (onset, duration, pitch, _, _) in enumerate(new.T.tolist()):
        numbers = np.array(by_pitch[pitch], int)
        ends = _ends_of_tails(old.columns[:, numbers], onset + duration, region)
        if not (ends > 0).any():
            continue
        giver = int(numbers[ends.argmax()])
        heirs[DURATION_ROW, place] = ends.max() - onset
        heirs[PART_ROW, place] = old.columns[PART_ROW, giver]
        givers.add(giver)
    return heirs, givers


def _ends_of_tails(columns: np.ndarray, end: int, region: ComposedRegion) -> np.ndarray:
    """Where a new note ends that takes over old ones; 0 for those that it does not reach.

    Args:
        columns: old notes of its pitch, int64 (5, notes).
        end: the step at which the new one ends in the picture.
        region: of the picture.
    """
    row = row_of_pitch(columns[PITCH_ROW])
    column = end - region.start
    old_end = columns[ONSET_ROW] + columns[DURATION_ROW]
    reach = region.end_of(row, np.full(len(row), column), old_end)

    # It takes over what sounds in its last column, if that is no more composed, or sounds on.
    sounds = (columns[ONSET_ROW] < end) & (old_end >= end)
    is_behind = (reach > end) | ~region.mask[row, column - 1]
    return np.where(sounds & is_behind, reach, 0)


def _fit_between(
    kept: np.ndarray, new: np.ndarray, channels: Sequence[int]
) -> tuple[np.ndarray, int, int]:
    """Let no channel play a pitch twice at a time: new notes are cut, or left out.

    Args:
        kept: the notes that stay, int64 (5, notes).
        new: the new ones by onset, int64 (5, notes).
        channels: of the parts.

    Returns:
        The new notes, int64 (5, notes); how many were cut, and how many left out.
    """
    # The channel and pitch of every note as one number.
    channel_of_part = np.array([*channels, 0], int)
    kept_line = channel_of_part[kept[PART_ROW]] << 7 | kept[PITCH_ROW]
    new_line = channel_of_part[new[PART_ROW]] << 7 | new[PITCH_ROW]

    # When each of these sounds: (onset, end), by onset.
    busy: dict[int, list[tuple[int, int]]] = {line: [] for line in new_line.tolist()}
    for line, (onset, duration, *_) in zip(kept_line.tolist(), kept.T.tolist(), strict=True):
        if line in busy:
            busy[line].append((onset, onset + duration))

    fitted = []
    cut = 0
    for line, note in zip(new_line.tolist(), new.T.tolist(), strict=True):
        onset, duration, *others = note
        spans = busy[line]
        if any(first <= onset < last for first, last in spans):
            continue
        following = min((first for first, _ in spans if first > onset), default=onset + duration)
        end = min(onset + duration, following)
        cut += end < onset + duration
        spans.append((onset, end))
        fitted.append((onset, end - onset, *others))
    table = np.array(fitted, np.int64).reshape(-1, 5).T  # (5, notes)
    return table, cut, new.shape[1] - len(fitted)


def _changed_chords(
    chords: Sequence[Chord], mask: Mask, after: Picture, *, start: int
) -> tuple[Chord, ...]:
    """The chords with those of a picture where its chord rows are masked.

    An old chord stays where the picture shows its colour, with what a colour cannot tell of it.

    Args:
        chords: of the song.
        mask: bool (128, width), True = composed.
        after: the composed picture, uint8 (128, width, 3).
        start: the step of the song that is column 0.
    """
    columns = mask[_in_border()].any(axis=0)  # (width,)
    if not columns.any():
        return tuple(chords)
    composed = read_chords(after)
    width = mask.shape[1]
    old_labels = _labels([c._replace(onset=c.onset - start) for c in chords], width)
    new_labels = _labels(composed, width)
    differs = columns & (old_labels != new_labels)  # (width,)

    # Of old chords what does not differ, of composed ones what does.
    end = max([start + width, *(chord.onset + chord.duration for chord in chords)])
    changes = np.zeros(end, bool)
    changes[start : start + width] = differs
    fresh = [c._replace(onset=c.onset + start) for c in composed]
    pieces = [piece for chord in chords for piece in _pieces(chord, ~changes)]
    pieces += [piece for chord in fresh for piece in _pieces(chord, changes)]
    return tuple(sorted(pieces))


def _labels(chords: Sequence[Chord], width: int) -> np.ndarray:
    """The label of the palette that every column shows, "" for none, str (width,)."""
    labels = np.full(width, "", dtype="U16")
    for onset, duration, label in sorted(chords):
        labels[max(onset, 0) : max(onset + duration, 0)] = reduce_chord(label)
    return labels


def _pieces(chord: Chord, where: np.ndarray) -> list[Chord]:
    """The stretches of a chord in the steps where `where`, bool (steps,), is True."""
    steps = where[chord.onset : chord.onset + chord.duration]
    edges = np.flatnonzero(np.diff(steps, prepend=False, append=False)).tolist()
    stretches = zip(edges[::2], edges[1::2], strict=True)
    return [Chord(chord.onset + first, last - first, chord.label) for first, last in stretches]
