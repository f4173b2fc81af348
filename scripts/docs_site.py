"""Build or serve the documentation site with MkDocs, in an environment of its own.

    python scripts/docs_site.py build [FOLDER]
    python scripts/docs_site.py serve [HOST:PORT]

The environment is installed from requirements-docs.lock, again when that file changes. The pictures
of the viewer are made where they can be, again when the viewer was built again.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
FOLDER: Final = ROOT / ".cache" / "docs"
ENVIRONMENT: Final = FOLDER / "environment"
LOCK: Final = ROOT / "requirements-docs.lock"
SITE: Final = FOLDER / "site"
PICTURES: Final = FOLDER / "pictures"
VIEWER: Final = ROOT / "src" / "framecache" / "server" / "viewer" / "index.html"
ADDRESS: Final = "127.0.0.1:8001"


def build(site: Path = SITE) -> None:
    """Build the site into a folder. A warning of MkDocs, such as a broken link, is an error."""
    _mkdocs("build", "--strict", "--site-dir", str(site))


def serve(address: str = ADDRESS) -> None:
    """Serve the site until Ctrl-C; a page that changes is built again."""
    _mkdocs("serve", "--dev-addr", address, "--watch", "src", "--watch", "README.md")


def _mkdocs(*arguments: str) -> None:
    _make_pictures()
    command = [_python(), "-m", "mkdocs", *arguments]
    # Material for MkDocs else prints a notice about its successor.
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    subprocess.run(command, cwd=ROOT, env=environment, check=True)


def _make_pictures() -> None:
    """Make the pictures of the viewer, unless they show the viewer as it is built now."""
    stamp = PICTURES / "viewer.mtime"
    built = str(VIEWER.stat().st_mtime_ns) if VIEWER.is_file() else ""
    if built and stamp.exists() and stamp.read_text() == built:
        return
    PICTURES.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, str(ROOT / "scripts" / "viewer_pictures.py"), str(PICTURES)]
    made = subprocess.run(command, check=False, capture_output=True, text=True)
    if made.returncode == 0:
        stamp.write_text(built)
    else:
        reason = made.stderr.strip().rpartition("\n")[2]
        print(f"==> the site has no pictures of the viewer: {reason}", file=sys.stderr)


def _python() -> str:
    """Return the Python of the environment, which is made unless it is as the lock says."""
    python = ENVIRONMENT / "bin" / "python"
    stamp = ENVIRONMENT / "lock.sha256"
    wanted = hashlib.sha256(LOCK.read_bytes()).hexdigest()
    if not stamp.exists() or stamp.read_text() != wanted:
        print("==> installing the tools of the documentation site", file=sys.stderr)
        shutil.rmtree(ENVIRONMENT, ignore_errors=True)
        # Without pip of its own: Debian ships Python without what would install it.
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", ENVIRONMENT], check=True)
        _install(python)
        stamp.write_text(wanted)
    return str(python)


def _install(python: Path) -> None:
    """Install the lock with uv, in a sixth of pip's time; with pip where uv is not or cannot.

    Only pip knows its own settings, such as another package index.
    """
    options = ["--no-deps", "--require-hashes", "--requirement", str(LOCK)]
    uv = Path(sys.executable).with_name("uv")
    if uv.exists():
        with_uv = [str(uv), "pip", "install", "--quiet", "--python", str(python), *options]
        # Where uv cannot connect, pip is asked soon.
        environment = os.environ | {"UV_HTTP_RETRIES": "0", "UV_HTTP_TIMEOUT": "20"}
        if subprocess.run(with_uv, env=environment, check=False).returncode == 0:
            return
    pip = [sys.executable, "-m", "pip", "--python", str(python), "-qq", "--no-input"]
    subprocess.run([*pip, "--disable-pip-version-check", "install", *options], check=True)


if __name__ == "__main__":
    try:
        {"build": build, "serve": serve}[sys.argv[1]](*sys.argv[2:])  # type: ignore[operator]
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)
    except KeyboardInterrupt:
        sys.exit(130)
