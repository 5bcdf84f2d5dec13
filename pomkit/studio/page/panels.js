// --------------------------------------------------------------------------------------------------- the panels

const TOOLS = [
  ["brush", "brush: paint freely", "1"],
  ["box", "box: from corner to corner", "2"],
  ["lasso", "lasso: drag round, or click corners and Enter", "3"],
  ["pencil", "pencil: write notes, drag them, drag their edges; double click deletes", "4"],
  ["erase", "erase: take out of the mask; so does a right drag, or Alt with any tool", "5"],
];
const DOWNLOADS = [
  ["", "Save as ..."],
  [".mid", "MIDI"],
  [".wav", "sound, WAV"],
  ["heard.wav", "sound of the parts that are heard, WAV"],
  [".png", "picture, PNG"],
  [".mask.png", "picture with mask, PNG"],
  [".npz", "studio, to open again"],
];
const OPENED = ".mid,.midi,.png,.jpg,.jpeg,.gif,.bmp,.webp,.npz";

const pressed = (element, on) => mark(element, "aria-pressed", on);

/** One line: play, loop, where, title with the tempo, undo, files, help. */
class Transport {
  constructor(desk) {
    this.desk = desk;
    this.play = button("Play", () => desk.player.toggle(), { icon: "play", text: "Play", key: "Space", kind: "wide" });
    this.loop = button("Loop", () => desk.toggleLoop(), { icon: "loop", text: "Loop", key: "L" });
    this.where = make("output", { className: "where", "aria-label": "playhead" });
    this.title = make("span", { className: "title" });
    this.undo = button("Undo", () => desk.travel("undo"), { icon: "undo", key: "Ctrl+Z" });
    this.redo = button("Redo", () => desk.travel("redo"), { icon: "redo", key: "Ctrl+Shift+Z" });
    this.file = make("input", { type: "file", accept: OPENED, hidden: true, "aria-label": "file to open" });
    this.file.addEventListener("change", () => this.sendFile());
    const open = button("Open a file", () => this.file.click(), { text: "Open" });
    this.save = make("select", { title: "Save as ...; W saves as MIDI at once", "aria-label": "Save as" });
    for (const [value, text] of DOWNLOADS) this.save.append(make("option", { value, textContent: text }));
    this.save.addEventListener("change", () => this.sendSave());
    const help = button("Keys", () => desk.toggleHelp(), { text: "?", key: "?" });
    const left = [this.play, this.loop, this.where];
    const right = [this.undo, this.redo, open, this.save, help, this.file];
    this.root = make("div", { className: "line", role: "toolbar", "aria-label": "transport" }, ...left, this.title, ...right);
  }

  async sendFile() {
    const [file] = this.file.files;
    if (!file) return;
    const bytes = await file.arrayBuffer();
    this.file.value = "";
    this.desk.send({ do: "open", name: file.name }, [bytes]);
  }

  sendSave() {
    const [, heard, suffix] = this.save.value.match(/^(heard)?(.*)$/);
    if (suffix) this.desk.save(suffix, Boolean(heard));
    this.save.value = "";
  }

  update() {
    const { desk } = this;
    const word = desk.player.playing ? "Pause" : "Play";
    if (this.word !== word) {
      this.word = word;
      this.play.replaceChildren(icon(word.toLowerCase()), make("span", { textContent: word }));
      this.play.setAttribute("aria-label", word);
    }
    pressed(this.loop, desk.loop !== null);
    put(this.title, "textContent", desk.song.title);
    put(this.title, "title", desk.song.title);
    put(this.undo, "disabled", !desk.get("mask").undo);
    put(this.redo, "disabled", !desk.get("mask").redo);
    this.tick();
  }

  tick() {
    put(this.where, "textContent", `bar ${this.desk.barAndBeat(this.desk.player.position())}`);
  }
}

