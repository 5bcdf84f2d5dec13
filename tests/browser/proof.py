"""Whether a front end can carry the studio: what its page needs, in one small widget.

    Proof()                                      # in a notebook: seven lines with a tick

Where there is no test, as in Colab or in VS Code, paste this file into a cell, show `Proof()`,
press its button, then the key x. The studio's page rests on these seven things and on nothing else
of the front end. `test_elsewhere` shows it in Notebook 7 and in Voila.
"""

import anywidget
import traitlets

PAGE = """
const bytesOf = (view) => view instanceof ArrayBuffer
    ? new Uint8Array(view) : new Uint8Array(view.buffer, view.byteOffset, view.byteLength);

function render({ model, el }) {
    const make = (tag) => document.createElement(tag);
    const root = make("div"), sound = make("button"), pencil = make("canvas").getContext("2d");
    const tell = (what, isSo) => root.append(`${isSo ? "✓" : "✗"} ${what}`, make("br"));
    Object.assign(root, { className: "proof", tabIndex: 0 });
    el.append(root);
    root.append(sound, make("br"));

    pencil.fillRect(0, 0, 4, 4);
    tell("a canvas draws", pencil.getImageData(1, 1, 1, 1).data[3] === 255);
    const holds = (name, numbers) => bytesOf(model.get(name)).join() === numbers;
    tell("bytes come with the widget", holds("first", "1,2,3"));
    model.on("change:later", () => tell("bytes come later", holds("later", "4,5,6")));
    model.on("msg:custom", ({ word }, buffers) => {
        tell("a message goes up and is answered", word === "again");
        tell("bytes go up, too", buffers?.length && bytesOf(buffers[0]).join() === "9,8,7");
    });
    model.send({ word: "again" }, undefined, [new Uint8Array([7, 8, 9]).buffer]);

    sound.textContent = "play a tone";
    sound.onclick = () => {
        const context = new AudioContext(), tone = new OscillatorNode(context);
        tone.connect(context.destination);
        tone.onended = () => tell("a tone plays", context.currentTime > 0);
        tone.start();
        tone.stop(context.currentTime + 0.2);
    };
    window.addEventListener("keydown", (event) => {
        if (!root.contains(event.target) || event.key !== "x") return;
        event.stopPropagation();
        setTimeout(() => tell("a key stays inside", root.isConnected), 300);
    }, true);
}

export default { render };
"""


class Proof(anywidget.AnyWidget):
    """A widget that asks a front end for what the studio needs, and ticks what it gets."""

    _esm = PAGE
    first = traitlets.Bytes(b"\1\2\3").tag(sync=True)
    later = traitlets.Bytes().tag(sync=True)

    def __init__(self) -> None:
        super().__init__()
        self.on_msg(self._answer)

    def _answer(self, _, message, buffers) -> None:
        """Send back what came, the bytes turned round, and other bytes as a trait."""
        self.send(message, [bytes(buffers[0])[::-1]] if buffers else None)
        self.later = b"\4\5\6"
