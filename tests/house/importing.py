"""Imports every module of services and shared in a fresh interpreter, and prints what happened meanwhile as JSON.

    python -m tests.house.importing [FOLDER]

What others' libraries do when they are imported is theirs: they are imported first, and only then
does the watch begin. FOLDER holds the `services` and `shared` to import, by default the repository.
"""

from __future__ import annotations

import _thread
import contextlib
import importlib
import json
import os
import sys
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from tests.house import code

WATCHED = ("socket.", "subprocess.", "os.system", "os.exec", "os.fork", "os.posix_spawn", "signal.")
HAPPENED: list[str] = []
watching = False


def is_ours(file: str) -> bool:
    return file.startswith(tuple(f"{code.ROOT}/{package}/" for package in code.PACKAGES))


def note(what: str) -> None:
    """Put it down, with the innermost line of ours."""
    if watching:
        ours = [f"{frame.filename}:{frame.lineno}" for frame in traceback.extract_stack() if is_ours(frame.filename)]
        HAPPENED.append(f"{what} at {ours[-1] if ours else 'no line of ours'}")


def note_reading(what: str) -> None:
    """Put it down where a line of ours reads itself; what a library reads when it is called is its own affair."""
    frame: FrameType | None = sys._getframe(1)
    while frame and frame.f_code.co_filename in (__file__, os.__file__):
        frame = frame.f_back
    if frame and is_ours(frame.f_code.co_filename):
        note(f"reads the environment: {what}")


def on_audit(event: str, arguments: tuple[Any, ...]) -> None:
    if not watching:
        return
    if event.startswith(WATCHED):
        note(event)
    elif event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        note(f"open for writing {arguments[0]}")


class Environ(dict[str, str]):
    """Tells who reads it."""

    def __getitem__(self, key: str) -> str:
        note_reading(key)
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        note_reading(key)
        return super().get(key, default)

    def __contains__(self, key: object) -> bool:
        note_reading(str(key))
        return super().__contains__(key)

    def __iter__(self) -> Iterator[str]:
        note_reading("all of it")
        return super().__iter__()

    def keys(self) -> Any:
        note_reading("all of it")
        return super().keys()

    def items(self) -> Any:
        note_reading("all of it")
        return super().items()


def start_thread(*arguments: Any) -> Any:
    note("a thread")
    return _thread.start_new_thread(*arguments)


def import_libraries(modules: list[Path]) -> None:
    """All that is not ours and that any of our files imports, wherever in the file."""
    for path in modules:
        for module, name, _ in code.imports(code.tree_of(path)):
            if module.partition(".")[0] not in code.PACKAGES:
                importlib.import_module(module)
                with contextlib.suppress(ImportError):  # most names are no modules
                    importlib.import_module(f"{module}.{name}" if name else module)


def main(folder: Path) -> None:
    global watching  # noqa: PLW0603
    import prometheus_client

    code.ROOT = folder
    import_libraries(code.python_files(*code.PACKAGES))
    sys.path.insert(0, str(folder))
    sys.dont_write_bytecode = True
    sys.addaudithook(on_audit)
    os.environ = Environ(os.environ)  # type: ignore[assignment]  # noqa: B003
    collectors = len(prometheus_client.REGISTRY._collector_to_names)
    threading._start_new_thread = start_thread  # type: ignore[attr-defined]
    names = code.modules()
    watching = True
    for name in names:
        importlib.import_module(name)
    watching = False
    more = len(prometheus_client.REGISTRY._collector_to_names) - collectors
    HAPPENED.extend(["a metric in the default registry"] * more)
    strangers = [name for name in names if not str(sys.modules[name].__file__).startswith(str(folder))]
    print(json.dumps({"happened": HAPPENED, "imported": len(names), "from elsewhere": strangers}))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else code.ROOT)