/** One line: tools, parts, Busy-ness, Wildness, More. */
class Tools {
  constructor(desk) {
    this.desk = desk;
    this.tools = TOOLS.map(([name, tip, key]) => {
      const made = button(name, () => desk.setTool(name), { icon: name, key });
      made.title = `${tip} (${key})`;
      made.dataset.tool = name;
      return made;
    });
    const smaller = button("Smaller brush", () => desk.setRadius(desk.radius - 1), { text: "−", key: "[", kind: "slim" });
    const bigger = button("Bigger brush", () => desk.setRadius(desk.radius + 1), { text: "+", key: "]", kind: "slim" });
    this.size = make("span", { className: "size", title: "the brush's radius, in cells" });
    this.brush = make("span", { className: "group brush", role: "group", "aria-label": "brush size" }, smaller, this.size, bigger);
    this.odd = button("Show what the model finds odd", () => desk.toggleOdd(), { text: "odd?", key: "O", kind: "chip" });
    this.parts = make("span", { className: "group", role: "group", "aria-label": "what of the selection is composed" });
    this.settings = primary(desk, true).map((spec) => new Setting(desk, spec));
    this.more = button("More settings", () => desk.toggleMore(), { text: "More", icon: "more" });
    const tools = make("span", { className: "group", role: "group", "aria-label": "tools" }, ...this.tools);
    const settings = make("span", { className: "group settings" }, ...this.settings.map((each) => each.root), this.more);
    const asked = make("span", { className: "group" }, this.parts, this.odd);
    this.root = make("div", { className: "line", role: "toolbar", "aria-label": "tools" }, tools, this.brush, asked, settings);
  }

  update() {
    const { desk } = this;
    for (const made of this.tools) pressed(made, made.dataset.tool === desk.tool);
    put(this.size, "textContent", String(desk.radius));
    this.brush.classList.toggle("unused", !desk.brushes());
    this.updateParts();
    this.tellOdd();
    for (const setting of this.settings) setting.update();
    mark(this.more, "aria-expanded", !desk.more.root.hidden);
  }

  /** The button of doubt fills while the model is asked. */
  tellOdd() {
    const { obstacle, busy, share } = this.desk.get("doubt");
    put(this.odd, "disabled", obstacle !== "");
    put(this.odd, "title", obstacle || (busy ? "Stop asking the model (O)" : "Show what the model finds odd (O)"));
    pressed(this.odd, this.desk.oddShown);
    mark(this.odd, "aria-busy", busy);
    this.odd.style.setProperty("--done", `${100 * share}%`);
  }

  /** Chips for the parts that every song has; those of this one have a line of their own. */
  updateParts() {
    const { desk } = this;
    const chips = ["all", ...desk.parts().slice(0, 2)];
    if (this.names !== chips.join("|")) {
      this.names = chips.join("|");
      const chip = (name) => button(name, () => desk.setPart(name), { text: SHORT[name] ?? name, key: PART_KEYS[name], kind: "chip" });
      this.parts.replaceChildren(...chips.map(chip));
    }
    [...this.parts.children].forEach((made, i) => pressed(made, chips[i] === desk.part));
  }
}

const SHORT = { accompaniment: "accomp." };
const PART_KEYS = { melody: "M", accompaniment: "A" };

/** The settings that are wished often, or the others; the session says which. */
const primary = (desk, isWished) => desk.get("settings").filter((spec) => spec.primary === isWished);
const MOST_ON_A_SLIDER = 1000;

