"""Run the interpreter's own asyncio tests on asyncrev's event loop.

``test.test_asyncio`` is the suite that CPython uses to test asyncio.  Every module of it
is run twice, each time in a fresh process: once untouched ("stock") and once with the
default event loop replaced ("ours").  A test that passes on the stock loop must pass on
ours; failing, being skipped or never being reached there all count against us.

* A test that differs is run again, alone, up to two more times on both loops.  It counts
  only if ours never passes while the stock loop always does; every retry is listed.
* The replacement is proven, not assumed: the loops and transports made during the run are
  counted, and a module that has to use them but made none fails the check.
* Tests that ask for a loop on an epoll selector pass one to the loop: while ours is
  tried, ``selectors.EpollSelector`` is our selector, so that they make it and pass it.
* Tests that ask for a select- or poll-based loop are about those selectors and get the
  stock loop.  ``--loop``, ``--transport`` and ``--selector`` name other classes to try
  in place of ours.

Exit status: 0 nothing worse than stock (or the interpreter ships no such tests), 1 a
difference or an unproven replacement, 2 the loop cannot be imported.
"""

from __future__ import annotations

import argparse
import asyncio
import asyncio.unix_events as unix_events
import faulthandler
import importlib
import importlib.util
import json
import os
import pkgutil
import selectors
import subprocess
import sys
import tempfile
import time
import unittest
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TextIO

PACKAGE = "test.test_asyncio"
DEFAULT_LOOP = "asyncrev:EpollEventLoop"
DEFAULT_TRANSPORT = "asyncrev.loop.transport:EpollTransport"
DEFAULT_SELECTOR = "asyncrev.loop.selector:WatchingSelector"
TEST_LIMIT = 90  # seconds for one test; the slowest takes a few on an idle machine
MODULE_LIMIT = 240
RESTARTS = 3  # how often a module goes on after a test that hung or killed the process
RETRIES = 2
MOST_RETRIED = 40  # beyond this the loop is broken, not flaky: report without retrying

# Modules whose tests reach the default loop, and those that also carry plain TCP or unix
# streams over it.  The remaining modules test locks, queues, mocks or other platforms.
NEEDS_TRANSPORT = {"test_buffered_proto", "test_events", "test_sendfile", "test_server"}
NEEDS_TRANSPORT |= {"test_streams"}
NEEDS_LOOP = NEEDS_TRANSPORT | {"test_base_events", "test_sock_lowlevel", "test_subprocess"}
NEEDS_LOOP |= {"test_ssl", "test_sslproto", "test_tasks", "test_unix_events"}

# Modules with classes of tests that pass an epoll selector to the loop.
PASSES_SELECTOR = {"test_events", "test_sendfile", "test_sock_lowlevel"}

# Tests of asyncio's own transport by way of the loop, and the private attribute of it that they
# look at. They are left out only if they fail for want of that.
ABOUT_STOCK = {
    # Writes with a backlog after close: tests/loop/test_write_side.py has that of ours.
    "test_remote_shutdown_receives_trailing_data_on_slow_socket": "_read_ready_cb",
}


# -- inside the worker process ---------------------------------------------------------


def load(spec: str) -> Any:
    module, _, attribute = spec.partition(":")
    return getattr(importlib.import_module(module), attribute)


