"""A real browser on a real notebook server: Debian's Chromium through Playwright, the kernel asked over its own socket."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import nbformat
import pytest
from jupyter_client import BlockingKernelClient

from .pointer import WAIT, Pointer, until

ROOT = Path(__file__).parents[2]
SWITCHES = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
]
JUPYTER = [
    "--no-browser",
    "--ip=127.0.0.1",
    "--allow-root",
    "--IdentityProvider.token=",
    "--ServerApp.disable_check_xsrf=True",
]
SERVERS = {
    "lab": ["jupyter", "lab", "--LabApp.news_url=", *JUPYTER],
    "notebook": ["jupyter", "notebook", *JUPYTER],
    "voila": ["voila", "--no-browser", "--Voila.ip=127.0.0.1"],
}


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.fixture(scope="session")
def chromium():
    """One Chromium for all tests."""
    sync_api = pytest.importorskip(
        "playwright.sync_api", reason="Playwright is not installed: pip install playwright"
    )
    path = (
        os.environ.get("POMKIT_CHROMIUM")
        or shutil.which("chromium")
        or shutil.which("chromium-browser")
    )
    if not path:
        pytest.skip(
            "there is no Chromium: apt-get install chromium, or name one in POMKIT_CHROMIUM"
        )
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=SWITCHES)
        yield browser
        browser.close()


class Desk(Pointer):
    """A notebook in a browser: `page`, and `ask`, which evaluates an expression in the notebook's kernel."""

    def __init__(self, folder, url, browser, kind):
        self.folder, self.url, self.browser, self.kind = folder, url, browser, kind
        self.context = browser.new_context(
            viewport={"width": 1280, "height": 1500}, accept_downloads=True
        )
        self.context.set_default_timeout(1000 * WAIT)
        self.page, self.client = self.context.new_page(), None

    def open(self, name="t.ipynb"):
        address = {
            "lab": f"lab/tree/{name}?reset",
            "notebook": f"notebooks/{name}",
            "voila": f"voila/render/{name}",
        }[self.kind]
        self.page.goto(self.url + address, timeout=1000 * WAIT)

    def run_all(self):
        """Run > Run All Cells, again if the page was not ready for it, and wait for the studio's canvas."""
        ready = ".jp-Notebook-ExecutionIndicator[data-status=idle], .jp-NotebookKernelStatus"
        self.page.wait_for_selector(ready, timeout=1000 * WAIT, state="attached")

        def runs():
            with contextlib.suppress(Exception):  # a time-out: try again
                if self.page.locator(
                    ".jp-Dialog"
                ).count():  # a slow server makes the page ask for a kernel
                    self.page.click(".jp-Dialog button.jp-mod-accept", timeout=5000)
                self.page.click("li.lm-MenuBar-item:has-text('Run')", timeout=5000)
                self.page.click(
                    "li.lm-Menu-item[data-command='runmenu:run-all'], "
                    "li.lm-Menu-item:has-text('Run All Cells')",
                    timeout=5000,
                )
                return self.page.wait_for_selector(
                    ".jp-InputPrompt:text-matches('[*0-9]')", timeout=10000
                )

        def shown():
            """A kernel that was not ready forgets the cells: their numbers vanish again."""
            if self.page.locator("canvas, [data-mime-type*=stderr]").count():
                return True
            if not self.page.locator(".jp-InputPrompt:text-matches('[*0-9]')").count():
                runs()

        until(shown, "the cells run")
        self.wait_for_canvas()

    def wait_for_canvas(self):
        try:
            self.page.wait_for_selector("canvas, [data-mime-type*=stderr]", timeout=1000 * WAIT)
        except Exception:
            self.shot(f"no canvas in {self.kind}")
            raise
        assert not (fault := self.page.locator("[data-mime-type*=stderr]").all_inner_texts()), fault
        self.connect()
        until(lambda: self.ask("'painter' in globals()"), "the kernel knows the painter")

    def connect(self):
        def newest():
            found = sorted(self.folder.rglob("kernel-*.json"), key=lambda f: f.stat().st_mtime)
            return found[-1] if found else None

        self.close_client()
        self.client = BlockingKernelClient(
            connection_file=str(until(newest, "a kernel's connection file"))
        )
        self.client.load_connection_file()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=WAIT)

    def close_client(self):
        if self.client is not None:
            self.client.stop_channels()
            self.client = None

    def ask(self, expression, *statements):
        """The value of an expression in the kernel, after some statements."""
        code = "import json, numpy, threading, os\n" + "\n".join(statements)
        reply = self.client.execute(
            code,
            silent=True,
            user_expressions={"it": f"json.dumps({expression})"},
            reply=True,
            timeout=WAIT,
        )["content"]
        assert reply["status"] == "ok", reply
        it = reply["user_expressions"]["it"]
        assert it["status"] == "ok", it
        return json.loads(eval(it["data"]["text/plain"]))

    def of_page(self, expression):
        """The value of an expression of the studio's `desk`, the object that holds its page together."""
        return self.page.evaluate(
            f"(() => {{ const {{desk}} = document.querySelector('.pomkit-studio'); return {expression}; }})()"
        )

    def button(self, name):
        """Press a button of the panel: by its text, or by its icon where that is all it has."""
        there = f"button[aria-label='{name}'], button:has-text('{name}'), button:has(.fa-{name})"
        self.page.locator(there).locator("visible=true").first.click()

    def image(self):
        """A number that tells one image of the canvas from another."""
        return self.page.evaluate("""() => {
            const canvas = document.querySelector("canvas");
            const data = new Uint32Array(canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.buffer);
            return data.reduce((sum, pixel) => (Math.imul(sum, 31) + pixel) | 0, 7);
        }""")

    def shot(self, name):
        """A screenshot, where POMKIT_SHOTS names a folder for them: of the panel, or of the page where there is none."""
        if folder := os.environ.get("POMKIT_SHOTS"):
            panel = self.page.locator(".pomkit-studio, div.widget-vbox:has(> canvas)")
            (panel.first if panel.count() else self.page).screenshot(
                path=Path(folder) / f"{name}.png"
            )

    def close(self):
        self.close_client()
        self.context.close()


