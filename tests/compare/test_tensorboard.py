"""TensorBoard as a user sees it: started as `make tensorboard` does, opened in a real browser."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)

# All text that a page shows, inside of the components that it is made of, too.
ALL_TEXT = """(function text(node) {
  let found = '';
  for (const child of node.childNodes) {
    if (child.nodeType === 3) found += child.data + ' ';
    if (child.nodeType === 1 && !['STYLE', 'SCRIPT', 'TEMPLATE'].includes(child.tagName))
      found += (child.shadowRoot ? text(child.shadowRoot) : '') + text(child);
  }
  return found;
})(document.body)"""

# Become the program in argument 3 that reads commands from descriptor 3 and writes its answers to 4.
BECOME = """import os, sys
os.dup2(int(sys.argv[1]), 3)
os.dup2(int(sys.argv[2]), 4)
os.execv(sys.argv[3], sys.argv[3:])"""


class Browser:
    """Chromium without a window, told what to do through a pipe (its DevTools protocol)."""

    def __init__(self, executable: str, profile: Path) -> None:
        commands, answers = os.pipe(), os.pipe()
        options = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--remote-debugging-pipe",
            "--window-size=1600,3000",
        ]
        given = [str(commands[0]), str(answers[1]), executable, *options, f"--user-data-dir={profile}", "about:blank"]
        self.process = subprocess.Popen(
            [sys.executable, "-c", BECOME, *given], pass_fds=(commands[0], answers[1]), stderr=subprocess.DEVNULL
        )
        os.close(commands[0])
        os.close(answers[1])
        self.commands, self.answers = os.fdopen(commands[1], "wb"), os.fdopen(answers[0], "rb")
        self.number = 0
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self.page = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

    def ask(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        self.number += 1
        message: dict[str, Any] = {"id": self.number, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        self.commands.write(json.dumps(message).encode() + b"\0")
        self.commands.flush()
        while True:
            answer = b""
            while not answer.endswith(b"\0"):
                byte = self.answers.read(1)
                assert byte, "the browser has gone"
                answer += byte
            read = json.loads(answer[:-1])
            if read.get("id") == self.number:
                return read["result"]

    def open(self, address: str) -> None:
        self.ask("Page.navigate", self.page, url="about:blank")  # another #part alone would load nothing
        self.ask("Page.navigate", self.page, url=address)

    def text(self) -> str:
        answer = self.ask("Runtime.evaluate", self.page, expression=ALL_TEXT, returnByValue=True)
        return str(answer["result"].get("value", ""))

    def wait_for(self, *wanted: str, seconds: float = 30) -> str:
        until = time.monotonic() + seconds
        while not all(part in (text := self.text()) for part in wanted):
            assert time.monotonic() < until, f"{[part for part in wanted if part not in text]} not in:\n{text}"
            time.sleep(0.2)
        return text

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=30)
        self.commands.close()
        self.answers.close()


@pytest.fixture(scope="module")
def address(trained: Path) -> Iterator[str]:
    """Of TensorBoard over one finished run."""
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(trained.parents[1]), "--load_fast", "false"]
    with subprocess.Popen([*command, "--port", "0"], cwd=ROOT, stderr=subprocess.PIPE, text=True) as board:
        assert board.stderr is not None
        yield next(line for line in board.stderr if " at http" in line).split(" at ")[1].split()[0]
        board.terminate()


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine to open TensorBoard in")
def test_a_browser_shows_curves_settings_confusions_and_text(address, trained, tmp_path) -> None:
    assert CHROMIUM is not None
    browser = Browser(CHROMIUM, tmp_path / "profile")
    try:
        browser.open(f"{address}#scalars")
        text = browser.wait_for(
            trained.parent.name, "train", "val", "test", "speed", "optim", "progress", "model", "final"
        )
        assert "hp_metric" not in text
        browser.open(f"{address}#hparams")
        text = browser.wait_for("final/test_accuracy", "model.hidden_size", "lstmp", "reuters_r8")
        assert "32.000" in text, "the setting's value is in the table"
        browser.open(f"{address}#images")
        browser.wait_for("test/confusion_matrix")
        browser.open(f"{address}#text")
        browser.wait_for("hidden_size: 32", "Embedding")
        browser.open(f"{address}#text&tagFilter=examples")
        browser.wait_for("Most confident errors", "Some documents")
    finally:
        browser.close()
