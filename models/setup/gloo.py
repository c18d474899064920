#!/usr/bin/env python3
"""Bring Gloo's headers, which distributed training is compiled against, into .libtorch/gloo/include/gloo.

They come from Debian's and Ubuntu's libgloo-dev, fetched and unpacked without root. Headers that are installed, or that
COPPICE_GLOO_INCLUDE names, win. Without them everything but distributed training works, so a failure here is one line and no error.
Runs after libtorch.py, which replaces .libtorch as a whole.
"""
import os
import pathlib
import shutil
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
TARGET = ROOT / ".libtorch" / "gloo"
INSTALLED = pathlib.Path("/usr/include/gloo")
PACKAGE = "libgloo-dev"
SECONDS = 300


def there() -> bool:
    return bool(os.environ.get("COPPICE_GLOO_INCLUDE")) or INSTALLED.is_dir() or (TARGET / "include" / "gloo").is_dir()


def last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no reason given"


def call(command: list[str], folder: pathlib.Path) -> None:
    """Runs a command in a folder; a failure is an OSError with its last line."""
    try:
        ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        raise OSError(f"{command[0]} did not end within {SECONDS} s") from None
    if ended.returncode != 0:
        raise OSError(f"{command[0]}: {last_line(ended.stderr)}")


def fetch(scratch: pathlib.Path) -> None:
    """Downloads the package into a scratch folder and moves its headers, all of them, to their place."""
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise OSError(f"there is no {tool}")
    call(["apt-get", "download", PACKAGE], scratch)
    for package in scratch.glob(f"{PACKAGE}_*.deb"):
        call(["dpkg-deb", "-x", package.name, "unpacked"], scratch)
    headers = scratch / "unpacked" / "usr" / "include" / "gloo"
    if not (headers / "context.h").is_file():
        raise OSError(f"{PACKAGE} holds no usr/include/gloo/context.h")
    fresh = scratch / "new"
    (fresh / "include").mkdir(parents=True)
    headers.rename(fresh / "include" / "gloo")
    TARGET.parent.mkdir(exist_ok=True)
    shutil.rmtree(TARGET, ignore_errors=True)
    fresh.rename(TARGET)


def main() -> None:
    if there():
        return
    try:
        with tempfile.TemporaryDirectory(dir=ROOT, prefix=".libtorch-gloo-") as scratch:
            fetch(pathlib.Path(scratch))
    except OSError as error:
        print(f"setup: no Gloo headers, so distributed training will be off; install {PACKAGE} and build again ({error})")
        return
    print("setup: Gloo's headers are in .libtorch/gloo/")


if __name__ == "__main__":
    main()
