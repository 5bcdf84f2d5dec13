// ---------------------------------------------------------------------------------------------------- the parts

/**
 * A line with the parts of the song. Each has four buttons: only it is composed, the pencil writes it, it is
 * muted, it is heard alone. The line is one stop of Tab, within it the arrows go.
 */
class Band {
  constructor(desk) {
    this.desk = desk;
    this.rows = [];
    this.root = make("div", { className: "line band", role: "toolbar", "aria-label": "parts", hidden: true });
    this.root.addEventListener("focusin", (event) => this.enter(event.target));
  }

  update() {
    const { desk } = this;
    const { parts } = desk.song;
    const names = JSON.stringify(parts);
    if (this.names !== names) {
      this.names = names;
      this.rows = parts.map((part, i) => this.row(part, i));
      this.root.replaceChildren(...this.rows.map((row) => row.root));
      this.enter(this.buttons()[0]);
    }
    put(this.root, "hidden", parts.length < 2);
    desk.root.classList.toggle("banded", parts.length > 1);
    this.rows.forEach((row, i) => this.updateRow(row, i));
  }

  row({ name, drums, beside }, i) {
    const { desk } = this;
    const text = name.replace(/ \(drums\)$/, "");
    const swatch = make("span", { className: "swatch" });
    const only = button(`compose ${name} only`, () => desk.setPart(name), { text, kind: "name" });
    const writes = button(`the pencil writes ${name}`, () => desk.setWrites(name), { icon: "pencil" });
    const mute = button(`mute ${name}`, () => desk.toggleMuted(name), { text: "M" });
    const solo = button(`solo ${name}`, () => desk.toggleAlone(name), { text: "S" });
    const stays = make("span", { className: "name", textContent: text, title: "these drums are heard and stay as they are" });
    const made = beside ? [swatch, stays, mute, solo] : [swatch, only, writes, mute, solo];
    const root = make("span", { className: "part", role: "group", "aria-label": drums ? `${name}, drums` : name }, ...made);
    return { name, root, swatch, only, writes, mute, solo };
  }

  updateRow({ name, root, swatch, only, writes, mute, solo }, i) {
    const { desk } = this;
    const { parts } = desk.theme;
    swatch.style.background = parts[i % parts.length];
    root.classList.toggle("silent", !desk.hears(i));
    put(only, "disabled", !desk.parts().includes(name));
    pressed(only, desk.part === name);
    pressed(writes, desk.writes === name);
    pressed(mute, desk.muted.has(name));
    pressed(solo, desk.alone.has(name));
  }

  buttons() {
    return [...this.root.querySelectorAll("button")];
  }

  /** Tab comes back to the button that was left. */
  enter(entered) {
    for (const each of this.buttons()) each.tabIndex = each === entered ? 0 : -1;
  }

  focus() {
    this.buttons().find((each) => each.tabIndex === 0)?.focus();
  }

  /** Whether a key goes through the line. */
  takes(key) {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[key];
    if (!by) return false;
    const free = this.buttons().filter((each) => !each.disabled);
    const at = free.indexOf(document.activeElement);
    free[clamp(at + by, 0, free.length - 1)]?.focus();
    return true;
  }
}
