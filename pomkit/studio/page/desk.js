// ----------------------------------------------------------------------------------------------------- the desk

/** Dark where the notebook's theme is dark. */
function isDark() {
  const { jpThemeLight } = document.body.dataset;
  if (jpThemeLight) return jpThemeLight === "false";
  const [red, green, blue, alpha = 1] = getComputedStyle(document.body).backgroundColor.match(/[\d.]+/g).map(Number);
  return alpha > 0 && 0.3 * red + 0.6 * green + 0.1 * blue < 110;
}

// Messages that bring other music or another mask: what was said before is of no use then.
const TRAVELS = ["undo", "redo", "go"];
const RENEWS = [...TRAVELS, "gesture", "mark", "part", "choose", "compose", "empty", "doubt", "bring back", "open"];
const LEAVING = ["pointerdown", "focusin"];

/** Holds all together: what came down, what is shown, and what goes up. */
class Desk {
  constructor(model, el) {
    this.model = model;
    this.id = crypto.getRandomValues(new Uint32Array(1))[0];
    this.sent = 0; // the number of the last message
    this.waiting = new Map(); // messages without an answer: number and time
    this.pending = []; // gestures without an answer
    Object.assign(this, { tool: "brush", part: "all", radius: 2, paperColours: false, aside: false });
    Object.assign(this, { oddShown: false, oddAsked: false, toBeSeen: false, odd: [] });
    Object.assign(this, { onRelease: false, again: false });
    Object.assign(this, { writes: "", muted: new Set(), alone: new Set(), drums: [], hearing: [] });
    Object.assign(this, { loop: null, loopWished: false, following: true, fineWished: false });
    Object.assign(this, { changeToBeSeen: false, kept: null, hasFocus: false });
    Object.assign(this, { showing: null, ghost: null, said: null, onlyNew: false, wished: null, wasBusy: false, extent: null, lastExtent: null });
    this.view = new Viewport();
    this.theme = THEMES.light;
    this.song = model.get("song");
    this.clock = new Clock(this.song.clock);
    this.build(el);
    this.readAll();
    this.subscribe();
  }

  get(name) {
    return this.model.get(name);
  }

  build(el) {
    this.ground = make("canvas", { "aria-hidden": "true" });
    this.ink = make("canvas", { className: "ink", "aria-hidden": "true" });
    this.playhead = make("div", { className: "playhead" });
    this.roll = make("div", { className: "roll", tabIndex: 0, role: "application", "aria-label": "piano roll" }, this.ground, this.ink, this.playhead);
    this.overview = make("canvas", { className: "overview", role: "img", "aria-label": "the whole song; drag to see another part" });
    this.head = make("div", { className: "playhead" });
    this.hand = new Hand(this);
    this.player = new Player(this);
    this.more = new More(this);
    this.transport = new Transport(this);
    this.tools = new Tools(this);
    this.band = new Band(this);
    this.floating = new Floating(this);
    this.legend = new Legend(this);
    this.foot = new Foot(this);
    this.help = makeHelp(this);
    const zoomOut = button("Zoom out", () => this.zoom(0.8), { text: "−", key: "-", kind: "slim" });
    const zoomIn = button("Zoom in", () => this.zoom(1.25), { text: "+", key: "+", kind: "slim" });
    const corner = make("div", { className: "corner" }, zoomOut, zoomIn);
    this.stage = make("div", { className: "stage" }, this.roll, corner, this.floating.root, this.more.root, this.help);
    const overall = make("div", { className: "overall" }, this.overview, this.head);
    const rows = [this.transport.root, this.tools.root, this.band.root, this.stage, overall, this.foot.root];
    this.root = make("div", { className: "pomkit-studio", role: "group", "aria-label": "pomkit studio" }, ...rows);
    this.root.desk = this; // for tests
    el.append(this.root);
    this.endKeys = listenToKeys(this);
    this.listenToOverview();
    // After a click keys are the roll's, and after a choice in a list; who came by Tab stays at the button.
    const clicked = "button, input[type=checkbox]";
    this.root.addEventListener("click", (event) => event.detail && event.target.closest(clicked) && this.takeFocus());
    this.root.addEventListener("change", ({ target }) => (target.tagName === "SELECT" || target.type === "file") && this.takeFocus());
    this.root.addEventListener("pointerup", ({ target }) => target.type === "range" && setTimeout(() => this.takeFocus()));
    this.root.addEventListener("mousedown", (event) => this.holdFocus(event));
    this.root.addEventListener("focusin", () => (this.hasFocus = true));
    this.leaves = ({ target }) => (this.hasFocus &&= this.root.contains(target));
    for (const event of LEAVING) window.addEventListener(event, this.leaves, true);
  }