def install_replacement(replacing: dict[str, str | None], used: Counter[str]) -> None:
    """Put our loop wherever asyncio would find its default one; count what gets made."""
    base, stock = load(replacing["loop"] or DEFAULT_LOOP), unix_events.SelectorEventLoop
    selector_class = load(replacing["selector"]) if replacing["selector"] else None
    if selector_class is not None:
        # Not DefaultSelector, which asyncio's own loops take.
        selectors.EpollSelector = selector_class  # type: ignore[misc]

    class Replaced(base):  # type: ignore[misc]
        def __new__(cls, selector: Any = None) -> Any:
            if selector is not None and not isinstance(selector, selectors.EpollSelector):
                used["stock loops by request"] += 1
                return stock(selector)  # not an instance of cls, so __init__ is not called
            return super().__new__(cls)

        def __init__(self, selector: Any = None) -> None:
            if selector_class is not None and isinstance(selector, selector_class):
                super().__init__(selector)
                used["selectors passed"] += 1
            else:
                if selector is not None:
                    selector.close()  # ours brings its own epoll selector
                super().__init__()
            used["loops"] += 1

    # The same class has several names, and which of them exist depends on the version.
    for place in (asyncio, unix_events):
        for name, value in list(vars(place).items()):
            if value is stock:
                setattr(place, name, Replaced)
            elif isinstance(value, type) and vars(value).get("_loop_factory") is stock:
                value._loop_factory = Replaced  # type: ignore[attr-defined]

    if replacing["transport"]:
        transport = load(replacing["transport"])
        original = transport.__init__

        def counting_init(self: Any, *args: Any, **kwargs: Any) -> None:
            used["transports"] += 1
            original(self, *args, **kwargs)

        transport.__init__ = counting_init


class Recorder(unittest.TestResult):
    """Write each outcome out at once, so that a hang or a crash loses only one test."""

    RANK = ("ok", "skip", "fail")  # the worst part of a test decides

    def __init__(self, out: TextIO, used: Counter[str]) -> None:
        super().__init__()
        self._out = out
        self._used = used
        self._running = False
        self._outcome: str | None = None
        self._why = ""

    def write(self, **line: Any) -> None:
        print(json.dumps(line), file=self._out, flush=True)

    def startTest(self, test: unittest.TestCase) -> None:
        super().startTest(test)
        self._outcome, self._why = None, ""
        self._running = True
        self.write(start=test.id())
        faulthandler.dump_traceback_later(TEST_LIMIT, exit=True)

    def stopTest(self, test: unittest.TestCase) -> None:
        super().stopTest(test)
        faulthandler.cancel_dump_traceback_later()
        self._running = False
        self.write(id=test.id(), outcome=self._outcome or "fail", why=self._why, used=self._used)

    def _note(self, test: Any, outcome: str, why: str = "") -> None:
        if not self._running:  # a class or module fixture, reported under a name of its own
            self.write(id=test.id(), outcome=outcome, why=why, used=self._used)
        elif self._outcome is None or self.RANK.index(outcome) > self.RANK.index(self._outcome):
            self._outcome, self._why = outcome, why

    def addSuccess(self, test: Any) -> None:
        self._note(test, "ok")

    def addSkip(self, test: Any, reason: str) -> None:
        self._note(test, "skip", reason)

    def addExpectedFailure(self, test: Any, err: Any) -> None:
        self._note(test, "ok")

    def addUnexpectedSuccess(self, test: Any) -> None:
        self._note(test, "fail", "passed, but is marked as an expected failure")

    def addError(self, test: Any, err: Any) -> None:
        self._note(test, "fail", self._exc_info_to_string(err, test))  # type: ignore[attr-defined]

    addFailure = addError

    def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:
        if err is not None:
            self.addError(test, err)


def flatten(suite: Any) -> list[Any]:
    if isinstance(suite, unittest.TestSuite):
        return [test for part in suite for test in flatten(part)]
    return [suite]


def worker(request: dict[str, Any]) -> None:
    used: Counter[str] = Counter()
    if request["replacing"]:
        install_replacement(request["replacing"], used)
    warnings.simplefilter("default")  # as `python -m unittest` does
    # The file stays open to the end of the process: there is nothing to close it for.
    recorder = Recorder(open(request["out"], "w", encoding="utf-8"), used)  # noqa: SIM115
    try:
        module = importlib.import_module(request["module"])
    except unittest.SkipTest as reason:  # the modules for Windows
        recorder.write(id=request["module"], outcome="skip", why=str(reason), used=used)
    else:
        tests = flatten(unittest.defaultTestLoader.loadTestsFromModule(module))
        only, done = request["only"], set(request["done"])
        chosen = [t for t in tests if t.id() not in done and (only is None or t.id() == only)]
        unittest.TestSuite(chosen).run(recorder)
    recorder.write(finished=True)
    os._exit(0)  # a thread that a failed test left behind must not hold the process


