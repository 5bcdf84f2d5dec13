// ------------------------------------------------------------------------------------------ where things lie

/** Which steps and pitches the roll shows, and at which pixels. A point is (step, pitch) at middles of cells. */
class Viewport {
  constructor() {
    Object.assign(this, { left: 0, zoom: 6, low: 36, high: 84, width: 800, height: 400, ratio: 1, foot: 0 });
  }

  /** Under the last row of pitches, where the strip of drums begins. */
  get bottom() {
    return this.height - this.foot;
  }

  get row() {
    return (this.bottom - RULER) / (this.high - this.low + 1);
  }

  get right() {
    return this.left + (this.width - KEYS_WIDTH) / this.zoom;
  }

  /** To the nearest pixel of the screen: lines stay sharp. */
  snap(value) {
    return Math.round(value * this.ratio) / this.ratio;
  }

  across(step) {
    return this.snap(KEYS_WIDTH + (step - this.left) * this.zoom);
  }

  down(pitch) {
    return this.snap(RULER + (this.high - pitch) * this.row);
  }

  cell(x, y) {
    const step = this.left + (x - KEYS_WIDTH) / this.zoom - 0.5;
    const pitch = this.high + 0.5 - (y - RULER) / this.row;
    return [step, pitch];
  }

  scroll(steps, songWidth) {
    const most = Math.max(songWidth - (this.width - KEYS_WIDTH) / this.zoom, 0);
    this.left = clamp(this.left + steps, 0, most);
  }

  /** Zoom so that what lies at pixel x stays there. */
  zoomAt(x, factor, songWidth) {
    const step = this.left + (x - KEYS_WIDTH) / this.zoom;
    const least = Math.min((this.width - KEYS_WIDTH) / songWidth, 2);
    this.zoom = clamp(this.zoom * factor, least, 40);
    this.left = step - (x - KEYS_WIDTH) / this.zoom;
    this.scroll(0, songWidth);
  }

  shift(pitches) {
    const by = clamp(pitches, LOWEST - this.low, HIGHEST - this.high);
    this.low += by;
    this.high += by;
  }

  zoomPitches(by) {
    const [low, high] = [this.low + by, this.high - by];
    if (high - low < 11) return;
    this.low = Math.max(low, LOWEST);
    this.high = Math.min(high, HIGHEST);
  }
}

// ------------------------------------------------------------------------------------------------------ drawing

// Notes have one hue by part; what is new has one warm colour, which eyes of all kinds tell from blue.
const THEMES = {
  light: {
    paper: "#fdfdfe", black: "#f0f2f6", beat: "#e6e9ee", bar: "#b9c1cc", text: "#39424e", ruler: "#f4f6f9",
    parts: ["#3d5a80", "#6f8db3", "#557a95", "#8a9cb5", "#2f4763", "#7a8fa8"], fresh: "#c65102",
    tint: "rgba(224, 122, 20, 0.16)", edge: "#b4560b", hover: "#39424e", playhead: "#c2185b", onset: 0.35, odd: "#7b1fa2",
    whiteKey: "#ffffff", blackKey: "#39424e", loop: "rgba(194, 24, 91, 0.22)", veil: "rgba(57, 66, 78, 0.12)",
  },
  dark: {
    paper: "#15181d", black: "#101216", beat: "#22262d", bar: "#464e5a", text: "#cdd5df", ruler: "#1c2026",
    parts: ["#8fb0d9", "#5f80aa", "#79a3b8", "#aebfd4", "#6d92c4", "#90a4bd"], fresh: "#ff9a4d",
    tint: "rgba(255, 154, 77, 0.2)", edge: "#ffb57a", hover: "#e8edf3", playhead: "#ff6fa8", onset: 0.4, odd: "#d98cff",
    whiteKey: "#dfe4ea", blackKey: "#22262d", loop: "rgba(255, 111, 168, 0.28)", veil: "rgba(0, 0, 0, 0.35)",
  },
};
// The colours of the paper's pictures: onset and sustain, then the same of new notes.
const PAPER = { onset: "#e02b20", sustain: "#2f9e44", freshOnset: "#1f4fd0", freshSustain: "#3c96f0" };

/** Give a canvas as many pixels as the screen has under it; its context, in CSS pixels. */
function sharpen(canvas, width, height, ratio) {
  const across = Math.round(width * ratio);
  const down = Math.round(height * ratio);
  if (canvas.width !== across || canvas.height !== down) {
    canvas.width = across;
    canvas.height = down;
  }
  const g = canvas.getContext("2d");
  g.setTransform(ratio, 0, 0, ratio, 0, 0);
  return g;
}

