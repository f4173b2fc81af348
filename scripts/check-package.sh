#!/usr/bin/env bash
# Builds the wheel and the source package into dist/, and checks them as a user gets them:
# twine's checks, installations in empty environments, with all extras and without any, and
# scripts/smoke_test.py there. The size of a plain installation is compared with the promised one and
# with the limits of AWS Lambda. Next to the packages it writes a bill of materials (CycloneDX) and a list
# of the licenses of all dependencies.
#
#   check-package.sh [ENVIRONMENT]   that has build, hatchling and uv; .venv by default
#   PACKAGE_SIZE_ARGS                options of scripts/package_size.py, such as other limits
#
# The wheel is built from the source package where no Node can be found, as on a user's machine.
set -euo pipefail

cd "$(dirname "$0")/.."
tools=$(realpath --no-symlinks "${1:-.venv}")/bin
python=$tools/python
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# environment NAME: an empty environment, without pip, so that all it holds was asked for.
environment() {
  "$python" -m venv --without-pip "$work/$1"
}

install() {
  "$tools/uv" pip install --quiet --python "$work/$1/bin/python" "${@:2}"
}

echo "==> building the source package"
rm -rf dist
"$python" -m build --no-isolation --sdist --outdir dist . >"$work/log" 2>&1 \
  || { tail -n 40 "$work/log" >&2; exit 1; }
grep --extended-regexp 'This package holds (no|an older) viewer' "$work/log" >&2 && {
  echo "==> a release needs the viewer: see above for what to install" >&2
  exit 1
}

echo "==> building the wheel from it, without Node"
mkdir "$work/no-node" "$work/source"
for name in node npm; do
  printf '#!/bin/sh\necho "%s was called" >&2\nexit 1\n' "$name" >"$work/no-node/$name"
  chmod +x "$work/no-node/$name"
done
tar --extract --gzip --file dist/*.tar.gz --directory "$work/source" --strip-components 1
PATH="$work/no-node:$PATH" "$python" -m build --no-isolation --wheel --outdir dist "$work/source" \
  >"$work/log" 2>&1 || { tail -n 40 "$work/log" >&2; exit 1; }
wheel=$(realpath dist/*.whl)
name=$(basename "$wheel" | cut -d - -f 1,2)
"$python" -m zipfile --list "$wheel" >"$work/names"
for file in framecache/py.typed framecache/server/viewer/index.html; do
  grep --quiet "^$file " "$work/names" || {
    echo "==> $wheel lacks $file" >&2
    exit 1
  }
done

echo "==> twine check"
environment tools
install tools --no-deps --require-hashes -r requirements-package.lock
"$work/tools/bin/python" -m twine --no-color check --strict dist/*.whl dist/*.tar.gz

# try ENVIRONMENT PART: run the smoke test where the checkout cannot be imported.
try() {
  (cd "$work" && "$1/bin/python" -I "$OLDPWD/scripts/smoke_test.py" "$2" "$work/cache")
}

echo "==> installing the wheel with all extras, extracting, and trying the service"
environment user
install user "$wheel[all]"
try user extract
try user serve

echo "==> installing the wheel alone, and reading what was extracted"
environment base
install base --compile-bytecode "$wheel"
read -ra size_args <<<"${PACKAGE_SIZE_ARGS:-}"
"$python" -I scripts/package_size.py "$work/base/bin/python" "${size_args[@]}"
try base base

echo "==> writing the bill of materials and the licenses"
"$work/tools/bin/python" -m cyclonedx_py environment --output-reproducible --output-format JSON \
  --pyproject pyproject.toml --output-file "dist/$name.cdx.json" "$work/user/bin/python"
"$work/user/bin/python" -I scripts/licenses.py >"dist/$name.licenses.md"
ls -l dist
