// The sound of one pomkit.Studio in its page: a playhead over the picture, click to seek, drag to loop, files to save.
// It asks the kernel nothing. ROOT, put in by the studio, is a class of its panel; what it must know lies there, hidden.
(() => {
  const me = (window[ROOT] = {});                            // of several copies of this script the newest works
  const find = (what) => document.querySelector(`.${ROOT} ${what}`);
  const read = (name) => JSON.parse(find(name).dataset.facts);
  const facts = () => ({...read(".pomkit-facts"), ...read(".pomkit-counts")});   // of the painter, of the studio
  // The clock has a line for each tempo: its first step, the second at which that sounds, the seconds of a step.
  const line = (column, value) => facts().clock.filter((each) => each[column] <= Math.max(value, 0)).pop();
  const secondOf = (step) => { const [first, second, pace] = line(0, step); return second + (step - first) * pace; };
  const stepOf = (second) => { const [first, begin, pace] = line(1, second); return first + (second - begin) / pace; };
  let opened = null, time = 0, loop = null, pressed = 0, saved = null, drawn = null, music = null, heard = null;

  const shape = (canvas) => ({parent: canvas.parentElement, left: canvas.offsetLeft, top: canvas.offsetTop,
                              width: canvas.clientWidth, height: canvas.clientHeight});

  function lay(name, over, colour, start, stop) {            // a box over shares of a canvas' width; null: none
    if (!find("." + name)) over.parent.append(Object.assign(document.createElement("div"), {className: name}));
    over.parent.style.position = "relative";
    Object.assign(find("." + name).style, {
      position: "absolute", pointerEvents: "none", background: colour, top: over.top + "px", height: over.height + "px",
      left: over.left + start * over.width + "px", width: Math.max((stop - start) * over.width, 2) + "px",
      display: start === null ? "none" : "block"});
  }

  function wire(audio, strip) {
    const step = (event) => (event.offsetX / strip.clientWidth) * facts().width;
    audio.onloadedmetadata = () => {                         // another sound: from a bar before the mask, or go on
      const now = facts();
      if (now.sounds !== heard && now.from !== null) time = secondOf(now.from);
      heard = now.sounds;
      audio.currentTime = Math.min(time, audio.duration);
      if (now.sounds !== opened.sounds) audio.play();        // but none plays because a page was opened
    };
    audio.onplay = () => document.querySelectorAll("[class*='pomkit-'] audio").forEach((other) => {
      if (other !== audio) other.pause();                    // one studio sounds at a time
    });
    audio.onended = () => loop && audio.play();
    strip.onpointerdown = (event) => { pressed = step(event); };
    strip.onpointerup = (event) => {
      const [a, b] = [pressed, step(event)].sort((x, y) => x - y), bars = facts().bars;
      if (b - a > 4) loop = [bars.filter((bar) => bar <= a).pop(), bars.find((bar) => bar >= b)];
      else if (loop && (a < loop[0] || a >= loop[1])) loop = null;
      audio.currentTime = time = secondOf(b - a > 4 ? loop[0] : a);
    };
  }

  function frame() {
    if (window[ROOT] !== me) return;
    requestAnimationFrame(frame);
    const [audio, roll, strip, link] = ["audio", ".pomkit-roll", ".pomkit-strip", ".pomkit-file"].map(find);
    if (!audio || !strip || !find(".pomkit-facts") || !find(".pomkit-counts")) return;
    const now = facts(), part = (step) => step / now.width;
    opened ??= now;
    if (music !== now.musics) {                              // other music: from its beginning, and no loop
      if (music !== null) { time = 0; loop = null; audio.pause(); }
      music = now.musics;
    }
    if (!audio.onended || !strip.onpointerup) wire(audio, strip);
    if (audio.readyState) time = audio.currentTime;
    if (loop && time >= secondOf(loop[1])) audio.currentTime = secondOf(loop[0]);
    if (link && saved !== link.dataset.number && now.files !== opened.files) {
      saved = link.dataset.number;                           // a new file
      fetch(link.href).then((found) => found.blob()).then((blob) => {
        link.href = URL.createObjectURL(blob);
        link.click();
      });
    }
    const key = JSON.stringify([time, loop, now, roll.clientWidth, strip.offsetTop]);
    if (key === drawn) return;                               // most of the time: then the page is left alone
    drawn = key;
    const at = stepOf(time), seen = audio.readyState && at >= now.left && at < now.right;
    const x = seen ? (now.x + (at - now.left) * now.zoom) / now.of : null, [above, below] = [roll, strip].map(shape);
    lay("pomkit-on-roll", above, "#ff4fa3", x, x);
    lay("pomkit-on-strip", below, "#ff4fa3", part(at), part(at));
    lay("pomkit-loop", below, "rgba(255, 79, 163, 0.3)", loop && part(loop[0]), loop && part(loop[1]));
  }
  frame();
})();