/** A control of one of the session's settings: a slider, a number, a menu or a check box. */
class Setting {
  constructor(desk, spec) {
    Object.assign(this, { desk, name: spec.name });
    this.kind = { bool: "checkbox", text: "menu" }[spec.kind] ?? (spec.high > MOST_ON_A_SLIDER ? "number" : "range");
    this.input = this.kind === "menu" ? make("select") : make("input", { type: this.kind });
    this.input.dataset.setting = spec.name;
    const isNumber = ["range", "number"].includes(this.kind);
    if (isNumber) Object.assign(this.input, { min: spec.low, max: spec.high, step: spec.kind === "float" ? 0.1 : 1 });
    this.input.addEventListener("input", () => this.tell());
    this.input.addEventListener("change", () => this.desk.send({ do: "set", name: this.name, value: this.value() }));
    this.shown = make("output", { className: "value" });
    this.root = make("label", { className: `setting ${spec.name}`, title: spec.tip });
    this.root.append(make("span", { className: "name", textContent: spec.label }), this.input);
    if (this.kind === "range") this.root.append(this.shown);
  }

  value() {
    if (this.kind === "checkbox") return this.input.checked;
    return this.kind === "menu" ? this.input.value : Number(this.input.value);
  }

  /** Whether a person has typed what the session does not know yet: that the field itself takes back. */
  isTyped() {
    return this.kind === "number" && this.input.value !== String(this.spec().value);
  }

  spec() {
    return this.desk.get("settings").find((each) => each.name === this.name);
  }

  /** The number beside a slider; "auto" leaves it to the model. */
  tell() {
    if (this.kind !== "range") return;
    const value = this.value();
    put(this.shown, "textContent", value === this.spec().learned ? "auto" : String(value));
  }

  update() {
    const spec = this.spec();
    put(this.input, "disabled", !spec.known);
    if (this.kind === "menu") this.updateMenu(spec);
    if (this.kind === "checkbox") put(this.input, "checked", spec.value);
    else if (this.input !== document.activeElement || this.kind === "menu") put(this.input, "value", String(spec.value));
    this.tell();
  }

  updateMenu({ choices }) {
    if (this.choices === choices.join()) return;
    this.choices = choices.join();
    const option = (word) => make("option", { textContent: word || "the song's", value: word });
    this.input.replaceChildren(...choices.map(option));
  }
}

const PRESETS = ["melody", "accompaniment", "continuation", "loop middle", "chords", "all", "invert", "clear"];

/** All other settings, with the paper's names, and the colours. */
class More {
  constructor(desk) {
    this.desk = desk;
    this.settings = primary(desk, false).map((spec) => new Setting(desk, spec));
    this.dice = make("input", { type: "checkbox", "data-setting": "dice" });
    this.dice.addEventListener("change", () => desk.send({ do: "dice", value: this.dice.checked }));
    const colours = menu([["calm", "calm"], ["picture", "red and green"]], (value) => desk.setColours(value === "picture"));
    this.marks = menu(["mark ...", ...PRESETS].map((word, i) => [i ? word : "", word]), (words) => this.mark(words));
    this.fine = button("Fine sound", () => desk.toggleFine(), { text: "fine sound", key: "F" });
    this.fine.title = "Fine sound (F): the kernel plays the song with a soundfont; else the page plays at once";
    this.onlyNew = button("Only the new notes", () => desk.toggleOnlyNew(), { text: "only new notes", key: "N" });
    this.onRelease = button("Compose on release", () => desk.toggleOnRelease(), { text: "compose on release", key: "R" });
    this.onRelease.title = "Compose on release (R): every stroke that marks something is composed when it ends";
    this.empty = button("Delete the notes in the mask", () => desk.send({ do: "empty" }), { text: "delete marked notes", key: "Delete" });
    const label = (text, input) => make("label", { className: "setting" }, make("span", { className: "name", textContent: text }), input);
    const settings = this.settings.map((each) => each.root);
    const others = [label("new seed each time", this.dice), label("colours", colours), label("preset", this.marks)];
    const buttons = make("div", { className: "buttons" }, this.onRelease, this.fine, this.onlyNew, this.empty);
    this.root = make("div", { className: "sheet more", role: "group", "aria-label": "more settings", hidden: true }, ...settings, ...others, buttons);
  }

  mark(words) {
    if (words) this.desk.send({ do: "mark", words });
    this.marks.value = "";
  }