/** Rows, beats, bars and notes. */
function drawGround(desk) {
  const { view, theme } = desk;
  const g = sharpen(desk.ground, view.width, view.height, view.ratio);
  g.clearRect(0, 0, view.width, view.height);
  drawRows(g, view, theme);
  drawLines(g, desk);
  drawNotes(g, desk, desk.notes());
  for (const odd of desk.oddNotes()) drawOdd(g, desk, odd);
  drawRuler(g, desk);
  drawKeys(g, view, theme);
  if (view.foot) drawStrip(g, desk);
}

function drawRows(g, view, theme) {
  g.fillStyle = theme.paper;
  g.fillRect(0, 0, view.width, view.height);
  g.fillStyle = theme.black;
  for (let pitch = view.low; pitch <= view.high; pitch++) {
    if (isBlack(pitch)) g.fillRect(0, view.down(pitch), view.width, view.down(pitch - 1) - view.down(pitch));
  }
  g.fillStyle = theme.beat;
  for (let pitch = view.low; pitch <= view.high; pitch++) {
    if (pitch % 12 === 0) g.fillRect(0, view.down(pitch - 1), view.width, 1);
  }
}

function drawLines(g, { view, theme, song }) {
  const draw = (steps, colour) => {
    g.fillStyle = colour;
    for (const step of steps) {
      if (step >= view.left && step <= view.right) g.fillRect(view.across(step), RULER, 1, view.height);
    }
  };
  if (view.zoom > 2) draw(song.beats, theme.beat);
  draw(song.bars, theme.bar);

  // Behind the last step there is nothing.
  const end = view.across(song.width);
  g.fillStyle = theme.veil;
  if (end < view.width) g.fillRect(end, 0, view.width - end, view.height);
}

const MUTED = 0.3; // how clearly notes are seen that are not heard

function drawNotes(g, desk, notes) {
  const { view, theme } = desk;
  const gap = view.row > 5 ? 1 : 0;
  for (const note of notes) {
    if (note.onset > view.right) break;
    if (note.end < view.left || note.pitch < view.low || note.pitch > view.high) continue;
    const x = view.across(note.onset);
    const y = view.down(note.pitch);
    const width = Math.max(view.across(note.end) - x - (view.zoom > 3 ? 1 : 0), 1);
    const height = Math.max(view.down(note.pitch - 1) - y - gap, 1);
    const colours = noteColours(desk, note);
    const clear = desk.hears(note.part) ? 1 : MUTED;
    g.globalAlpha = clear * (0.5 + (0.5 * note.velocity) / 127);
    g.fillStyle = colours.body;
    g.fillRect(x, y, width, height);
    g.globalAlpha = clear * colours.strength;
    g.fillStyle = colours.onset;
    g.fillRect(x, y, Math.min(desk.paperColours ? view.zoom : 3, width), height);
  }
  g.globalAlpha = 1;
}

// So many bits of doubt begin to be seen; so many more are seen fully.
const [LEAST_ODD, ODD_RANGE] = [3, 7];

/** The more a note is doubted, the more it is violet. */
function drawOdd(g, { view, theme }, { onset, end, pitch, bits }) {
  if (bits < LEAST_ODD || end < view.left || onset > view.right || pitch < view.low || pitch > view.high) return;
  const [x, y] = [view.across(onset), view.down(pitch)];
  const [width, height] = [view.across(end) - x, view.down(pitch - 1) - y];
  g.globalAlpha = clamp((bits - LEAST_ODD) / ODD_RANGE, 0.1, 1);
  g.fillStyle = theme.odd;
  g.fillRect(x, y - 1, Math.max(width - 1, 2), height + 1);
  g.globalAlpha = 1;
}

function noteColours({ theme, paperColours }, note) {
  if (paperColours) {
    const [onset, body] = note.fresh ? [PAPER.freshOnset, PAPER.freshSustain] : [PAPER.onset, PAPER.sustain];
    return { body, onset, strength: 1 };
  }
  const body = note.fresh ? theme.fresh : theme.parts[note.part % theme.parts.length];
  return { body, onset: theme.text, strength: theme.onset };
}

// How musicians write the kinds of chords.
const QUALITIES = { maj: "", min: "m", min7: "m7", hdim7: "ø", dim: "°", dim7: "°7", maj6: "6", min6: "m6" };

