#!/usr/bin/env bash
# Installs the programs that the tests use besides Python packages, where they are missing:
# ffmpeg makes the test clips and ffprobe tells the truth about them; Ceph is a real S3 server;
# Chromium shows the viewer; wrk asks a service for much at once.
#
#   install-test-tools.sh [PACKAGE=COMMAND ...]   more of them
#
# Without the right to install, it says what to install and succeeds: tests that need a missing
# program are skipped, or fail where CI=true.
set -euo pipefail

packages=(ffmpeg ceph-mon ceph-osd ceph-mgr radosgw ceph-common chromium wrk)
commands=(ffmpeg ceph-mon ceph-osd ceph-mgr radosgw ceph chromium wrk)
for more in "$@"; do
  packages+=("${more%%=*}")
  commands+=("${more##*=}")
done

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

log=$(mktemp)
trap 'rm -f "$log"' EXIT

apt_get() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get --quiet --yes -o Acquire::Retries=3 -o DPkg::Lock::Timeout=120 "$@" >>"$log" 2>&1
}

if command -v apt-get >/dev/null && [[ ${as_root[*]} != false ]]; then
  echo "==> installing ${missing[*]}"
  # Package lists may be absent or old; a source that is down may not be the one needed.
  apt_get update || true
  if apt_get install --no-install-recommends "${missing[@]}"; then exit 0; fi
  tail -n 20 "$log" >&2
fi

cat >&2 <<TEXT
==> not installed: ${missing[*]}
    Tests that need them are skipped (they fail where CI=true). On Debian and Ubuntu:
    sudo apt-get install --no-install-recommends ${missing[*]}
TEXT