  update() {
    if (this.root.hidden) return;
    for (const setting of this.settings) setting.update();
    put(this.dice, "checked", this.desk.get("dice"));
    pressed(this.fine, this.desk.fineWished);
    pressed(this.onlyNew, this.desk.onlyNew);
    pressed(this.onRelease, this.desk.onRelease);
  }
}

/** A menu of [value, text] pairs. */
function menu(choices, act) {
  const made = make("select");
  made.append(...choices.map(([value, textContent]) => make("option", { value, textContent })));
  made.addEventListener("change", () => act(made.value));
  return made;
}

/** The bar that floats at the mask: compose, go through the candidates, compare, keep. */
class Floating {
  constructor(desk) {
    this.desk = desk;
    this.compose = button("Compose", () => desk.compose(), { text: "Compose", key: "C", kind: "primary" });
    this.stop = button("Stop", () => desk.send({ do: "stop" }), { text: "Stop", key: "Esc", kind: "primary" });
    this.progress = make("progress", { max: 1, "aria-label": "composed so far" });
    this.back = button("Candidate before", () => desk.turn(-1), { icon: "left", key: "," });
    this.number = make("output", { className: "number" });
    this.next = button("Next candidate", () => desk.turn(+1), { icon: "right", key: "." });
    this.aside = button("Before / after", () => desk.compare(), { text: "before/after", key: "\\" });
    this.keep = button("Keep", () => desk.keep(), { text: "Keep", key: "K" });
    for (const [made, by] of [[this.back, -1], [this.next, 1]]) {
      // A button that comes to lie under a resting pointer is not meant.
      made.addEventListener("pointermove", (event) => (event.movementX || event.movementY) && desk.setGhost(by));
      made.addEventListener("pointerleave", () => desk.setGhost(0));
    }
    const choice = [this.back, this.number, this.next, this.aside, this.keep];
    this.choice = make("span", { className: "group" }, ...choice);
    this.root = make("div", { className: "floating", role: "toolbar", "aria-label": "compose" }, this.compose, this.stop, this.progress, this.choice);
    this.root.addEventListener("pointerleave", () => this.place(false));
    this.at = [0, 0];
  }

  update() {
    const { desk } = this;
    const { busy, share } = desk.get("status");
    const count = desk.offers();
    const { extent } = desk;
    put(this.root, "hidden", !busy && !extent && !count);
    put(this.compose, "hidden", busy);
    put(this.compose, "disabled", !extent);
    put(this.stop, "hidden", !busy);
    put(this.progress, "hidden", !busy);
    put(this.progress, "value", share);
    put(this.choice, "hidden", busy || !count);
    put(this.number, "textContent", `${desk.choice() + 1} of ${count}`);
    pressed(this.aside, desk.aside);
    this.root.classList.toggle("away", desk.hand.held);

    // Its size is asked for only where it may have changed: that lays out the page.
    const look = [this.root.hidden, busy, count, desk.view.width].join();
    if (this.look !== look) this.size = [this.root.offsetWidth, this.root.offsetHeight];
    this.look = look;
    this.place();
  }

  /**
   * Under the mask where there is room, else at the foot of the roll. While the pointer rests on it, it stays: its
   * buttons are looked for where they were.
   */
  place(isHeld = this.root.matches(":hover")) {
    if (this.root.hidden) return;
    const { view, extent, lastExtent } = this.desk;
    const [width, height] = this.size;
    const box = extent ?? lastExtent;
    const middle = box ? (view.across(box.first) + view.across(box.last)) / 2 : view.width / 2;
    const below = box ? view.down(box.low - 1) + 8 : Infinity;
    const [left, top] = isHeld ? this.at : [middle - width / 2, below];
    const x = clamp(left, KEYS_WIDTH + 4, Math.max(view.width - width - 4, KEYS_WIDTH + 4));
    const y = clamp(top, RULER + 4, view.height - height - 8);
    this.at = [Math.round(x), Math.round(y)];
    this.root.style.transform = `translate(${this.at[0]}px, ${this.at[1]}px)`;
  }
}