/** A chord as musicians write it: "A:min7" is Am7. */
function chordName(label) {
  const [root, quality = ""] = label.split(":");
  return root + (QUALITIES[quality] ?? quality);
}

/** Chords, and the numbers of bars as far as there is room. */
function drawRuler(g, { view, theme, song }) {
  g.fillStyle = theme.ruler;
  g.fillRect(0, 0, view.width, RULER);
  g.font = "11px system-ui, sans-serif";
  g.textBaseline = "middle";
  for (const [onset, duration, label, colour] of song.chords) {
    const text = chordName(label);
    const [x, end] = [view.across(onset), view.across(onset + duration)];
    if (end < KEYS_WIDTH || x > view.width) continue;
    g.fillStyle = colour;
    g.fillRect(x, LANE - 3, end - x - 1, 2);
    g.fillStyle = theme.text;
    if (end - x > 7 * text.length) g.fillText(text, x + 2, LANE / 2 - 1);
  }
  const usual = song.bars.length > 1 ? song.bars[1] - song.bars[0] : 16;
  const stride = Math.max(Math.ceil(30 / (Math.max(usual, 4) * view.zoom)), 1);
  song.bars.forEach((step, i) => {
    if (step < view.left - 1 || step > view.right) return;
    g.fillStyle = theme.bar;
    g.fillRect(view.across(step), LANE, 1, RULER - LANE);
    g.fillStyle = theme.text;
    if (i % stride === 0) g.fillText(String(i + 1), view.across(step) + 4, (LANE + RULER) / 2);
  });
  g.fillStyle = theme.bar;
  g.fillRect(0, RULER - 1, view.width, 1);
}

function drawKeys(g, view, theme) {
  g.fillStyle = theme.whiteKey;
  g.fillRect(0, RULER, KEYS_WIDTH - 1, view.height);
  g.font = "10px system-ui, sans-serif";
  g.textBaseline = "middle";
  for (let pitch = view.low; pitch <= view.high; pitch++) {
    const y = view.down(pitch);
    const height = view.down(pitch - 1) - y;
    if (isBlack(pitch)) {
      g.fillStyle = theme.blackKey;
      g.fillRect(0, y, KEYS_WIDTH * 0.6, height);
    }
    // No black key lies between B and C, E and F: there a line parts the white ones.
    if (pitch % 12 === 0 || pitch % 12 === 5) {
      g.fillStyle = "#9aa4b1";
      g.fillRect(0, y + height, KEYS_WIDTH - 1, 1);
    }
    if (pitch % 12 === 0) {
      g.fillStyle = "#39424e";
      g.fillText(pitchName(pitch), KEYS_WIDTH - 19, y + height / 2);
    }
  }
  g.fillStyle = theme.ruler;
  g.fillRect(0, 0, KEYS_WIDTH, RULER);
  g.fillStyle = theme.bar;
  g.fillRect(KEYS_WIDTH - 1, 0, 1, view.height);
}

const LANES = 8; // of the drums, at most
const LANE_HEIGHT = 5; // pixels

/** The lanes of the drums: which pitches have which. */
function drumLanes(drums) {
  const pitches = [...new Set(drums.map((note) => note.pitch))].sort((a, b) => a - b);
  const count = Math.min(pitches.length, LANES);
  return { count, of: (pitch) => Math.floor((pitches.indexOf(pitch) * count) / pitches.length) };
}

function stripHeight(drums) {
  return drums.length ? Math.max(drumLanes(drums).count * LANE_HEIGHT, 15) + 5 : 0;
}

/** Under the pitches the drums of the file, a lane each: they are heard and stay as they are. */
function drawStrip(g, desk) {
  const { view, theme, song, drums } = desk;
  const lanes = drumLanes(drums);
  const height = (view.foot - 5) / lanes.count;
  g.fillStyle = theme.ruler;
  g.fillRect(0, view.bottom, view.width, view.foot);
  g.fillStyle = theme.bar;
  g.fillRect(0, view.bottom, view.width, 1);
  for (const step of song.bars) {
    if (step >= view.left && step <= view.right) g.fillRect(view.across(step), view.bottom, 1, view.foot);
  }
  for (const note of drums) {
    if (note.onset < view.left - 1 || note.onset > view.right) continue;
    g.globalAlpha = (desk.hears(note.part) ? 1 : MUTED) * (0.5 + (0.5 * note.velocity) / 127);
    g.fillStyle = theme.parts[note.part % theme.parts.length];
    const y = view.height - 2 - (lanes.of(note.pitch) + 1) * height;
    g.fillRect(view.across(note.onset), y, clamp(view.zoom - 1, 2, 8), height - 1);
  }
  g.globalAlpha = 1;
  g.fillStyle = theme.ruler;
  g.fillRect(0, view.bottom + 1, KEYS_WIDTH, view.foot);
  g.fillStyle = theme.text;
  g.font = "10px system-ui, sans-serif";
  g.textBaseline = "middle";
  g.fillText("drums", 6, view.bottom + view.foot / 2);
}

