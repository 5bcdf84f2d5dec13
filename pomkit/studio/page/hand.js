// ----------------------------------------------------------------------------------- what a gesture will mark

/** The cells within `radius` of the line from a to b are added to `region`. */
function addSegment(region, width, a, b, radius) {
  const [dx, dy] = [b[0] - a[0], b[1] - a[1]];
  const squared = Math.max(dx * dx + dy * dy, 1e-12);
  const range = (i, most) => [
    Math.max(Math.floor(Math.min(a[i], b[i]) - radius), 0),
    Math.min(Math.ceil(Math.max(a[i], b[i]) + radius), most),
  ];
  const [first, last] = range(0, width - 1);
  const [low, high] = range(1, PITCHES - 1);
  for (let pitch = low; pitch <= high; pitch++) {
    for (let step = first; step <= last; step++) {
      const along = clamp(((step - a[0]) * dx + (pitch - a[1]) * dy) / squared, 0, 1);
      const distance = (step - a[0] - along * dx) ** 2 + (pitch - a[1] - along * dy) ** 2;
      if (distance <= radius * radius) region[(PITCHES - 1 - pitch) * width + step] = 1;
    }
  }
}

function addBox(region, width, [first, last], [low, high]) {
  for (let pitch = Math.max(low, 0); pitch <= Math.min(high, PITCHES - 1); pitch++) {
    const row = (PITCHES - 1 - pitch) * width;
    region.fill(1, row + Math.max(first, 0), row + clamp(last, 0, width));
  }
}

/** The cells whose middles lie inside a polygon. */
function addPolygon(region, width, path) {
  const pitches = path.map((point) => point[1]);
  const low = Math.max(Math.floor(Math.min(...pitches)), 0);
  const high = Math.min(Math.ceil(Math.max(...pitches)), PITCHES - 1);
  for (let pitch = low; pitch <= high; pitch++) {
    // Where the edges cross the row; between the first and the second crossing it is inside, and so on.
    const crossings = [];
    path.forEach(([x, y], i) => {
      const [nextX, nextY] = path[(i + 1) % path.length];
      if (y <= pitch !== nextY <= pitch) crossings.push(x + ((pitch - y) / (nextY - y)) * (nextX - x));
    });
    crossings.sort((a, b) => a - b);
    for (let i = 0; i + 1 < crossings.length; i += 2) {
      addBox(region, width, [Math.ceil(crossings[i]), Math.floor(crossings[i + 1]) + 1], [pitch, pitch]);
    }
  }
}

/** Mark a region in the cells, or take it out; `within`: only there. */
function paint(cells, { region, erase }, within) {
  const value = erase ? 0 : 1;
  for (let i = 0; i < cells.length; i++) {
    if (region[i] && (!within || within[i])) cells[i] = value;
  }
}

/** The region of a gesture, as the kernel will find it or nearly so; a byte a cell. */
function regionOf(desk, { tool, path, radius }) {
  const { width } = desk.song;
  const region = new Uint8Array(PITCHES * width);
  const [a, b] = [path[0], path[path.length - 1]];
  const steps = [a[0], b[0]].map(Math.round).sort((x, y) => x - y);
  const pitches = [a[1], b[1]].map(Math.round).sort((x, y) => x - y);
  if (tool === "brush") path.forEach((point, i) => addSegment(region, width, path[Math.max(i - 1, 0)], point, radius));
  else if (tool === "box") addBox(region, width, [steps[0], steps[1] + 1], pitches);
  else if (tool === "pitches") addBox(region, width, [0, width], pitches);
  else if (tool === "polygon" && path.length > 2) addPolygon(region, width, path);
  else if (tool === "bars") {
    const range = [desk.barAround(steps[0])[0], desk.barAround(steps[1])[1]];
    addBox(region, width, range, [LOWEST, HIGHEST]);
  }
  return region;
}

// ----------------------------------------------------------------------------------------------------- the hand

