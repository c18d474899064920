#!/usr/bin/env python3
"""Bring libtorch 2.11.0 into .libtorch/: three hash-pinned wheels, downloaded by pip, unpacked with path checks.

A LIBTORCH or LIBTORCH_USE_PYTORCH of your own wins, and a complete .libtorch is left alone. Nothing of the wheels is imported.
"""
import os
import pathlib
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
TARGET = ROOT / ".libtorch"
WHEELS = pathlib.Path(__file__).with_name("libtorch.txt")
VERSION = "2.11.0"


def fail(sentence: str) -> None:
    sys.exit(f"setup: {sentence}")


def version_of(torch: pathlib.Path) -> str | None:
    """The version that a torch folder states, or None where there is no such folder."""
    try:
        text = (torch / "version.py").read_text()
    except OSError:
        return None
    found = re.search(r"__version__ = '([0-9.]+)", text)
    return found.group(1) if found else None


def stamp() -> str:
    return WHEELS.read_text()


def complete() -> bool:
    done = TARGET / "complete"
    return done.is_file() and done.read_text() == stamp() and version_of(TARGET / "torch") == VERSION


def users_own() -> bool:
    """Whether the user brings a libtorch; a folder of another version is refused here, not by the C++ compiler."""
    if os.environ.get("LIBTORCH_USE_PYTORCH"):
        print("setup: LIBTORCH_USE_PYTORCH is set, so Python's own torch is used")
        return True
    own = os.environ.get("LIBTORCH")
    if not own:
        return False
    stated = version_of(pathlib.Path(own))
    build = pathlib.Path(own) / "build-version"
    stated = stated or (build.read_text().split("+")[0].strip() if build.is_file() else None)
    if stated != VERSION:
        fail(f"LIBTORCH={own} holds torch {stated or 'of unknown version'}, but tch 0.24 needs {VERSION}; unset it or point it elsewhere")
    print(f"setup: using your LIBTORCH={own} (torch {stated})")
    return True


def download(folder: pathlib.Path) -> list[pathlib.Path]:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes", "--python-version", "3.12"]
    command += ["--implementation", "cp", "--only-binary=:all:", "--dest", str(folder), "--requirement", str(WHEELS)]
    if subprocess.run(command).returncode != 0:
        fail("pip could not fetch the pinned wheels (about 545 MB); check the network and `python3 -m pip --version`, then run again")
    return sorted(folder.glob("*.whl"))


def wanted(name: str) -> bool:
    """Headers, libraries and the version file; the rest of the torch wheel is Python."""
    return name.startswith("nvidia/") or name == "torch/version.py" or name.startswith(("torch/lib/", "torch/include/"))


def unpack(wheel: pathlib.Path, folder: pathlib.Path) -> None:
    base = folder.resolve()
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.infolist():
            if not (base / member.filename).resolve().is_relative_to(base):
                fail(f"{wheel.name} holds a path that leaves its folder: {member.filename!r}")
            if wanted(member.filename):
                archive.extract(member, base)


def main() -> None:
    if users_own() or complete():
        return
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        fail(f"the pinned wheels are for Linux x86_64, this is {platform.system()} {platform.machine()}; set LIBTORCH to a libtorch {VERSION}")
    print(f"setup: fetching libtorch {VERSION} (about 545 MB, once) ...", flush=True)
    with tempfile.TemporaryDirectory(dir=ROOT, prefix=".libtorch-") as scratch:
        fresh = pathlib.Path(scratch) / "new"
        fresh.mkdir()
        for wheel in download(pathlib.Path(scratch)):
            unpack(wheel, fresh)
        if version_of(fresh / "torch") != VERSION:
            fail(f"the wheel states torch {version_of(fresh / 'torch')}, expected {VERSION}")
        (fresh / "complete").write_text(stamp())
        shutil.rmtree(TARGET, ignore_errors=True)
        fresh.rename(TARGET)
    print("setup: libtorch is in .libtorch/")


if __name__ == "__main__":
    main()