/** What lies over the notes and changes with every move: mask, loop, ghosts, outline of the pointer. */
function drawInk(desk) {
  const { view, theme, hand } = desk;
  const g = sharpen(desk.ink, view.width, view.height, view.ratio);
  g.clearRect(0, 0, view.width, view.height);
  g.save();
  g.beginPath();
  g.rect(KEYS_WIDTH, 0, view.width, view.height);
  g.clip();
  if (desk.loop) {
    const [x, end] = desk.loop.map((step) => view.across(step));
    g.fillStyle = theme.loop;
    g.fillRect(x, LANE, end - x, RULER - LANE);
  }
  drawMask(g, desk, desk.shownCells());
  if (desk.ghost) drawGhost(g, desk, desk.ghost);
  for (const note of desk.draftNotes()) drawDraft(g, desk, note);
  drawLasso(g, desk);
  if (hand.over && !hand.open.length) drawPointer(g, desk);
  g.restore();
}

/** The marked cells, tinted, with a line around them. */
function drawMask(g, { view, theme, song }, cells) {
  const { width } = song;
  const first = Math.max(Math.floor(view.left), 0);
  const last = Math.min(Math.ceil(view.right), width);
  const edges = new Path2D();
  g.fillStyle = theme.tint;
  for (let pitch = view.high; pitch >= view.low; pitch--) {
    const row = (PITCHES - 1 - pitch) * width;
    const [y, below] = [view.down(pitch), view.down(pitch - 1)];
    for (let step = first; step < last; step++) {
      if (!cells[row + step]) continue;
      let end = step;
      while (end < last && cells[row + end]) end++;
      const [x, stop] = [view.across(step), view.across(end)];
      g.fillRect(x, y, stop - x, below - y);
      if (step === 0 || !cells[row + step - 1]) edges.rect(x, y, 0, below - y);
      if (end < width && !cells[row + end]) edges.rect(stop, y, 0, below - y);
      traceEdge(edges, view, { cells, row: row - width, step, end, y });
      traceEdge(edges, view, { cells, row: row + width, step, end, y: below });
      step = end;
    }
  }
  g.strokeStyle = theme.edge;
  g.lineWidth = 1.25;
  g.stroke(edges);
  drawChordMask(g, { view, theme, song }, cells);
}

/** A line along a run wherever the neighbouring row is not marked. */
function traceEdge(edges, view, { cells, row, step, end, y }) {
  for (let from = step; from < end; from++) {
    if (cells[row + from]) continue;
    let to = from;
    while (to < end && !cells[row + to]) to++;
    edges.moveTo(view.across(from), y);
    edges.lineTo(view.across(to), y);
    from = to;
  }
}

/** The chord rows of the mask lie on the lane of the chords. */
function drawChordMask(g, { view, theme, song }, cells) {
  g.fillStyle = theme.tint;
  for (let step = 0; step < song.width; step++) {
    if (cells[step]) g.fillRect(view.across(step), 0, view.across(step + 1) - view.across(step), LANE);
  }
}

/** The new notes of a candidate that is only looked at: outlines. */
function drawGhost(g, { view, theme }, notes) {
  g.strokeStyle = theme.fresh;
  g.lineWidth = 1.5;
  for (const note of notes) {
    if (!note.fresh || note.end < view.left || note.onset > view.right) continue;
    const [x, y] = [view.across(note.onset), view.down(note.pitch)];
    g.strokeRect(x + 0.75, y + 0.75, view.across(note.end) - x - 1.5, view.down(note.pitch - 1) - y - 1.5);
  }
}

/** A note that the pencil writes, moves or stretches. */
function drawDraft(g, { view, theme }, { pitch, onset, end }) {
  const [x, y] = [view.across(onset), view.down(pitch)];
  g.fillStyle = theme.fresh;
  g.globalAlpha = 0.75;
  g.fillRect(x, y, view.across(end) - x, view.down(pitch - 1) - y);
  g.globalAlpha = 1;
}