/** In the line of messages, while doubt is shown: what its colour means, and a button that marks the oddest bar. */
class Legend {
  constructor(desk) {
    this.desk = desk;
    this.words = make("span", { role: "status" });
    this.progress = make("progress", { max: 1, "aria-label": "asked so far" });
    this.stop = button("Stop asking the model", () => desk.stopOdd(), { text: "Stop", key: "Esc" });
    this.scale = make("span", { className: "scale", role: "img", "aria-label": "3 bits pale, 10 bits full" });
    this.mark = button("Mark the oddest bar", () => desk.markOddest(), { text: "mark the oddest bar", key: "B" });
    this.close = button("Hide what the model finds odd", () => desk.toggleOdd(), { text: "×", key: "O", kind: "slim" });
    const shown = [this.words, this.progress, this.stop, this.scale, this.mark, this.close];
    this.root = make("div", { className: "legend", role: "group", "aria-label": "what the model finds odd", hidden: true }, ...shown);
  }

  update() {
    const { desk } = this;
    const looks = desk.looksForOdd();
    put(this.root, "hidden", !desk.oddShown);
    put(this.words, "textContent", looks ? "the model looks for odd notes" : "doubt, 3 to 10 bits:");
    put(this.progress, "value", desk.get("doubt").share);
    for (const each of [this.progress, this.stop]) put(each, "hidden", !looks);
    for (const each of [this.scale, this.mark, this.close]) put(each, "hidden", looks);
  }
}

const NOTHING = "nothing is marked: drag over bars on the ruler, or paint";
const only = (part) => `only ${part}: drag over bars on the ruler, or paint`;
const WAITS = { text: "the kernel is busy; what you do is kept until it answers" };

/** What stands under the roll: the kept takes, one line of messages. */
class Foot {
  constructor(desk) {
    this.desk = desk;
    this.takes = make("div", { className: "takes", role: "group", "aria-label": "kept takes" });
    this.words = make("span", { className: "words", "aria-live": "polite" });
    this.message = make("span", { className: "message", role: "status" });
    this.root = make("div", { className: "foot" }, this.takes, make("div", { className: "line told" }, this.words, this.message, desk.legend.root));
  }

  update() {
    const { desk } = this;
    const { names, tips, place, bring_back: aside } = desk.get("takes");
    if (this.names !== [aside, ...names].join("|")) {
      this.names = [aside, ...names].join("|");
      const chip = (name, i) => {
        const made = button(`take: ${name}`, () => desk.go(i), { text: name, kind: "chip" });
        made.title = [name, tips[i]].filter(Boolean).join(": ");
        return made;
      };
      this.takes.replaceChildren(...names.map(chip));
      const bringBack = button("Bring back", () => desk.send({ do: "bring back" }), { text: `bring back ${aside}`, kind: "chip" });
      if (aside) this.takes.prepend(bringBack);
      this.takes.scrollLeft = this.takes.scrollWidth;
    }
    const chips = [...this.takes.children].slice(aside ? 1 : 0);
    chips.forEach((made, i) => pressed(made, i === place));
    const { words } = desk.get("mask");
    put(this.words, "textContent", desk.extent ? words : this.hint());
    this.tell();
  }

  /** What to do where nothing is marked; beside the legend there is less room. */
  hint() {
    const { part, oddShown } = this.desk;
    const [said, how] = (part === "all" ? NOTHING : only(part)).split(": ");
    return oddShown ? said : `${said}: ${how}`;
  }

