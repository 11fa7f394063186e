"""How large the page of trajectories is, how long it takes to make, and how soon it answers in Chromium.

    python benchmarks/viewer.py [--rollouts 10000] [--page FILE]

The class is that of benchmarks/evaluation.py, made up: programs of some 15 lines, hardly any the same twice, which is
the worst case for a page that holds each text once. Needs playwright and a Chromium on the PATH.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from evaluation import TRAJECTORIES_A_STUDENT, trajectory

from simstudent.report.gather import Part
from simstudent.report.viewer import viewer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rollouts", type=int, default=10_000)
    parser.add_argument("--page", help="keep the page here")
    args = parser.parse_args()
    rollouts, number = [], 0
    while len(rollouts) < args.rollouts:
        rollouts += trajectory(number // TRAJECTORIES_A_STUDENT, number % TRAJECTORIES_A_STUDENT, 0.4)
        number += 1
    rollouts = rollouts[: args.rollouts]
    began = time.perf_counter()
    html = viewer("benchmark", Part((), tuple(rollouts)))
    print(f"{len(rollouts):,} rollouts: page of {len(html) / 1e6:.2f} MB made in {time.perf_counter() - began:.1f} s")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(args.page or Path(folder, "page.html")).absolute()
        path.write_text(html, encoding="utf-8")
        measure(path)


def measure(path: Path) -> None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for _ in range(3):
            page = browser.new_page()
            began = time.perf_counter()
            page.goto(f"file://{path}")
            page.wait_for_selector("body[data-shown]", timeout=60_000)
            print(f"open to the first start shown: {time.perf_counter() - began:.2f} s")
        print(f"next start (j), mean of 60:     {timed(60, lambda: another(page, 'j')) * 1000:.0f} ms")
        steps = {
            "sort by divergence": lambda: page.select_option("#order", "far"),
            "filter by what happened": lambda: page.select_option("#flag", "3"),
            "search": lambda: page.fill("#search", "a7"),
        }
        for name, step in steps.items():
            print(f"{name + ':':31s} {timed(1, step) * 1000:.0f} ms")
        browser.close()


def another(page: Any, key: str) -> None:
    before = page.get_attribute("body", "data-shown")
    page.keyboard.press(key)
    page.locator(f"body:not([data-shown='{before}'])").wait_for()


def timed(times: int, work: Callable[[], object]) -> float:
    began = time.perf_counter()
    for _ in range(times):
        work()
    return (time.perf_counter() - began) / times


if __name__ == "__main__":
    main()