  /** A button that has the focus and vanishes leaves it to nobody: then keys were the notebook's. */
  keepFocus() {
    const { activeElement } = document;
    if (this.hasFocus && (!activeElement || activeElement === document.body)) this.takeFocus();
  }

  // What comes down

  subscribe() {
    const on = (names, act) => names.forEach((name) => this.model.on(`change:${name}`, act));
    on(["song", "notes", "before", "mask", "drums", "candidates", "musics"], () => this.readSoon());
    on(["mix"], () => this.readMix());
    on(["doubt"], () => this.readOdd());
    on(["takes", "settings", "dice"], () => this.update());
    on(["status"], () => this.showStatus());
    on(["live"], () => this.showLive());
    this.model.on("msg:custom", (content, buffers) => this.take(content, buffers));
    this.resized = new ResizeObserver(() => this.resize());
    this.resized.observe(this.roll);
    this.themed = new MutationObserver(() => this.update());
    this.themed.observe(document.body, { attributes: true });
  }

  /** Several traits change together: they are read once, before the next frame. */
  readSoon() {
    if (this.readPlanned) return;
    this.readPlanned = true;
    queueMicrotask(() => {
      this.readPlanned = false;
      this.readAll();
      this.update();
    });
  }

  readAll() {
    const before = this.now && this.notes();
    const [cells, now] = [this.cells, this.now];
    this.song = this.get("song");
    this.clock = new Clock(this.song.clock);
    const { width } = this.song;
    const { bits, within } = this.get("mask");
    this.now = readNotes(this.get("notes"));
    this.was = readNotes(this.get("before"));
    this.drums = readNotes(this.get("drums"));
    this.view.foot = stripHeight(this.drums);
    this.live = readNotes(this.get("live"));
    this.cells = readCells(bits, width);
    this.within = within.byteLength ? readCells(within, width) : null;
    if (!this.waiting.size) this.part = this.chosenPart();
    this.readCandidates();
    this.measureMask();
    this.readKept();
    if (this.toBeSeen && this.extent) this.showMask();
    if (this.changeToBeSeen) this.showChange(cells, now);
    this.mixAnew();
    if (this.musics !== undefined && this.musics !== this.get("musics")) this.takeOtherMusic();
    else if (before && !sameNotes(before, this.notes())) this.soundChanged();
    this.musics = this.get("musics");
    if (this.wished !== null && this.get("takes").composed > this.wished) this.hearComposed();
  }

  /** The music with each candidate; the chosen one is what is there now. */
  readCandidates() {
    const { tables, chosen } = this.get("candidates");
    this.showing = null;
    this.candidates = chosen < 0 ? [] : tables.map((table, i) => (i === chosen ? this.now : readNotes(table)));
  }

  takeOtherMusic() {
    this.player.pause();
    this.player.at = 0;
    this.loop = null;
    this.pending = [];
    this.part = "all";
    this.writes = "";
    Object.assign(this, { muted: new Set(), alone: new Set() });
    this.mixAnew();
    this.lastExtent = null;
    this.player.dropFine();
    this.fit();
  }

  /** What the model finds odd: shown when it comes, and gone with the picture that it was of. */
  readOdd() {
    const { table, busy } = this.get("doubt");
    this.odd = readDoubt(table);
    this.oddShown = busy || ((this.oddShown || this.oddAsked) && this.odd.length > 0);
    if (this.oddAsked && !this.oddShown) this.toBeSeen = false;
    const goesOn = busy && this.oddAsked;
    this.oddAsked = busy;
    if (!goesOn) return this.update();
    this.tools.tellOdd();
    this.legend.update();
    this.foot.tell();
  }