  tell() {
    const { desk } = this;
    const { busy, remaining, message, wrong } = desk.get("status");
    const { busy: doubts, remaining: left } = desk.get("doubt");
    const under = busy ? `composing: ${remaining}` : doubts ? `asking the model: ${left}` : "";
    const told = desk.isKernelBusy() ? WAITS : under ? { text: under } : (desk.said ?? { text: message, wrong });
    put(this.message, "textContent", told.text ?? "");
    put(this.message, "title", told.text ?? "");
    this.message.classList.toggle("wrong", told.wrong === true);
    desk.root.classList.toggle("waits", desk.isKernelBusy());
  }
}

// ----------------------------------------------------------------------------------------------------- the keys

// Key, what it does in words, and how. Every one has a button, or is a drag of the mouse.
const SHORTCUTS = [
  ["Space", "play or pause", (desk) => desk.player.toggle()],
  ["Home", "to the beginning", (desk) => desk.goTo(0)],
  ["End", "to the end", (desk) => desk.goTo(desk.song.width)],
  ["ArrowLeft", "one bar back", (desk) => desk.goBar(-1)],
  ["ArrowRight", "one bar on", (desk) => desk.goBar(+1)],
  ["Shift+ArrowRight", "mark this bar and go on", (desk) => desk.markBar(+1)],
  ["Shift+ArrowLeft", "go back and take that bar out of the mask", (desk) => desk.markBar(-1)],
  ["ArrowUp", "higher pitches", (desk) => desk.shift(+2)],
  ["ArrowDown", "lower pitches", (desk) => desk.shift(-2)],
  ["1", "brush", (desk) => desk.setTool("brush")],
  ["2", "box", (desk) => desk.setTool("box")],
  ["3", "lasso", (desk) => desk.setTool("lasso")],
  ["4", "pencil", (desk) => desk.setTool("pencil")],
  ["5", "erase", (desk) => desk.setTool("erase")],
  ["[", "smaller brush", (desk) => desk.setRadius(desk.radius - 1)],
  ["]", "bigger brush", (desk) => desk.setRadius(desk.radius + 1)],
  ["M", "only the melody, or all again", (desk) => desk.setPart("melody")],
  ["A", "only the accompaniment, or all again", (desk) => desk.setPart("accompaniment")],
  ["P", "to the parts: the arrows go through them", (desk) => desk.band.focus()],
  ["O", "show what the model finds odd", (desk) => desk.toggleOdd()],
  ["B", "mark the oddest bar", (desk) => desk.markOddest()],
  ["C", "compose what is marked", (desk) => desk.compose()],
  ["R", "compose every stroke on release, or not", (desk) => desk.toggleOnRelease()],
  ["Ctrl+Enter", "compose what is marked", (desk) => desk.compose()],
  [",", "the candidate before", (desk) => desk.turn(-1)],
  [".", "the next candidate", (desk) => desk.turn(+1)],
  ["\\", "before / after", (desk) => desk.compare()],
  ["K", "keep the candidate", (desk) => desk.keep()],
  ["L", "loop the mask, or the song", (desk) => desk.toggleLoop()],
  ["F", "fine sound, or the page's own", (desk) => desk.toggleFine()],
  ["N", "only the new notes sound", (desk) => desk.toggleOnlyNew()],
  ["W", "write the MIDI file", (desk) => desk.save(".mid")],
  ["Delete", "delete the notes in the mask", (desk) => desk.send({ do: "empty" })],
  ["Ctrl+Z", "undo", (desk) => desk.travel("undo")],
  ["Ctrl+Shift+Z", "redo", (desk) => desk.travel("redo")],
  ["+", "zoom in", (desk) => desk.zoom(1.25)],
  ["-", "zoom out", (desk) => desk.zoom(0.8)],
  ["Enter", "close the lasso", (desk) => desk.hand.closePolygon()],
  ["Escape", "close, stop, or mark nothing", (desk) => desk.escape()],
  ["?", "show these keys", (desk) => desk.toggleHelp()],
];
const OTHER_NAMES = { " ": "Space", "=": "+", Backspace: "Delete", "Ctrl+Y": "Ctrl+Shift+Z" };