/** A line of the lasso; an open one is dashed, and looks open. */
function drawLasso(g, { view, theme, hand }) {
  const path = hand.lassoPath();
  if (path.length < 1) return;
  const pixels = path.map(([step, pitch]) => [view.across(step + 0.5), view.down(pitch - 0.5)]);
  g.strokeStyle = theme.edge;
  g.fillStyle = theme.edge;
  g.lineWidth = 1.5;
  g.setLineDash([5, 4]);
  g.beginPath();
  for (const [x, y] of pixels) g.lineTo(x, y);
  g.stroke();
  g.setLineDash([]);
  for (const [x, y] of hand.open.length ? pixels.slice(0, hand.open.length) : []) {
    g.fillRect(x - 3, y - 3, 6, 6);
  }
}

/** What a press would do here: the brush's circle, a bar, a row, a cell, a note. */
function drawPointer(g, desk) {
  const { view, theme, hand, song } = desk;
  const [step, pitch] = hand.point;
  g.strokeStyle = theme.hover;
  g.lineWidth = 1;
  g.setLineDash(hand.erases ? [3, 3] : []);
  if (hand.zone === "ruler") {
    const [from, to] = desk.barAround(step);
    g.strokeRect(view.across(from) + 0.5, LANE + 0.5, view.across(to) - view.across(from) - 1, RULER - LANE - 2);
  } else if (hand.zone === "roll" && desk.brushes()) {
    g.beginPath();
    const radius = desk.radius + 0.5;
    g.ellipse(hand.x, hand.y, radius * view.zoom, radius * view.row, 0, 0, 2 * Math.PI);
    g.stroke();
  } else if (hand.zone === "roll" && !hand.held) {
    const note = desk.tool === "pencil" && desk.noteAt(step, pitch);
    const [from, to] = note ? [note.onset, note.end] : [Math.round(step), Math.round(step) + 1];
    const y = view.down(Math.round(pitch));
    g.strokeRect(view.across(from) + 0.5, y + 0.5, view.across(to) - view.across(from) - 1, view.row - 1);
  }
  g.setLineDash([]);
  if (hand.zone !== "roll" || step > song.width) return;
  drawLabel(g, desk, hand.words());
}

function drawLabel(g, { view, theme, hand }, text) {
  g.font = "11px system-ui, sans-serif";
  g.textBaseline = "middle";
  const width = g.measureText(text).width + 10;
  const x = clamp(hand.x + 14, KEYS_WIDTH, view.width - width - 2);
  const y = clamp(hand.y - 26, RULER + 2, view.height - 20);
  g.fillStyle = theme.text;
  g.fillRect(x, y, width, 18);
  g.fillStyle = theme.paper;
  g.fillText(text, x + 5, y + 9.5);
}

/** The whole song, the window that is seen, what is marked, the loop. */
function drawOverview(desk) {
  const { view, theme, song, overview } = desk;
  const [width, height] = [overview.clientWidth, overview.clientHeight];
  const g = sharpen(overview, width, height, view.ratio);
  const across = (step) => (step / song.width) * width;
  const notes = desk.notes();
  const [low, high] = desk.pitchesInUse();
  const row = height / (high - low + 1);
  g.fillStyle = theme.paper;
  g.fillRect(0, 0, width, height);
  drawMarkedSteps(g, desk, across, height);
  for (const note of notes) {
    g.fillStyle = noteColours(desk, note).body;
    g.globalAlpha = desk.hears(note.part) ? 1 : MUTED;
    const y = height - (note.pitch - low + 1) * row;
    g.fillRect(across(note.onset), y, Math.max(across(note.duration) - 0.5, 1), Math.max(row, 1.5));
  }
  g.globalAlpha = 1;
  g.fillStyle = theme.veil;
  g.fillRect(0, 0, across(view.left), height);
  g.fillRect(across(view.right), 0, width, height);
  g.strokeStyle = theme.text;
  g.lineWidth = 1.5;
  const shown = Math.min(view.right, song.width) - view.left;
  g.strokeRect(across(view.left) + 0.75, 0.75, Math.max(across(shown) - 1.5, 3), height - 1.5);
}

function drawMarkedSteps(g, desk, across, height) {
  const { theme, song, loop } = desk;
  g.fillStyle = theme.tint;
  const marked = desk.markedSteps();
  for (let step = 0; step < song.width; step++) {
    if (marked[step]) g.fillRect(across(step), 0, across(1) + 0.3, height);
  }
  g.fillStyle = theme.loop;
  if (loop) g.fillRect(across(loop[0]), 0, across(loop[1] - loop[0]), 5);
}
