"""What importing framecache may not bring along."""

import json
import subprocess
import sys

import pytest

FRAMEWORKS = {"aiohttp", "fastapi", "flask", "ray", "starlette", "torch", "uvicorn"}
EVERY_MODULE = """
import importlib, pkgutil
for room in pkgutil.iter_modules(framecache.__path__, "framecache."):
    if room.name.split(".")[1] not in {"http", "ray", "testing", "torch"}:
        path = getattr(importlib.import_module(room.name), "__path__", ())
        for module in pkgutil.walk_packages(path, f"{room.name}."):
            importlib.import_module(module.name)
"""


@pytest.mark.parametrize("then", ["", EVERY_MODULE], ids=["package", "every module of the core"])
def test_import_never_loads_machine_learning_or_web_frameworks(then: str) -> None:
    program = f"import json, sys, framecache\n{then}\nprint(json.dumps(list(sys.modules)))"
    run = subprocess.run(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=True
    )
    packages = {name.partition(".")[0] for name in json.loads(run.stdout)}
    assert "framecache" in packages
    assert not packages & FRAMEWORKS