const EDGE = 6; // pixels at the ends of a note where the pencil takes its edge
const MARGIN = 14; // pixels at the sides where a drag scrolls
const REST = 300; // milliseconds over the roll without a press, then the kernel is asked whether it answers

/** The mouse, a pen or a finger over the roll: presses, moves and releases become gestures. */
class Hand {
  constructor(desk) {
    this.desk = desk;
    Object.assign(this, { over: false, held: false, erases: false, x: 0, y: 0, zone: "", point: [0, 60] });
    this.path = [];
    this.open = []; // the corners of a polygon that is clicked corner by corner
    this.region = null; // what the brush has marked so far
    const { ink } = desk;
    ink.addEventListener("pointerdown", (event) => this.press(event));
    ink.addEventListener("pointermove", (event) => this.move(event));
    ink.addEventListener("pointerup", (event) => this.release(event));
    ink.addEventListener("pointercancel", () => this.drop());
    ink.addEventListener("pointerenter", () => this.enter());
    ink.addEventListener("pointerleave", () => this.leave());
    ink.addEventListener("dblclick", (event) => this.twice(event));
    // The notebook takes the focus where a cell is pressed; keys are the roll's.
    ink.addEventListener("mousedown", (event) => event.stopPropagation());
    ink.addEventListener("click", () => desk.takeFocus());
    ink.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    ink.addEventListener("contextmenu", (event) => {
      event.preventDefault();
      event.stopPropagation();
    });
  }

  /** Whether the kernel answers is asked when the pointer rests: the notebook stirs at every answer. */
  enter() {
    clearTimeout(this.asking);
    this.asking = setTimeout(() => !this.held && this.desk.ping(), REST);
  }

  place(event) {
    const box = this.desk.ink.getBoundingClientRect();
    this.x = event.clientX - box.left;
    this.y = event.clientY - box.top;
    this.point = this.desk.view.cell(this.x, this.y);
    if (!this.held) this.zone = this.zoneHere();
    if (!this.held) this.erases = event.altKey || this.desk.tool === "erase";
  }

  zoneHere() {
    if (this.y < RULER) return "ruler";
    if (this.y > this.desk.view.bottom) return "strip";
    return this.x < KEYS_WIDTH ? "keys" : "roll";
  }

  /** Where the pointer is, for people. */
  words() {
    const { desk } = this;
    const pitch = clamp(Math.round(this.point[1]), 0, 127);
    const here = `${pitchName(pitch)}, bar ${desk.barAndBeat(this.point[0])}`;
    const odd = desk.oddNotes().find((note) => note.pitch === pitch && note.onset <= this.point[0] + 0.5 && this.point[0] + 0.5 < note.end);
    return odd ? `${here}, doubt ${odd.bits} bits` : here;
  }

  press(event) {
    const { desk } = this;
    this.place(event);
    desk.takeFocus();
    if (event.button === 1 || this.zone === "strip") return;
    event.preventDefault();
    desk.ink.setPointerCapture(event.pointerId);
    this.erases = event.altKey || event.button === 2 || desk.tool === "erase";
    this.held = true;
    this.armed = false;
    this.from = [this.x, this.y];
    this.started = this.point;
    this.kind = this.kindOf(event);
    this.path = [this.point];
    this.region = new Uint8Array(PITCHES * desk.song.width);
    if (this.kind === "brush") addSegment(this.region, desk.song.width, this.point, this.point, desk.radius);
    if (this.kind === "pitches") desk.player.synth.preview(clamp(Math.round(this.point[1]), 0, 127));
    if (this.kind === "pencil") this.takeNote();
    requestAnimationFrame(() => this.scrollOn());
    desk.floating.update();
    desk.drawInk();
  }

  /** What this drag will be. */
  kindOf(event) {
    const { tool } = this.desk;
    if (this.zone === "ruler") return event.altKey ? "loop" : "bars";
    if (this.zone === "keys") return "pitches";
    return tool === "erase" ? "brush" : tool === "lasso" ? "polygon" : tool;
  }