  /** Whether the model is asked what it finds odd, or will be when the kernel is free. */
  looksForOdd() {
    return this.get("doubt").busy || (this.oddShown && !this.odd.length);
  }

  stopOdd() {
    this.send({ do: "stop doubt" });
  }

  /** The doubt of the notes that are shown. */
  oddNotes() {
    return this.oddShown && this.notes() === this.now ? this.odd : [];
  }

  /** Show what the model finds odd, which the kernel knows or finds out, or hide it. */
  toggleOdd() {
    const { obstacle, busy } = this.get("doubt");
    if (obstacle) return this.say(obstacle, true);
    if (busy) return this.stopOdd();
    this.oddShown = !this.oddShown;
    if (this.oddShown && !this.odd.length) this.send({ do: "doubt", mark: false });
    this.update();
  }

  markOddest() {
    const { obstacle, busy } = this.get("doubt");
    if (obstacle) return this.say(obstacle, true);
    if (busy) return;
    this.toBeSeen = true;
    this.send({ do: "doubt", mark: true });
  }

  /** Which parts are heard, as the kernel has it. */
  readMix() {
    if (this.waiting.size) return;
    const { muted, alone } = this.get("mix");
    Object.assign(this, { muted: new Set(muted), alone: new Set(alone) });
    this.mixAnew();
    this.soundChanged();
    this.draw();
    this.update();
  }

  /** Other notes are shown, so others sound. */
  soundChanged() {
    if (this.fineWished && !this.get("status").busy) this.askFine();
    else this.player.refresh();
  }

  /** A message of the kernel to this page. */
  take(content, buffers) {
    if (content.do === "play") this.listen(content.what);
    if (content.do === "silence") this.player.pause();
    if (content.view !== this.id) return;
    if (content.do === "file") this.download(content.name, buffers[0]);
    if (content.do === "fine") this.player.takeFine(buffers[0]);
    if (content.do !== "done") return;
    for (const number of [...this.waiting.keys()]) if (number <= content.n) this.waiting.delete(number);
    const { length } = this.pending;
    this.pending = this.pending.filter((each) => each.n > content.n);
    this.settle();
    this.foot.tell();

    // The answer to a ping changes nothing that is drawn: the pointer may be drawing just now.
    const part = this.waiting.size ? this.part : this.chosenPart();
    if (this.pending.length === length && part === this.part) return;
    this.part = part;
    this.update();
  }

  /** The part that a selection is cut to, as the kernel has it. */
  chosenPart() {
    return this.get("mask").part ?? "all";
  }

  /** Take back, or do again. */
  travel(way) {
    this.send({ do: way });
  }

  /** Show a kept take. */
  go(place) {
    this.send({ do: "go", place });
  }

  save(suffix, heard = false) {
    this.send({ do: "save", suffix, heard });
  }

  /** All controls of settings. */
  settings() {
    return [...this.tools.settings, ...this.more.settings];
  }

