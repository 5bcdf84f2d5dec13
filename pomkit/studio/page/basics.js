// ---------------------------------------------------------------------------------------------------- helpers

const PITCHES = 128;
const LOWEST = 8; // below it, and above HIGHEST, lie the chord rows
const HIGHEST = 119;
const KEYS_WIDTH = 46; // pixels of the piano's keys
const LANE = 18; // pixels of the chords, the upper part of the ruler
const RULER = 40; // pixels of chords and bar numbers together
const BLACK_KEYS = [1, 3, 6, 8, 10];
const ROOTS = ["C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B"];
const SLOW = 700; // milliseconds without an answer, then the kernel counts as busy

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
const isBlack = (pitch) => BLACK_KEYS.includes(pitch % 12);
const pitchName = (pitch) => `${ROOTS[pitch % 12]}${Math.floor(pitch / 12) - 1}`;

/** An element with properties, attributes (names with a dash, role, title) and children. */
function make(tag, options = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(options)) {
    if (name in element && !name.includes("-")) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** Set a property where it differs: an unchanged page need not be laid out again. */
function put(element, name, value) {
  if (element[name] !== value) element[name] = value;
}

/** The same for an attribute; false and true become words. */
function mark(element, name, value) {
  if (element.getAttribute(name) !== String(value)) element.setAttribute(name, String(value));
}

// Icons: paths in a square of 24 by 24, drawn for this panel.
const ICONS = {
  play: "M7 4v16l13-8z",
  pause: "M6 4h4v16H6zM14 4h4v16h-4z",
  loop: "M6 7h10V3l6 6-6 6v-4H8v4H4V9a2 2 0 0 1 2-2zM4 17h14v3H4z",
  undo: "M9 5v4c7 0 11 4 12 10-3-4-6-5-12-5v4L2 11z",
  redo: "M15 5v4C8 9 4 13 3 19c3-4 6-5 12-5v4l7-7z",
  brush: "M20 3l1 1-9 11-3-3zM8 13l3 3c-1 4-4 5-8 5 2-2 1-6 5-8z",
  box: "M4 5h16v14H4zm2 2v10h12V7z",
  lasso: "M12 4c5 0 9 3 9 6s-4 6-9 6c-1 0-2 0-3-.4C9 18 8 20 5 21l-1-2c2-.5 3-2 3-4-2-1-4-3-4-5 0-3 4-6 9-6zm0 2c-4 0-7 2-7 4s3 4 7 4 7-2 7-4-3-4-7-4z",
  pencil: "M16 3l5 5L9 20l-6 1 1-6zm0 3L6 16l2 2L18 8z",
  erase: "M14 4l7 7-8 9H7l-5-5zM5 15l3 3h4l2-2-5-5z",
  left: "M15 5l-7 7 7 7z",
  right: "M9 5l7 7-7 7z",
  more: "M5 8h14l-7 8z",
};

function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", ICONS[name]);
  path.setAttribute("fill-rule", "evenodd");
  svg.append(path);
  return svg;
}

/** A button. `look` may have: icon, text, key (its shortcut), kind (a class). */
function button(name, act, look = {}) {
  const title = look.key ? `${name} (${look.key})` : name;
  const made = make("button", { type: "button", title, "aria-label": name, className: look.kind ?? "" });
  if (look.icon) made.append(icon(look.icon));
  if (look.text) made.append(make("span", { textContent: look.text }));
  made.addEventListener("click", act);
  return made;
}

// -------------------------------------------------------------------------------------------- what comes down

/** A copy of what came as bytes: a DataView in Jupyter, elsewhere a Uint8Array or an ArrayBuffer. */
function bytesOf(view) {
  if (view instanceof ArrayBuffer) return new Uint8Array(view.slice(0));
  return view ? new Uint8Array(view.buffer, view.byteOffset, view.byteLength).slice() : new Uint8Array(0);
}

/** Notes from int32 numbers, six a note; in the order of their onsets. */
function readNotes(view) {
  const numbers = new Int32Array(bytesOf(view).buffer);
  const notes = [];
  for (let i = 0; i < numbers.length; i += 6) {
    const [onset, duration, pitch, velocity, part, fresh] = numbers.subarray(i, i + 6);
    notes.push({ onset, duration, pitch, velocity, part, fresh: fresh > 0, end: onset + duration });
  }
  return notes;
}

/** The doubt of notes from int32 numbers, four a note. */
function readDoubt(view) {
  const numbers = new Int32Array(bytesOf(view).buffer);
  const doubts = [];
  for (let i = 0; i < numbers.length; i += 4) {
    const [onset, duration, pitch, tenths] = numbers.subarray(i, i + 4);
    doubts.push({ onset, end: onset + duration, pitch, bits: tenths / 10 });
  }
  return doubts;
}

/** Whether two tables sound alike. */
function sameNotes(some, others) {
  const isSame = (note, i) => ["onset", "duration", "pitch", "velocity"].every((name) => note[name] === others[i][name]);
  return some.length === others.length && some.every(isSame);
}

/** Cells, a byte each, (128 * width), from bits packed row by row. */
function readCells(view, width) {
  const cells = new Uint8Array(PITCHES * width);
  const stride = Math.ceil(width / 8);
  const bytes = bytesOf(view);
  if (bytes.length < PITCHES * stride) return cells;
  for (let row = 0; row < PITCHES; row++) {
    for (let step = 0; step < width; step++) {
      const byte = bytes[row * stride + (step >> 3)];
      cells[row * width + step] = (byte >> (7 - (step & 7))) & 1;
    }
  }
  return cells;
}

// -------------------------------------------------------------------------------------------------------- time

/** Steps and seconds. Each line of the table: its first step, the second at which that sounds, seconds a step. */
class Clock {
  constructor(lines) {
    this.lines = lines?.length ? lines : [[0, 0, 0.125]];
  }

  line(column, value) {
    const reached = this.lines.filter((line) => line[column] <= Math.max(value, 0));
    return reached[reached.length - 1] ?? this.lines[0];
  }

  second(step) {
    const [first, second, pace] = this.line(0, step);
    return second + (step - first) * pace;
  }

  step(second) {
    const [first, begin, pace] = this.line(1, second);
    return first + (second - begin) / pace;
  }
}
