"""Run the notebooks in a real JupyterLab and photograph all that they show.

    python -m tests.browser.gallery out/gallery 03

In the folder then lies a picture of every output (03/017-output-0.png) and of every text with an
equation (03/004-text.png). Printed is a list of what is wrong: cells with errors or warnings,
outputs that do not fit, equations that MathJax refused, pictures that did not load, links that
lead nowhere. The notebooks are run in a copy of the folder, with POMKIT_FAST=1 unless it is set.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

from .conftest import JUPYTER, ROOT, SWITCHES, free_port
from .pointer import WAIT, until

sys.path.insert(0, str(ROOT / "notebooks"))

import course  # noqa: E402

MINUTES = int(os.environ.get("POMKIT_MINUTES", 20))  # for a notebook, at most
SETTINGS = {
    "notebook-extension/tracker": '{"windowingMode": "none"}',  # or only what is in sight exists
    "apputils-extension/notification": '{"fetchNews": "false", "checkForUpdates": false}',
}
# What a page tells of one cell.
LOOK = """cell => {
    const faults = [], all = what => [...cell.querySelectorAll(what)];
    for (const fault of all("[data-mime-type*='stderr'], [data-mime-type*='error']"))
        faults.push("prints an error or a warning: " + fault.innerText.slice(0, 300));
    for (const fault of all("mjx-merror, [data-mjx-error], .MathJax_Error"))
        faults.push("has an equation that MathJax refuses: "
            + (fault.getAttribute("data-mjx-error") || fault.innerText));
    for (const image of all("img"))
        if (image.complete && !image.naturalWidth && !image.src.startsWith("http"))
            faults.push("has a picture that does not load: " + image.src.slice(0, 100));
    const equation = /\\$[^$]*[\\\\^_][^$]*\\$/;
    for (const text of all(".jp-RenderedHTMLCommon")) {
        const shown = text.innerText.replace(/`[^`]*`/g, "");
        if (equation.test(shown) && !text.querySelector("pre"))
            faults.push("shows an equation as text: " + shown.match(equation)[0].slice(0, 80));
    }
    for (const area of all(".jp-OutputArea-output, .jp-MarkdownOutput"))
        if (area.scrollWidth > area.clientWidth + 2)
            faults.push(`is ${area.scrollWidth} pixels wide where ${area.clientWidth} fit`);
    for (const text of all(".jp-RenderedText pre"))
        if (Math.max(...text.innerText.split("\\n").map(line => line.length)) > 95)
            faults.push("prints a line that wraps: " + text.innerText.slice(0, 60));
    for (const widget of all(".jupyter-widgets"))
        if (/Error displaying widget|model not found/i.test(widget.innerText))
            faults.push("has a widget that does not show");
    const code = cell.classList.contains("jp-CodeCell");
    const prompt = code ? cell.querySelector(".jp-InputPrompt").innerText : "";
    return {
        code, faults, prompt,
        equation: !!cell.querySelector("mjx-container"),
        links: all("a[href]").map(a => a.href),
    };
}"""


@contextlib.contextmanager
def server(fast: str) -> Iterator[str]:
    """JupyterLab's address, on a copy of the notebooks and what they link to."""
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        desk = home / "desk"
        for folder in ("notebooks", "assets", "pomkit", "tests"):
            shutil.copytree(
                ROOT / folder,
                desk / folder,
                ignore=shutil.ignore_patterns("out", "student", ".*", "__pycache__"),
            )
        for page in ROOT.glob("*.md"):
            shutil.copy(page, desk)
        for plugin, text in SETTINGS.items():
            file = home / "settings" / "@jupyterlab" / f"{plugin}.jupyterlab-settings"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        env = os.environ | {"POMKIT_FAST": fast, "JUPYTERLAB_SETTINGS_DIR": str(home / "settings")}
        env |= {
            f"JUPYTER_{kind}_DIR": str(home / kind.lower())
            for kind in ("RUNTIME", "CONFIG", "DATA")
        }
        env |= {"IPYTHONDIR": str(home / "ipython")}
        url = f"http://127.0.0.1:{(port := free_port())}/"
        command = [
            sys.executable,
            "-m",
            "jupyter",
            "lab",
            "--LabApp.news_url=",
            *JUPYTER,
            f"--port={port}",
            f"--ServerApp.root_dir={desk}",
            "--ContentsManager.allow_hidden=True",
        ]
        with (home / "log").open("w") as log:
            process = subprocess.Popen(
                command, env=env, stdout=log, stderr=log, start_new_session=True
            )

        def answers() -> bool:
            assert process.poll() is None, (home / "log").read_text()[-2000:]
            with contextlib.suppress(OSError):
                return urllib.request.urlopen(url + "api", timeout=5).status == 200
            return False

        try:
            until(answers, "the server answers")
            yield url
        finally:
            for sign in (signal.SIGINT, signal.SIGKILL):
                with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
                    os.killpg(process.pid, sign)
                    process.wait(5)


def run(page: Page, url: str) -> list[Any]:
    """Open a notebook, run all cells, and wait until they have run; the cells."""
    page.goto(url, timeout=1000 * WAIT)
    page.wait_for_selector(
        ".jp-Notebook-ExecutionIndicator[data-status=idle]", timeout=1000 * WAIT, state="attached"
    )

    def begun() -> bool:
        with contextlib.suppress(Exception):  # a time-out: again
            if page.locator(".jp-Dialog").count():
                page.click(".jp-Dialog button.jp-mod-accept", timeout=5000)
            page.click("li.lm-MenuBar-item:has-text('Run')", timeout=5000)
            page.click("li.lm-Menu-item[data-command='runmenu:run-all']", timeout=5000)
            page.wait_for_selector(".jp-InputPrompt:text-matches('[*]')", timeout=10000)
            return True
        return False

    until(begun, "the cells begin")
    prompts = page.locator(".jp-CodeCell .jp-InputArea-prompt")
    until(
        lambda: not any("*" in text for text in prompts.all_inner_texts()),
        "all cells have run",
        60 * MINUTES,
    )
    time.sleep(3)  # pictures and widgets come a little later
    return page.query_selector_all(".jp-Notebook .jp-Cell")


def dead(page: Page, links: set[str], url: str) -> Iterator[str]:
    """The links within the repository that the server does not know.

    An anchor is sought in the page.
    """
    for link in sorted(links):
        if link.startswith(url) and "#" not in link and page.request.get(link).status >= 400:
            yield f"links to {link.removeprefix(url)}, which is not there"


def photograph(page: Page, path: Path, url: str, out: Path) -> list[str]:
    """Run a notebook and write its pictures; what is wrong with it."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    found, links = [], set()
    for i, cell in enumerate(run(page, f"{url}lab/tree/notebooks/{path.name}?reset")):
        seen = cell.evaluate(LOOK)
        links |= {*seen["links"]}
        found += [f"cell {i} {fault}" for fault in seen["faults"]]
        if seen["code"] and not re.search(r"\d", seen["prompt"]):
            found.append(f"cell {i} did not run")
        if seen["equation"]:
            cell.screenshot(path=out / f"{i:03}-text.png")
        for j, output in enumerate(
            cell.query_selector_all(".jp-OutputArea-child") if seen["code"] else ()
        ):
            if output.evaluate("it => !!it.parentElement.closest('.jp-OutputArea-child')"):
                continue  # a slider's figure is in the slider's picture
            with contextlib.suppress(Exception):  # an output that shows nothing has no picture
                output.screenshot(path=out / f"{i:03}-output-{j}.png", timeout=5000)
    return found + [*dead(page, links, url)]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("names", nargs="*", help="notebooks, by number or name")
    given = parser.parse_args()
    named = os.environ.get("POMKIT_CHROMIUM")
    chromium = named or shutil.which("chromium") or shutil.which("chromium-browser")
    if not chromium:
        raise SystemExit(
            "there is no Chromium: apt-get install chromium, or name one in POMKIT_CHROMIUM"
        )
    wrong = 0
    with server(os.environ.get("POMKIT_FAST", "1")) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=SWITCHES)
        for path in course.find(given.names):
            context = browser.new_context(viewport={"width": 1280, "height": 1400})
            start, page = time.monotonic(), context.new_page()
            faults = photograph(page, path, url, given.out / path.stem[:2])
            pictures = len([*(given.out / path.stem[:2]).iterdir()])
            seconds = time.monotonic() - start
            print(f"{path.stem}: {pictures} pictures in {seconds:.0f} s; {len(faults)} faults")
            print("".join(f"    {fault}\n" for fault in faults), end="", flush=True)
            wrong += len(faults)
            context.close()
        browser.close()
    return min(wrong, 1)


if __name__ == "__main__":
    sys.exit(main())