  /** The pencil: which note lies here, and whether it is taken by an edge. */
  takeNote() {
    const { desk } = this;
    this.note = desk.noteAt(...this.started);
    this.edge = this.note ? this.edgeAt(this.note) : "";
    if (!this.erases) desk.player.synth.preview(clamp(Math.round(this.point[1]), 0, 127));
  }

  edgeAt(note) {
    const { view } = this.desk;
    const near = Math.min(EDGE, ((note.end - note.onset) * view.zoom) / 3);
    if (view.across(note.end) - this.x < near) return "end";
    return this.x - view.across(note.onset) < near ? "begin" : "";
  }

  move(event) {
    const { desk } = this;
    this.over = true;
    const events = this.held ? (event.getCoalescedEvents?.() ?? []) : [];
    for (const each of events.length ? events : [event]) {
      this.place(each);
      if (this.held) this.add();
    }
    this.setCursor();
    desk.drawInk();
  }

  /** The path goes on to where the pointer is. */
  add() {
    const { desk } = this;
    const before = this.path[this.path.length - 1];
    const moved = Math.hypot(this.point[0] - before[0], this.point[1] - before[1]);
    if (moved < 0.2) return;
    this.path.push(this.point);
    if (this.kind === "brush") addSegment(this.region, desk.song.width, before, this.point, desk.radius);
    else if (["box", "bars", "pitches"].includes(this.kind) && this.isDrag()) {
      this.region = regionOf(desk, { tool: this.kind, path: this.path });
    }
  }

  isDrag() {
    const far = Math.hypot(this.x - this.from[0], this.y - this.from[1]);
    return far > 3 || Math.abs(this.point[0] - this.started[0]) > 1;
  }

  /** A drag that comes near a side, or leaves the roll, scrolls it; one that begins there does not at once. */
  scrollOn() {
    const { desk } = this;
    if (!this.held) return;
    const { view, song } = desk;
    const beyond = this.x > view.width - MARGIN ? this.x - view.width + MARGIN : Math.min(this.x - KEYS_WIDTH, 0);
    if (!beyond) this.armed = true;
    if (beyond && this.armed && this.kind !== "pitches") {
      view.scroll(clamp(beyond / 12, -2, 2) * (6 / view.zoom), song.width);
      this.follow();
    }
    const up = this.y < RULER ? 1 : this.y > view.bottom ? -1 : 0;
    if (up && this.zone !== "ruler" && Math.random() < 0.25) {
      view.shift(up);
      this.follow();
    }
    requestAnimationFrame(() => this.scrollOn());
  }

  /** The roll moved under a resting pointer. */
  follow() {
    this.point = this.desk.view.cell(this.x, this.y);
    this.add();
    this.desk.draw();
  }

  release(event) {
    if (!this.held) return;
    this.place(event);
    this.add();
    this.held = false;
    const act = { loop: "endLoop", bars: "endBars", pitches: "endPitches", polygon: "endPolygon", pencil: "endPencil" };
    this[act[this.kind] ?? "endMark"]();
    this.desk.floating.update();
    this.desk.drawInk();
  }

  endMark() {
    this.desk.gesture({ tool: this.kind, path: this.path, erase: this.erases });
    this.desk.release();
  }

  /** A click on the ruler plays from there, a drag marks bars. */
  endBars() {
    if (this.isDrag()) this.endMark();
    else this.desk.player.play(Math.max(this.point[0], 0));
  }

  endPitches() {
    if (this.isDrag()) this.endMark();
  }

  endLoop() {
    const steps = [this.path[0][0], this.point[0]].sort((a, b) => a - b);
    const { desk } = this;
    desk.setLoop(this.isDrag() ? [desk.barAround(steps[0])[0], desk.barAround(steps[1])[1]] : null);
  }