@pytest.fixture(scope="module")
def desk(request, chromium, tmp_path_factory):
    """A server, of JupyterLab unless the test asks for another one, on a folder with the notebook of the module's CELLS."""
    kind, cells = getattr(request, "param", "lab"), request.module.CELLS
    if kind != "lab":
        pytest.importorskip(kind, reason=f"{kind} is not installed: pip install {kind}")
    folder = tmp_path_factory.mktemp(kind)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    notebook.metadata["kernelspec"] = {
        "name": "python3",
        "display_name": "Python 3",
        "language": "python",
    }
    for name in ("work", "tmp"):
        (folder / name).mkdir()
    quiet = (
        folder
        / "settings"
        / "@jupyterlab"
        / "apputils-extension"
        / "notification.jupyterlab-settings"
    )
    quiet.parent.mkdir(parents=True)
    quiet.write_text('{"fetchNews": "false", "checkForUpdates": false}')
    nbformat.write(notebook, folder / "work" / "t.ipynb")
    port = free_port()
    env = os.environ | {
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "JUPYTER_DATA_DIR": str(folder / "data"),
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT),
        "IPYTHONDIR": str(folder / "ipython"),
        "TMPDIR": str(folder / "tmp"),
        "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"),
    }
    where = [
        f"--port={port}",
        f"--{'Voila' if kind == 'voila' else 'ServerApp'}.root_dir={folder / 'work'}",
    ]
    log = (folder / "log.txt").open("w")
    server = subprocess.Popen(
        [sys.executable, "-m", *SERVERS[kind], *where],
        env=env,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    url = f"http://127.0.0.1:{port}/"

    def answers():
        assert server.poll() is None, (folder / "log.txt").read_text()[-2000:]
        with contextlib.suppress(OSError):
            return (
                urllib.request.urlopen(
                    url + ("voila/static/" if kind == "voila" else "api"), timeout=5
                ).status
                == 200
            )

    desk = None
    try:
        if kind == "voila":
            until(lambda: "running at" in (folder / "log.txt").read_text().lower(), "Voila runs")
        else:
            until(answers, "the server answers")
        desk = Desk(folder, url, chromium, kind)
        yield desk
    finally:
        if desk:
            desk.close()
        os.killpg(server.pid, signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(5)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()
        log.close()
        shutil.rmtree(folder, ignore_errors=True)