# -- in the parent ---------------------------------------------------------------------


@dataclass
class Run:
    """What one module did on one loop."""

    outcomes: dict[str, str] = field(default_factory=dict)
    why: dict[str, str] = field(default_factory=dict)
    used: Counter[str] = field(default_factory=Counter)

    def add(self, test: str, outcome: str, why: str) -> None:
        if self.outcomes.get(test, "ok") == "ok":  # a repeated id keeps its first trouble
            self.outcomes[test], self.why[test] = outcome, why


def run_module(
    module: str, replacing: dict[str, str | None] | None, only: str | None = None
) -> Run:
    """Run a module, or one test of it, and go on after a test that took the process down.

    `replacing` names the loop, the transport and the selector to try, or nothing for stock.
    """
    run = Run()
    # A setting meant for our own test-suite must not reach the interpreter's.
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONASYNCIODEBUG", "PYTHONWARNINGS")}
    until = time.monotonic() + MODULE_LIMIT
    for _ in range(1 + RESTARTS):
        with tempfile.TemporaryDirectory() as folder:
            out, log = os.path.join(folder, "out"), os.path.join(folder, "log")
            request = {"module": f"{PACKAGE}.{module}", "replacing": replacing, "only": only}
            request |= {"done": list(run.outcomes), "out": out}
            command = [sys.executable, "-P", os.path.abspath(__file__)]
            command += ["--worker", json.dumps(request)]
            ended = "the process died"
            with open(log, "wb") as sink:
                try:
                    subprocess.run(
                        command,
                        cwd=folder,
                        env=env,
                        stdin=subprocess.DEVNULL,
                        stdout=sink,
                        stderr=sink,
                        timeout=max(1.0, until - time.monotonic()),
                    )
                except subprocess.TimeoutExpired:
                    ended = f"the module took more than {MODULE_LIMIT} s"
            finished, in_flight, used = False, None, {}
            if os.path.exists(out):
                with open(out, encoding="utf-8") as lines:
                    for line in map(json.loads, lines):
                        finished = finished or "finished" in line
                        in_flight = line.get("start")
                        if "id" in line:
                            run.add(line["id"], line["outcome"], line["why"])
                            used = line["used"]
            run.used += Counter(used)
            if finished:
                return run
            with open(log, encoding="utf-8", errors="replace") as text:
                tail = "".join(text.readlines()[-40:])
            run.add(in_flight or f"{module} (whole module)", "fail", f"{ended}\n{tail}")
            if in_flight is None or time.monotonic() > until:
                return run
    return run


def suspects(stock: Run, ours: Run) -> list[str]:
    """The tests that pass on the stock loop only, and fixtures that fail on ours only."""
    worse = [t for t, o in stock.outcomes.items() if o == "ok" and ours.outcomes.get(t) != "ok"]
    return worse + [t for t, o in ours.outcomes.items() if o == "fail" and t not in stock.outcomes]


def consistent(module: str, test: str, replacing: dict[str, str | None]) -> tuple[bool, str]:
    """Retry one suspect: does ours go on failing where stock goes on passing?"""
    only = test if " " not in test else None  # a fixture runs only with its module
    for attempt in range(1, RETRIES + 1):
        again = run_module(module, replacing, only).outcomes
        if again.get(test, "" if only else "ok") == "ok":  # a fixture is named only if it fails
            return False, f"passed on ours at retry {attempt}: flaky"
        if only and run_module(module, None, only).outcomes.get(test) != "ok":
            return False, f"failed on stock too at retry {attempt}: flaky"
    return True, f"failed on ours in {RETRIES} retries too"