  /** A lasso is drawn round in one drag, or clicked corner by corner. */
  endPolygon() {
    if (this.isDrag() && !this.open.length) return this.path.length > 2 && this.endMark();
    const [first] = this.open;
    const near = first && Math.hypot(this.point[0] - first[0], this.point[1] - first[1]) < 2;
    if (near && this.open.length > 2) return this.closePolygon();
    this.open.push(this.point);
    this.openErases = this.erases;
    this.desk.say("click on: double click or Enter closes the lasso, Esc drops it");
  }

  closePolygon() {
    const path = this.open;
    this.open = [];
    if (path.length > 2) {
      this.desk.gesture({ tool: "polygon", path, erase: this.openErases });
      this.desk.release();
    }
    this.desk.drawInk();
    return path.length > 2;
  }

  lassoPath() {
    if (this.open.length) return [...this.open, this.point];
    return this.held && this.kind === "polygon" ? this.path : [];
  }

  endPencil() {
    const { desk, note } = this;
    const [first, last] = [this.started, this.point];
    if (note && this.edge && this.isDrag() && !this.erases) {
      return desk.gesture({ tool: "length", path: [[this.edge === "end" ? note.end - 1 : note.onset, note.pitch], last], draft: this.draft() });
    }
    desk.gesture({ tool: "pencil", path: [first, last], erase: this.erases, draft: this.draft() });
  }

  /** The note as the pencil leaves it, to be drawn until the kernel answers. */
  draft() {
    if (this.erases) return null;
    const { note } = this;
    const [x, y] = this.started.map(Math.round);
    const [toX, toY] = this.point.map(Math.round);
    if (!note) return { pitch: y, onset: x, end: Math.max(toX, x) + 1 };
    if (this.edge === "end") return { ...note, end: Math.max(toX, note.onset) + 1 };
    if (this.edge === "begin") return { ...note, onset: Math.min(toX, note.end - 1) };
    return { pitch: note.pitch + toY - y, onset: note.onset + toX - x, end: note.end + toX - x };
  }

  twice(event) {
    const { desk } = this;
    this.place(event);
    if (this.open.length) {
      // Each click of the two has set a corner.
      this.open.pop();
      this.closePolygon();
    } else if (desk.tool === "pencil" && this.note && this.zone === "roll") {
      desk.gesture({ tool: "pencil", path: [this.point], erase: true });
    }
  }

  drop() {
    this.held = false;
    this.open = [];
    this.desk.drawInk();
  }

  leave() {
    this.over = this.held;
    this.desk.drawInk();
  }

  setCursor() {
    const { desk } = this;
    const note = desk.tool === "pencil" && this.zone === "roll" && !this.held && desk.noteAt(...this.point);
    const usual = { roll: "crosshair", strip: "default" }[this.zone] ?? "pointer";
    put(desk.ink.style, "cursor", note ? (this.edgeAt(note) ? "ew-resize" : "grab") : usual);
  }

  /** The wheel goes through time, with Ctrl it zooms at the pointer, with Alt or Shift it goes through pitches. */
  wheel(event) {
    const { desk } = this;
    const { view, song } = desk;
    this.place(event);
    const by = event.deltaY || event.deltaX;
    const was = [view.left, view.low, view.high, view.zoom].join();
    if (event.ctrlKey && event.altKey) view.zoomPitches(by < 0 ? 1 : -1);
    else if (event.ctrlKey) view.zoomAt(this.x, 2 ** (-by / 300), song.width);
    else if (event.altKey || event.shiftKey) view.shift(by < 0 ? 2 : -2);
    else view.scroll((event.deltaX || event.deltaY) / view.zoom, song.width);
    const moved = was !== [view.left, view.low, view.high, view.zoom].join();
    desk.following = false;

    // At the end of the song the notebook scrolls on.
    if (!moved && !event.ctrlKey) return;
    event.preventDefault();
    event.stopPropagation();
    this.place(event);
    desk.draw();
  }
}