/** The name of a key as SHORTCUTS has it. */
function keyName(event) {
  const single = event.key.length === 1;
  const letter = /^[a-z]$/i.test(event.key);
  const modifiers = [];
  if (event.ctrlKey || event.metaKey) modifiers.push("Ctrl");
  if (event.shiftKey && (!single || (letter && modifiers.length))) modifiers.push("Shift");
  const key = OTHER_NAMES[event.key] ?? (single ? event.key.toUpperCase() : event.key);
  const name = [...modifiers, key].join("+");
  return OTHER_NAMES[name] ?? name;
}

// What a field does itself with a key.
const OF_FIELDS = {
  range: ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End"],
  checkbox: ["Space"],
  button: ["Space", "Enter"],
};
const TAKEN_BACK = ["Ctrl+Z", "Ctrl+Shift+Z"];

/** Whether the element with the focus does something itself with a key. */
function takesItself(desk, element, name) {
  const field = element.closest("input, select, button");
  if (!field) return false;
  if (TAKEN_BACK.includes(name)) return desk.settings().some((each) => each.input === field && each.isTyped());
  const own = OF_FIELDS[field.tagName === "BUTTON" ? "button" : field.type];
  return own ? own.includes(name) : true;
}

/** An arrow opens a list: else it would take the next entry at once. */
function opensList(element, name) {
  if (element.tagName !== "SELECT" || !["ArrowUp", "ArrowDown"].includes(name)) return false;
  try {
    element.showPicker();
    return true;
  } catch {
    return false;
  }
}

/**
 * Keys stay inside the panel, or the notebook would cut cells; but it saves, and Tab goes through the buttons.
 * Undo and redo are the studio's wherever the focus is in it: the notebook would undo what was typed in a cell.
 * Some notebooks listen at the document before all elements, so the studio listens at the window. Returns what
 * ends that.
 */
function listenToKeys(desk) {
  const listen = (event) => {
    if (!desk.root.contains(event.target)) return;
    const name = keyName(event);
    const act = SHORTCUTS.find(([key]) => key === name)?.[2];
    const own = takesItself(desk, event.target, name);
    const field = event.target.closest("input, select");
    if ((event.ctrlKey || event.metaKey) && !act) return;
    event.stopPropagation();
    if (field && (name === "Escape" || (name === "Enter" && field.type === "number"))) return desk.takeFocus();
    if (desk.band.root.contains(event.target) && desk.band.takes(name)) return event.preventDefault();
    if (opensList(event.target, name)) return event.preventDefault();
    if (!act || own || event.altKey) return;
    event.preventDefault();
    act(desk);
  };
  window.addEventListener("keydown", listen, true);
  return () => window.removeEventListener("keydown", listen, true);
}

function makeHelp(desk) {
  const rows = SHORTCUTS.map(([key, words]) => {
    const shown = key.replace("Arrow", "").replace("Escape", "Esc");
    return make("div", {}, make("kbd", { textContent: shown }), make("span", { textContent: words }));
  });
  const mouse = [
    ["drag on the ruler", "mark bars; with Alt: loop; a click plays from there"],
    ["drag on the keys", "mark pitches; a click sounds"],
    ["wheel", "through time; Ctrl: zoom; Alt or Shift: through pitches"],
    ["right drag, Alt", "erase"],
    ["Tab, Shift+Tab", "to the next button, and out of the studio"],
    ["Ctrl+S", "saves the notebook"],
  ].map(([act, words]) => make("div", {}, make("kbd", { textContent: act }), make("span", { textContent: words })));
  const close = button("Close", () => desk.toggleHelp(), { text: "Close", key: "Esc" });
  return make("div", { className: "sheet help", role: "dialog", "aria-label": "keys", hidden: true }, close, make("div", { className: "keys" }, ...rows, ...mouse));
}