def main() -> int:
    parser = argparse.ArgumentParser(description="Run CPython's asyncio tests on our event loop.")
    parser.add_argument("--loop", default=DEFAULT_LOOP, metavar="MODULE:ATTR")
    parser.add_argument("--transport", metavar="MODULE:ATTR", help="transport class to count")
    parser.add_argument("--selector", metavar="MODULE:ATTR", help="selector class to pass")
    parser.add_argument("--module", action="append", help="only this module, e.g. test_streams")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        worker(json.loads(args.worker))
    ours_default = args.loop == DEFAULT_LOOP
    replacing = {
        "loop": args.loop,
        "transport": args.transport or (DEFAULT_TRANSPORT if ours_default else None),
        "selector": args.selector or (DEFAULT_SELECTOR if ours_default else None),
    }

    version = ".".join(map(str, sys.version_info[:3]))
    try:
        spec = importlib.util.find_spec(PACKAGE)
    except ModuleNotFoundError:
        spec = None
    if spec is None or not spec.submodule_search_locations:
        print(f"conformance: Python {version} here ships no {PACKAGE}; nothing to run.")
        return 0
    for name in filter(None, replacing.values()):
        try:
            load(name)
        except (ImportError, AttributeError) as error:
            print(f"conformance: cannot load {name}: {error}", file=sys.stderr)
            return 2

    found = [m.name for m in pkgutil.iter_modules(spec.submodule_search_locations)]
    modules = [m for m in found if m.startswith("test_") and m in (args.module or found)]
    print(f"{PACKAGE} of Python {version}, {len(modules)} modules: stock loop against {args.loop}")
    started = time.monotonic()
    with ThreadPoolExecutor(args.jobs) as pool:
        stock_runs = {m: pool.submit(run_module, m, None) for m in modules}
        our_runs = {m: pool.submit(run_module, m, replacing) for m in modules}
        stock = {m: run.result() for m, run in stock_runs.items()}
        ours = {m: run.result() for m, run in our_runs.items()}

    problems: list[str] = []
    total: Counter[str] = Counter()
    for m in modules:
        counts = Counter(ours[m].outcomes.values())
        used = ours[m].used
        total += used
        print(
            f"  {m:26} stock {Counter(stock[m].outcomes.values())['ok']:4} ok, ours "
            f"{counts['ok']:4} ok {counts['skip']:3} skip {counts['fail']:3} fail, "
            f"made {used['loops']:4} loops {used['transports']:4} transports"
        )
        if m in NEEDS_LOOP and not used["loops"]:
            problems.append(f"{m}: never made a loop of ours, so it proves nothing")
        if replacing["transport"] and m in NEEDS_TRANSPORT and not used["transports"]:
            problems.append(f"{m}: never made a transport of ours, so it proves nothing")
        if replacing["selector"] and m in PASSES_SELECTOR and not used["selectors passed"]:
            problems.append(f"{m}: never passed a selector of ours, so it proves nothing")

    worse = [(m, test) for m in modules for test in suspects(stock[m], ours[m])]
    for m, test in worse:
        private = ABOUT_STOCK.get(test.rpartition(".")[2])
        if private and f"has no attribute '{private}'" in ours[m].why.get(test, ""):
            print(f"left out {test}: it looks at {private} of asyncio's own transport")
            continue
        verdict = f"not retried, {len(worse)} tests differ"
        if len(worse) <= MOST_RETRIED:
            fails, verdict = consistent(m, test, replacing)
            print(f"retried {test}: {verdict}")
            if not fails:
                continue
        why = ours[m].why.get(test, "never ran").strip()
        problems.append(
            f"{test}: passes on stock, not on ours ({verdict})\n    "
            + "\n    ".join(why.splitlines()[-25:])
        )

    for problem in problems:
        print(f"FAILED {problem}")
    passed = {
        s: sum(list(r.outcomes.values()).count("ok") for r in runs.values())
        for s, runs in (("stock", stock), ("ours", ours))
    }
    print(
        f"made {total['loops']} loops and {total['transports']} transports of ours, "
        f"{total['selectors passed']} of the loops with a selector that was passed; "
        f"{total['stock loops by request']} stock loops by request (select, poll)"
    )
    print(
        f"conformance: {passed['stock']} tests pass on stock, {passed['ours']} on ours, "
        f"{len(worse)} retried or differing, {len(problems)} problems, "
        f"{time.monotonic() - started:.0f} s"
    )
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
