"""Cells as tokens, and the grammar of those tokens: music as a text.

A window of cells is a row of tokens: how many steps to go on (SHIFT), then each note that begins
there, there, from low to high: its pitch (STRIKE) and its length (LENGTH). At last comes END.

    tokens = encode_tokens(cells)          # int64 (tokens,)
    cells = decode_tokens(tokens)          # int64 (64, 64)

The laws: decoding gives the cells back, and each picture has exactly one row of tokens. So the
probability of a row is that of its picture, and bits may be compared with those of other systems.
`Reading` holds a row so far and says what may come next: what the grammar allows, and, where a
part of the cells is known, what leaves these as they are.
"""

import numpy as np

from ..processes.states import OFF, ONSET, SUSTAIN
from .system import HIDDEN, ROW_COUNT, WINDOW

END = 0
SHIFT = 1  # steps - 1 are added
STRIKE = SHIFT + WINDOW
LENGTH = STRIKE + ROW_COUNT
VOCABULARY = LENGTH + WINDOW


def upside_down(cells: np.ndarray) -> np.ndarray:
    """Cells, (64, 64), whose first row is the lowest pitch, and the reverse: like them."""
    return cells[::-1]


def encode_tokens(cells: np.ndarray) -> np.ndarray:
    """The one row of tokens that a window is.

    Args:
        cells: int64 (64, 64), {off, sustain, onset}; sustains that follow no note are left out.

    Returns:
        int64 (tokens,), END at last.
    """
    rows = upside_down(cells)
    columns, pitches = np.nonzero(rows.T >= ONSET)  # by column, then from low to high
    ends = note_ends(rows)[pitches, columns]

    # A note is three tokens, or two where another one began in the same column.
    steps = np.diff(columns, prepend=-1)
    notes = np.stack([SHIFT + steps - 1, STRIKE + pitches, LENGTH + ends - columns - 1], axis=1)
    is_said = np.ones(notes.shape, bool)
    is_said[:, 0] = steps > 0
    return np.append(notes[is_said], END)


def note_ends(rows: np.ndarray) -> np.ndarray:
    """For each cell the column at which a note that sounds there ends: int64 like `rows`.

    Args:
        rows: int64 (64, 64), cells.
    """
    width = rows.shape[1]
    ends = np.empty_like(rows)
    end = np.full(len(rows), width)
    for column in range(width - 1, -1, -1):
        ends[:, column] = end
        end = np.where(rows[:, column] == SUSTAIN, end, column)
    return ends


def decode_tokens(tokens: np.ndarray) -> np.ndarray:
    """The cells that a row of tokens says, int64 (64, 64); what follows END is not read.

    Args:
        tokens: int64 (tokens,), as the grammar has them.
    """
    rows = np.full((ROW_COUNT, WINDOW), OFF, np.int64)
    column = -1
    pitch = 0
    for token in tokens.tolist():
        if token == END:
            break
        if token < STRIKE:
            column += token - SHIFT + 1
        elif token < LENGTH:
            pitch = token - STRIKE
        else:
            rows[pitch, column : column + token - LENGTH + 1] = SUSTAIN
            rows[pitch, column] = ONSET
    return np.ascontiguousarray(upside_down(rows))


class Reading:
    """A row of tokens so far, and what may come next.

    Attributes:
        column: where the row is, -1 before the first SHIFT.
        last_pitch: the highest note that begins in this column, counted from 0; -1: none yet.
        struck: a pitch whose length comes next.
        ends: of each pitch the column at which its last note ends, int (64,).
        is_over: whether END has come.
    """

    def __init__(self, cells: np.ndarray | None = None) -> None:
        """Begin a row.

        Args:
            cells: int64 (64, 64), what is known, HIDDEN where all is free; None: all is free. The
                row will say the known cells as they are.
        """
        hidden = np.full((ROW_COUNT, WINDOW), HIDDEN)
        self.rows = hidden if cells is None else np.array(upside_down(cells))
        self.column = -1
        self.last_pitch = -1
        self.struck: int | None = None
        self.ends = np.zeros(ROW_COUNT, int)
        self.is_over = False

        # A note must begin on a known onset, and at last right before a known sustain, if none
        # that began earlier goes on until there.
        after = np.pad(self.rows[:, 1:], ((0, 0), (0, 1)), constant_values=OFF)
        self.onset = self.rows == ONSET
        self.last_chance = (self.rows == HIDDEN) & (after == SUSTAIN)
        self.open = (self.rows == HIDDEN) | self.onset

    def allowed(self) -> np.ndarray:
        """Which tokens may come next, bool (VOCABULARY,): one at least."""
        may = np.zeros(VOCABULARY, bool)
        if self.is_over:
            may[END] = True
        elif self.struck is not None:
            may[LENGTH:] = self._lengths(self.struck)
        else:
            self._notes_or_steps(may)
        return may

    def _lengths(self, pitch: int) -> np.ndarray:
        """Which lengths a note may have that begins at this column, bool (64,), from 1 on."""
        row = self.rows[pitch, self.column + 1 :]
        goes_on = (row == HIDDEN) | (row == SUSTAIN)
        most = 1 + int(np.argmin(np.append(goes_on, False)))
        may = np.zeros(WINDOW, bool)
        # Where a note ends no known sustain may follow.
        may[:most] = np.append(row, OFF)[:most] != SUSTAIN
        return may

    def _notes_or_steps(self, may: np.ndarray) -> None:
        """Set which notes, steps, or the end may come, in bool (VOCABULARY,)."""
        columns = np.arange(WINDOW)
        silent = self.ends[:, None] <= columns  # (64, 64): by pitch and column
        can_begin = self.open & silent
        must_begin = self.onset | (self.last_chance & silent)

        # Notes of this column, from low to high; one that must begin is not left out.
        if self.column >= 0:
            above = np.arange(ROW_COUNT) > self.last_pitch
            due = np.flatnonzero(above & must_begin[:, self.column])
            next_due = due[0] if len(due) else ROW_COUNT
            notes = above & can_begin[:, self.column]
            may[STRIKE:LENGTH] = notes & (np.arange(ROW_COUNT) <= next_due)
            if len(due) or self.last_pitch < 0:
                return

        # Steps to a column in which a note can begin, and past none in which one must.
        later = columns > self.column
        due = np.flatnonzero(later & must_begin.any(axis=0))
        next_due = due[0] if len(due) else WINDOW
        targets = np.flatnonzero(later & can_begin.any(axis=0) & (columns <= next_due))
        may[SHIFT + targets - self.column - 1] = True
        may[END] = not len(due)

    def push(self, token: int) -> None:
        """Take the next token, one of those that are allowed."""
        if token == END:
            self.is_over = True
        elif token < STRIKE:
            self.column += token - SHIFT + 1
            self.last_pitch = -1
        elif token < LENGTH:
            self.struck = token - STRIKE
        elif self.struck is not None:
            self.last_pitch = self.struck
            self.ends[self.struck] = self.column + token - LENGTH + 1
            self.struck = None


def token_columns(tokens: np.ndarray) -> np.ndarray:
    """At which column a row is after each of its tokens, int64 (..., tokens), -1 before the first.

    Args:
        tokens: int64 (..., tokens), rows.
    """
    is_shift = (tokens >= SHIFT) & (tokens < STRIKE)
    return np.where(is_shift, tokens - SHIFT + 1, 0).cumsum(axis=-1) - 1