  download(name, bytes) {
    const url = URL.createObjectURL(new Blob([bytes]));
    const link = make("a", { href: url, download: name });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(url), 60000);
  }

  // What goes up

  /** Send a message; its number is given back. */
  send(content, buffers) {
    if (RENEWS.includes(content.do)) {
      this.said = null;
      this.changeToBeSeen = TRAVELS.includes(content.do);
    }
    const n = ++this.sent;
    this.waiting.set(n, performance.now());
    this.model.send({ ...content, view: this.id, n }, undefined, buffers);
    setTimeout(() => this.foot.tell(), SLOW + 50);
    return n;
  }

  /** Ask whether the kernel answers. */
  ping() {
    if (!this.waiting.size) this.send({ do: "ping" });
  }

  isKernelBusy() {
    const [oldest] = this.waiting.values();
    return oldest !== undefined && performance.now() - oldest > SLOW;
  }

  /** Send a gesture and show until the answer what it will do. */
  gesture({ tool, path, erase = false, draft = null }) {
    const gesture = { tool, path, erase, radius: this.radius };
    const marks = !["pencil", "length"].includes(tool);
    const region = marks ? regionOf(this, gesture) : null;
    const n = this.send({ do: "gesture", ...gesture, part: this.writes });
    this.pending.push({ n, region, erase, draft });
    this.said = null;
    this.measureMask();
    if (this.extent && marks && !this.player.playing) this.player.at = this.barBeforeMask();
    this.update();
  }

  compose() {
    if (this.hand.open.length && this.hand.closePolygon() && this.onRelease) return;
    if (!this.extent) return this.say(this.get("status").obstacle || "nothing is marked; paint over what shall be new", true);
    this.wished = this.get("takes").composed;
    this.said = null;
    this.player.synth.context.resume();
    this.setAside(false);
    this.send({ do: "compose" });
  }

  toggleOnRelease() {
    this.onRelease = !this.onRelease;
    this.say(this.onRelease ? "every stroke that ends is composed" : "strokes are composed when you say so");
  }

  /** A stroke has ended: where that is wished it is composed; what was under way had a smaller mask. */
  release() {
    if (!this.onRelease || !this.extent) return;
    if (this.wished === null && !this.get("status").busy) return this.compose();
    this.again = true;
    this.send({ do: "stop" });
  }

  /** When nothing is composed any more it was stopped, or is heard in a moment; the next one may begin. */
  settle() {
    const isDone = () => !this.get("status").busy && !this.waiting.size;
    if (!isDone()) return;
    setTimeout(() => {
      if (!isDone()) return;
      this.wished = null;
      if (this.again && this.extent) this.compose();
      this.again = false;
    });
  }

  /** After composing it plays by itself, from one bar before the mask to one after it. */
  hearComposed() {
    this.wished = null;
    if (this.loopWished) this.setLoop(this.loopRange(this.region()));
    this.hearRegion();
  }

  /** Play what was composed, with one bar before and one after it; the roll stays there. */
  hearRegion() {
    const region = this.region();
    if (!region) return this.player.play(this.player.position());
    const [from, to] = this.loopRange(region);
    const until = this.barAround(to)[1];
    this.showRegion();
    if (this.fineWished) this.askFine(from, until);
    else this.player.play(from, until);
  }

  /** Scroll to what was composed, with a bar before and after it where there is room. */
  showRegion() {
    const region = this.region();
    if (!region) return;
    const [from, to] = this.loopRange(region);
    this.look(from, this.barAround(to)[1], [region.first, region.last]);
  }

  /** The steps that the candidates on show were composed for, else those that are or were marked. */
  region() {
    const { start, stop } = this.get("candidates");
    return this.offers() ? { first: start, last: stop } : (this.extent ?? this.lastExtent);
  }

  choice() {
    return this.showing ?? Math.max(this.get("candidates").chosen, 0);
  }

  /** The next candidate, or the one before: seen and heard at once. */
  turn(by) {
    const count = this.offers();
    if (!count) return;
    this.aside = false;
    this.ghost = null;
    this.showing = (this.choice() + by + count) % count;
    this.send({ do: "choose", number: this.showing });
    this.hearChoice();
    this.update();
  }

  /** A choice is heard: it plays on where the new notes are, else from one bar before them. */
  hearChoice() {
    if (this.playsRegion()) this.soundChanged();
    else this.hearRegion();
  }

  /** Whether what sounds now is what was composed, or the bar before it. */
  playsRegion() {
    const { player } = this;
    const [from, to] = this.loopRange(this.region());
    const at = player.position();
    return player.playing && at >= from && at < to;
  }

  /** The music before, or after again; where it plays elsewhere it goes back to what has changed. */
  compare() {
    this.setAside(!this.aside);
    if (this.player.playing && !this.playsRegion()) this.hearRegion();
  }

  /** Be content: nothing is marked any more, and the candidates are no longer offered. */
  keep() {
    this.kept = { take: this.takeOnShow(), isSeen: false };
    this.send({ do: "mark", words: "clear" });
    this.say("kept; undo marks it again");
  }

  takeOnShow() {
    const { place, composed } = this.get("takes");
    return [place, composed].join();
  }

  /** What was kept is offered again when its mask comes back, or another take. */
  readKept() {
    const { start, stop } = this.get("candidates");
    const isTheirs = this.extent?.first === start && this.extent.last === stop;
    if (!this.kept) return;
    if (!this.extent) this.kept.isSeen = true;
    if (this.kept.take !== this.takeOnShow() || (this.kept.isSeen && isTheirs)) this.kept = null;
  }

  /** Candidates are offered as long as their take is on show and was not kept, whatever is marked. */
  offers() {
    return this.kept ? 0 : this.candidates.length;
  }

  /** Play, as Python's `listen` wishes. */
  listen(what) {
    this.onlyNew = what === "new";
    this.setAside(what === "before");
    const { listen } = this.get("mask");
    this.player.play(listen < 0 ? this.player.position() : listen);
    this.update();
  }

  toggleOnlyNew() {
    this.onlyNew = !this.onlyNew;
    this.soundChanged();
    this.update();
  }

  /** The notes that sound, by their onsets: those that are seen and the drums, or the new ones alone. */
  heard() {
    const made = [this.notes(), this.drums, this.onlyNew, this.hearing];
    if (this.score?.made.some((each, i) => each !== made[i]) ?? true) {
      const all = this.onlyNew ? made[0].filter((note) => note.fresh) : [...made[0], ...this.drums];
      const notes = all.filter((note) => this.hears(note.part)).sort((a, b) => a.onset - b.onset);
      this.score = { made, notes };
    }
    return this.score.notes;
  }

  /** Whether a part is heard, by its number. */
  hears(part) {
    return this.hearing[part] ?? true;
  }

  mixAnew() {
    const { muted, alone } = this;
    this.hearing = this.song.parts.map(({ name }) => (alone.size ? alone.has(name) : !muted.has(name)));
  }

  toggleMuted(name) {
    this.toggleIn(this.muted, name);
  }

  toggleAlone(name) {
    this.toggleIn(this.alone, name);
  }

  /** Put a part into a set of parts, or take it out: it is heard at once, and the kernel is told. */
  toggleIn(parts, name) {
    if (!parts.delete(name)) parts.add(name);
    this.send({ do: "mix", muted: [...this.muted], alone: [...this.alone] });
    this.mixAnew();
    this.soundChanged();
    this.update();
  }

  /** The part that the pencil writes; the same one again: the chosen part, or else the nearest. */
  setWrites(name) {
    this.writes = name === this.writes ? "" : name;
    if (this.writes) this.setTool("pencil");
    this.update();
  }

  // What is shown

  /** The notes that are seen and heard. */
  notes() {
    if (this.aside) return this.was;
    if (this.live.length) return this.live;
    return this.candidates[this.showing] ?? this.now;
  }

  shownCells() {
    const { held, region, erases, kind } = this.hand;
    const drags = held && kind !== "pencil" && kind !== "loop";
    const changes = drags ? [...this.pending, { region, erase: erases }] : this.pending;
    if (!changes.length) return this.cells;
    const { length } = this.cells;
    if (this.preview?.length !== length) this.preview = new Uint8Array(length);
    const cells = this.preview;
    cells.set(this.cells);
    for (const change of changes) {
      if (change.region?.length === cells.length) paint(cells, change, this.within);
    }
    return cells;
  }

  draftNotes() {
    const { hand } = this;
    const drafts = this.pending.map((each) => each.draft);
    if (hand.held && hand.kind === "pencil") drafts.push(hand.draft());
    return drafts.filter(Boolean);
  }

  /** Which steps and pitches the mask spans. */
  measureMask() {
    const { width } = this.song;
    const cells = this.shownCells();
    this.marked = new Uint8Array(width);
    let [low, high] = [PITCHES, -1];
    for (let i = 0; i < cells.length; i++) {
      if (!cells[i]) continue;
      const pitch = PITCHES - 1 - Math.floor(i / width);
      this.marked[i % width] = 1;
      low = Math.min(low, pitch);
      high = Math.max(high, pitch);
    }
    const first = this.marked.indexOf(1);
    this.extent = first < 0 ? null : { first, last: this.marked.lastIndexOf(1) + 1, low, high };
    this.lastExtent = this.extent ?? this.lastExtent;
  }

  markedSteps() {
    return this.marked;
  }

  noteAt(step, pitch) {
    const covers = (note) => note.pitch === Math.round(pitch) && note.onset <= step + 0.5 && step + 0.5 < note.end;
    return this.notes().filter(covers).pop() ?? null;
  }

  /** The bar lines before and after a step. */
  barAround(step) {
    const { bars, width } = this.song;
    const after = bars.findIndex((bar) => bar > step);
    const i = (after < 0 ? bars.length : after) - 1;
    return [bars[Math.max(i, 0)] ?? 0, bars[i + 1] ?? width];
  }

  barAndBeat(step) {
    const { bars, beats } = this.song;
    const [from] = this.barAround(Math.max(step, 0));
    const beat = beats.filter((each) => each >= from && each <= Math.max(step, 0) + 0.01).length;
    return `${bars.indexOf(from) + 1}:${Math.max(beat, 1)}`;
  }

  barBeforeMask() {
    const box = this.extent ?? this.lastExtent;
    return box ? this.loopRange(box)[0] : 0;
  }

  /** The bars of what is marked, or of other steps, and the bar before them. */
  loopRange(box = this.extent ?? this.lastExtent) {
    if (!box) return [0, this.song.width];
    return [this.barAround(this.barAround(box.first)[0] - 1)[0], this.barAround(box.last - 1)[1]];
  }

  brushes() {
    return this.tool === "brush" || this.tool === "erase";
  }

  // What a person does that the kernel need not know

  setTool(name) {
    this.tool = name;
    this.hand.open = [];
    this.update();
  }

  setRadius(radius) {
    this.radius = clamp(radius, 1, 12);
    this.update();
  }

  setPart(name) {
    this.part = name === this.part || !this.parts().includes(name) ? "all" : name;
    this.send({ do: "part", name: this.part });
    this.update();
  }

  /** The parts that a selection can be cut to. */
  parts() {
    return this.get("mask").parts;
  }

  setColours(paper) {
    this.paperColours = paper;
    this.update();
  }

  setAside(aside) {
    if (aside === this.aside) return;
    this.aside = aside;
    this.soundChanged();
    this.update();
  }

  setGhost(by) {
    const count = this.offers();
    const ghost = by && count > 1 ? this.candidates[(this.choice() + by + count) % count] : null;
    if (ghost === this.ghost) return;
    this.ghost = ghost;
    this.drawInk();
  }

  setLoop(range) {
    this.loop = range;
    this.loopWished = range !== null;
    if (range && this.player.playing) this.player.play(range[0]);
    else if (range) this.player.at = range[0];
    this.update();
  }

  toggleLoop() {
    this.setLoop(this.loop ? null : this.loopRange());
  }

  toggleFine() {
    this.fineWished = !this.fineWished;
    if (this.fineWished) this.askFine();
    else this.player.dropFine();
    this.update();
  }

  /** Ask the kernel for FluidSynth's sound; where it plays, or from a step on, that goes on with it. */
  askFine(from, until = null) {
    const { player } = this;
    const here = player.playing ? [player.position(), player.until] : null;
    player.wanted = from === undefined ? here : [from, until];
    this.send({ do: "fine", what: this.aside ? "before" : this.onlyNew ? "new" : "now" });
  }

  goTo(step) {
    this.player.seek(step);
    const { view } = this;
    if (step < view.left || step >= view.right) view.scroll(step - view.left - 8, this.song.width);
    this.update();
  }

  goBar(by) {
    const [from, to] = this.barAround(this.player.position());
    this.goTo(by > 0 ? Math.min(to, this.song.width - 1) : this.barAround(from - 1)[0]);
  }

  /** Mark the bar at the playhead, or take the one before out: marking without a mouse. */
  markBar(by) {
    const at = this.player.position();
    const bar = by > 0 ? this.barAround(at) : this.barAround(this.barAround(at)[0] - 1);
    const path = [[bar[0], 60], [bar[1] - 1, 60]];
    this.gesture({ tool: "bars", path, erase: by < 0 });
    this.player.seek(by > 0 ? Math.min(bar[1], this.song.width - 1) : bar[0]);
    this.look(this.extent?.first ?? bar[0], bar[1], bar);
  }

  shift(pitches) {
    this.view.shift(pitches);
    this.draw();
  }

  zoom(factor) {
    this.view.zoomAt(this.hand.over ? this.hand.x : this.view.width / 2, factor, this.song.width);
    this.draw();
  }

  toggleMore() {
    this.help.hidden = true;
    this.more.root.hidden = !this.more.root.hidden;
    this.update();
  }

  toggleHelp() {
    this.more.root.hidden = true;
    this.help.hidden = !this.help.hidden;
    if (!this.help.hidden) this.help.querySelector("button").focus();
  }

  /** The nearest thing that can be closed, stopped or dropped. */
  escape() {
    if (this.hand.open.length || this.hand.held) return this.hand.drop();
    if (!this.help.hidden || !this.more.root.hidden) {
      this.help.hidden = this.more.root.hidden = true;
      return this.takeFocus();
    }
    if (this.get("status").busy) return this.send({ do: "stop" });
    if (this.get("doubt").busy) return this.stopOdd();
    if (this.extent) this.send({ do: "mark", words: "clear" });
  }

  say(text, wrong = false) {
    this.said = { text, wrong };
    this.update();
  }

  takeFocus() {
    this.roll.focus({ preventScroll: true });
  }

  /** How far it is; what is composed should be seen. */
  showStatus() {
    const { busy } = this.get("status");
    this.floating.update();
    const { message } = this.get("status");
    if (message && message !== this.told) this.said = null;
    this.told = message;
    this.foot.tell();
    if (busy === this.wasBusy) return;
    this.wasBusy = busy;
    this.settle();
    if (busy) this.showMask();
    this.update();
  }

  /** Scroll to where the mask begins, if that is not in sight. */
  showMask() {
    this.toBeSeen = false;
    const { view, extent } = this;
    if (!extent || (extent.first >= view.left && extent.first < view.right - 2)) return;
    view.scroll(this.barAround(extent.first)[0] - view.left - 8, this.song.width);
  }

  /** Scroll no further than it takes to see some steps; where all have no room, those of `first` of all. */
  look(from, to, first = this.barAround(from)) {
    const { view, song } = this;
    const room = view.right - view.left;
    const [begin, end] = to - from <= room ? [from, to] : first;
    const beyond = Math.max(end - view.right, 0);
    const by = begin < view.left ? begin - view.left : Math.min(beyond, begin - view.left);
    if (by) view.scroll(by, song.width);
    this.draw();
  }

  /** Scroll to what undo or another take has changed: the mask that is there now, else notes and cells. */
  showChange(cells, notes) {
    const { width } = this.song;
    const steps = [];
    const places = (table) => new Set(table.map(({ onset, duration, pitch, part }) => [onset, duration, pitch, part].join()));
    const [old, now] = [places(notes), places(this.now)];
    for (const each of [...old, ...now]) if (old.has(each) !== now.has(each)) steps.push(Number(each.split(",")[0]));
    if (cells.length === this.cells.length) {
      this.cells.forEach((cell, i) => cell !== cells[i] && steps.push(i % width));
    }
    if (!steps.length) return;
    this.changeToBeSeen = false;
    const first = steps.reduce((least, step) => Math.min(least, step));
    const last = steps.reduce((most, step) => Math.max(most, step));
    this.look(this.barAround(first)[0], this.barAround(last)[1]);
  }

  /** The picture while it is composed. */
  showLive() {
    this.live = readNotes(this.get("live"));
    this.draw();
  }

  /** A press beside buttons and fields keeps the focus: the notebook would take it. */
  holdFocus(event) {
    if (event.target.closest("button, input, select, label, .roll")) return;
    event.stopPropagation();
    // These scroll where they are dragged.
    if (!event.target.closest(".takes, .band, .sheet")) event.preventDefault();
    setTimeout(() => this.takeFocus());
  }

  listenToOverview() {
    const go = (event) => {
      const { view, song, overview } = this;
      const step = (event.offsetX / overview.clientWidth) * song.width;
      view.scroll(step - (view.left + view.right) / 2, song.width);
      this.following = false;
      this.draw();
    };
    this.overview.addEventListener("pointerdown", (event) => {
      this.overview.setPointerCapture(event.pointerId);
      this.takeFocus();
      go(event);
    });
    this.overview.addEventListener("pointermove", (event) => event.buttons && go(event));
  }

  // Drawing

  /** The pitches in use and some around them, three octaves at least. */
  pitchesInUse() {
    const { low, high } = this.song;
    const around = Math.max(Math.ceil((36 - high + low) / 2), 3);
    return [Math.max(low - around, LOWEST), Math.min(high + around, HIGHEST)];
  }

  /** Show the pitches in use and eight bars; a wide panel shows more. */
  fit() {
    const { view, song } = this;
    [view.low, view.high] = this.pitchesInUse();
    const bar = song.bars.length > 1 ? (song.bars[song.bars.length - 1] - song.bars[0]) / (song.bars.length - 1) : 16;
    view.zoom = (Math.min(view.width, 900) - KEYS_WIDTH) / Math.min(8 * bar, song.width);
    view.left = 0;
  }

  resize() {
    const { view, roll } = this;
    if (!roll.clientWidth) return;
    view.width = roll.clientWidth;
    view.height = roll.clientHeight;
    if (!this.fitted) this.fit();
    this.fitted = true;
    view.scroll(0, this.song.width);
    this.renderAll();
  }

  /** Draw all before the next frame. */
  draw() {
    this.plan("all");
  }

  update() {
    this.plan("panels");
  }

  drawInk() {
    this.plan("ink");
  }

  plan(what) {
    this.planned ??= new Set();
    if (!this.planned.size) requestAnimationFrame(() => this.render());
    this.planned.add(what);
  }

  render() {
    const { planned } = this;
    this.planned = new Set();
    if (planned.has("panels")) return this.renderAll();
    if (!planned.has("all")) return drawInk(this);
    this.renderRoll();
    this.floating.place();
  }

  renderRoll() {
    drawGround(this);
    drawInk(this);
    drawOverview(this);
    this.placePlayhead();
  }

  renderAll() {
    this.theme = isDark() ? THEMES.dark : THEMES.light;
    mark(this.root, "data-theme", isDark() ? "dark" : "light");
    this.view.ratio = window.devicePixelRatio || 1;
    this.measureMask();
    for (const panel of [this.transport, this.tools, this.band, this.more, this.legend, this.foot]) panel.update();
    const label = `piano roll of ${this.song.title}; marked: ${this.get("mask").words}`;
    mark(this.roll, "aria-label", label);
    this.keepFocus();
    if (!this.fitted) return;
    this.renderRoll();
    this.floating.update();
    if (this.player.playing) this.tick();
  }

  /** While it plays: the playhead of every frame; the roll follows it. */
  tick() {
    if (this.ticking) return;
    this.ticking = true;
    const frame = () => {
      this.ticking = this.player.playing && this.root.isConnected;
      if (this.ticking) requestAnimationFrame(frame);
      this.placePlayhead();
      this.transport.tick();
    };
    requestAnimationFrame(frame);
  }

  placePlayhead() {
    const { view, song, player } = this;
    const at = player.position();
    const away = at < view.left || at > view.right - 2;
    if (player.playing && this.following && away && !this.hand.held && !this.isRegionInSight()) {
      view.scroll(at - view.left - 4, song.width);
      this.draw();
    }
    const x = view.across(at);
    this.playhead.style.transform = `translateX(${x}px)`;
    put(this.playhead, "hidden", x < KEYS_WIDTH || x > view.width);
    this.head.style.transform = `translateX(${(at / song.width) * this.overview.clientWidth}px)`;
  }

  /** Whether it plays a region by itself, all of which is in sight: then the roll stays. */
  isRegionInSight() {
    const { view, player } = this;
    const box = player.until === null ? null : this.region();
    return box !== null && box.first >= view.left && box.last <= view.right;
  }

  close() {
    clearTimeout(this.hand.asking);
    this.endKeys();
    this.player.close();
    this.resized.disconnect();
    this.themed.disconnect();
    for (const event of LEAVING) window.removeEventListener(event, this.leaves, true);
  }
}

function render({ model, el }) {
  const desk = new Desk(model, el);
  return () => desk.close();
}

export default { render };
