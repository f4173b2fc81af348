#!/usr/bin/env bash
# A throw-away Ceph on loopback: one monitor, one OSD that keeps its data in memory, and an
# S3 gateway. A real S3 server for tests; about 12 s to start, nothing survives it.
#
#   ceph-rgw.sh start DIR [PORT [MONITOR_PORT]]   default ports 7480 and PORT + 1
#   ceph-rgw.sh gateway DIR PORT                  one more gateway of the cluster in DIR
#   ceph-rgw.sh stop DIR                          ends all that was started in DIR
#
# DIR is emptied by `start`, so it must be new, or one that `start` made. User "test", secret
# "testsecret", region us-east-1, path-style addresses.
#
# Needs, on Debian and Ubuntu (about 60 MB):
#   apt-get install -y --no-install-recommends ceph-mon ceph-osd ceph-mgr radosgw ceph-common
set -eEuo pipefail

usage() { sed -n '5,7s/^# *//p' "$0" >&2; exit 2; }

[[ $# -ge 2 ]] || usage
command=$1
dir=$2
port=${3:-7480}
monitor_port=${4:-$((port + 1))}
conf=$dir/ceph.conf

main() {
  case $command in
    start) start ;;
    gateway) add_gateway ;;
    stop) stop_daemons ;;
    *) usage ;;
  esac
}

start() {
  require_free_port
  prepare_folder
  write_config
  # A half-started cluster must not outlive a failed start.
  trap 'give_up "$BASH_COMMAND"' ERR INT TERM
  start_monitor
  start_osd
  start_gateway
  radosgw-admin --conf "$conf" user create --uid=test --display-name=test \
    --access-key=test --secret-key=testsecret >/dev/null
  trap - ERR INT TERM
  announce_gateway
}

add_gateway() {
  if [[ ! -e $conf ]]; then
    echo "no cluster was started in $dir: start one first" >&2
    exit 2
  fi
  require_free_port
  trap 'report "$BASH_COMMAND"' ERR
  start_gateway
  trap - ERR
  announce_gateway
}

require_free_port() {
  if answers; then
    echo "port $port is taken: name another" >&2
    exit 1
  fi
}

announce_gateway() {
  echo "S3 gateway on http://127.0.0.1:$port, user test, secret testsecret"
}

answers() { (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; }

give_up() {
  trap - ERR INT TERM
  stop_daemons
  report "$1"
}

report() {
  trap - ERR
  echo "Ceph did not start; this failed: $1" >&2
  tail -n 5 "$dir"/log/*.log >&2
  exit 1
}

prepare_folder() {
  if [[ -e $conf ]]; then
    stop_daemons
    rm -rf "$dir"
  elif [[ -d $dir && -n $(ls -A "$dir") ]]; then
    echo "$dir is not empty, and not a folder of this script: name another" >&2
    exit 2
  fi
  mkdir -p "$dir"/{mon,osd,log,crash}
}

write_config() {
  cat >"$conf" <<CONF
[global]
fsid = $(new_uuid)
mon_host = v1:127.0.0.1:$monitor_port
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
# One protocol, no authentication and no replicas: all of it serves a single machine.
ms_bind_msgr2 = false
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
mon_allow_pool_size_one = true
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 8
osd_crush_chooseleaf_type = 0
osd_objectstore = memstore
memstore_device_bytes = 4294967296
# An OSD that puts itself on the map may speak before it has learned which cluster it is in, and
# is then refused ("wrong fsid"). start_osd puts it there instead.
osd_class_update_on_start = false
osd_crush_update_on_start = false
# Ceph refuses to run on a rather full disk, on which it keeps only its logs here.
mon_data_avail_warn = 2
mon_data_avail_crit = 1
run_dir = $dir
crash_dir = $dir/crash
mon_data = $dir/mon
osd_data = $dir/osd
log_file = $dir/log/\$name.log
pid_file = $dir/\$name.pid
# A socket's path has at most 107 bytes, fewer than a test's folder may need.
admin_socket =
rgw_data = $dir
CONF
}

start_monitor() {
  local fsid
  fsid=$(sed -n 's/^fsid = //p' "$conf")
  monmaptool --create --fsid "$fsid" --addv a "[v1:127.0.0.1:$monitor_port]" "$dir/monmap" >/dev/null
  ceph-mon --conf "$conf" --id a --mkfs --monmap "$dir/monmap"
  ceph-mon --conf "$conf" --id a
}

start_osd() {
  local uuid
  uuid=$(new_uuid)
  timeout 60 ceph --conf "$conf" osd new "$uuid" 0 >/dev/null
  timeout 60 ceph --conf "$conf" osd crush add osd.0 1 root=default >/dev/null 2>&1
  ceph-osd --conf "$conf" --id 0 --mkfs --osd-uuid "$uuid" >/dev/null 2>&1
  timeout 60 ceph-osd --conf "$conf" --id 0 >/dev/null 2>&1
}

start_gateway() {
  # Without tcp_nodelay each GET waits 40 ms for a delayed acknowledgment.
  timeout 60 radosgw --conf "$conf" --name "client.rgw.$port" \
    --rgw-frontends "beast endpoint=127.0.0.1:$port tcp_nodelay=1" >/dev/null
  for _ in $(seq 120); do
    if answers; then return; fi
    sleep 0.25
  done
  return 1
}

# Nothing in it is worth a graceful end, which takes 6 s.
stop_daemons() {
  local file pid
  for file in "$dir"/*.pid; do
    if [[ -s $file ]]; then
      pid=$(<"$file")
      if is_ours "$pid"; then kill -KILL "$pid"; fi
      while is_ours "$pid"; do sleep 0.05; done
    fi
  done
  rm -f "$dir"/*.pid
}

# A number may have passed to another process; and one that has ended may stay a zombie, which
# has no command line.
is_ours() { grep -qsF "$conf" "/proc/$1/cmdline"; }

new_uuid() { cat /proc/sys/kernel/random/uuid; }

main
