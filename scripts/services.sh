#!/usr/bin/env bash
# Installs and runs the Postgres and Redis that tests and benchmarks use.
#
#   scripts/services.sh up      install what is missing, start what is not running
#   scripts/services.sh env     print variables for the shell: eval "$(scripts/services.sh env)"
#   scripts/services.sh down    stop both and delete their data
#
# They are this project's own: loopback only, on free ports (never 5432 or 6379), with their data below
# IMSERVER_TEST_DIR (default: $TMPDIR/imserver-test). Nothing else on the machine is started or stopped.
#
#   IMSERVER_TEST_DIR     where data, ports and logs are kept
#   IMSERVER_TEST_FSYNC   on (default: what a benchmark must use) or off (faster functional tests)
#   IMSERVER_TEST_SYNC_DELAY   microseconds that each sync of Postgres' log takes longer, as on a slower disk (needs strace)
set -euo pipefail

tmp=${TMPDIR:-/tmp}
dir=${IMSERVER_TEST_DIR:-${tmp%/}/imserver-test}
pg=$dir/postgres
redis=$dir/redis
db_user=imserver

say() { printf 'services: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# as_root runs a command as root: installing packages needs it.
as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"
  elif command -v sudo >/dev/null; then sudo "$@"
  else die "need root (or sudo) for: $*"
  fi
}

# as_db runs a command as the user that owns the database: Postgres refuses to run as root.
as_db() {
  if [ "$(id -u)" = 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi
}

# pg_bin prints the folder of the newest Postgres binaries, or fails.
pg_bin() {
  local found
  found=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -t/ -k5 -n | tail -1)
  if [ -z "$found" ] && command -v initdb >/dev/null; then
    found=$(dirname "$(readlink -f "$(command -v initdb)")")
  fi
  [ -n "$found" ] && [ -x "$found/initdb" ] && [ -x "$found/postgres" ] && echo "$found"
}

install_missing() {
  local want=()
  pg_bin >/dev/null && command -v psql >/dev/null || want+=(postgresql)
  command -v redis-server >/dev/null || want+=(redis-server)
  [ ${#want[@]} -eq 0 ] && return
  command -v apt-get >/dev/null || die "please install: ${want[*]}"
  say "installing ${want[*]}"

  # Debian would start a cluster and a Redis on the default ports: tell it not to.
  local conf=/etc/postgresql-common/createcluster.conf policy=/usr/sbin/policy-rc.d ours=
  as_root mkdir -p /etc/postgresql-common
  [ -e $conf ] || echo 'create_main_cluster = false' | as_root tee $conf >/dev/null
  if [ ! -e $policy ]; then
    ours=yes
    printf '#!/bin/sh\nexit 101\n' | as_root tee $policy >/dev/null
    as_root chmod 755 $policy
  fi
  local log rc=0
  log=$(mktemp)
  { as_root apt-get update && as_root env DEBIAN_FRONTEND=noninteractive \
      apt-get install -y --no-install-recommends -o Dpkg::Options::=--force-confold "${want[@]}"; } >"$log" 2>&1 || rc=$?
  [ -z "$ours" ] || as_root rm -f $policy
  [ $rc -eq 0 ] || { tail -20 "$log" >&2; die "installing ${want[*]} failed"; }
  rm -f "$log"
}

# free_port prints a port nobody listens on, below the range the kernel hands out by itself.
free_port() {
  local port
  for _ in $(seq 100); do
    port=$((20000 + (RANDOM * 32768 + RANDOM) % 10000))
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo $port; return; }
  done
  die "no free port"
}

# alive FILE NAME: does the process whose id is in FILE run, and is it NAME?
alive() {
  local pid
  pid=$(head -1 "$1" 2>/dev/null) && [ -n "$pid" ] && grep -q "$2" "/proc/$pid/comm" 2>/dev/null
}

pg_url() { echo "postgres://$db_user@127.0.0.1:$(cat "$pg/port")/$1?sslmode=disable"; }
redis_url() { echo "redis://127.0.0.1:$(cat "$redis/port")/0"; }

pg_query() { psql -X -q -v ON_ERROR_STOP=1 "$(pg_url postgres)" -c "$1"; }

pg_up() {
  local bin fsync=${IMSERVER_TEST_FSYNC:-on}
  bin=$(pg_bin)
  if ! alive "$pg/data/postmaster.pid" postgres; then
    if [ ! -s "$pg/data/PG_VERSION" ]; then
      rm -rf "$pg" && mkdir -p "$pg"
      [ "$(id -u)" != 0 ] || chown postgres "$pg"
      as_db test -x "$pg" || die "the database user cannot reach $pg: set IMSERVER_TEST_DIR"
      as_db "$bin/initdb" -D "$pg/data" -U $db_user -A trust -E UTF8 --locale=C --no-sync >"$dir/initdb.log" 2>&1 ||
        { cat "$dir/initdb.log" >&2; die "initdb failed"; }
    fi
    free_port >"$pg/port"
    as_db rm -f "$pg/data/postmaster.pid" # of a process that is gone
    local postgres=$bin/postgres
    if [ -n "${IMSERVER_TEST_SYNC_DELAY:-}" ]; then
      postgres=$pg/slow-postgres
      printf '#!/bin/sh\nexec strace -D -f --seccomp-bpf -qq -o /dev/null -e trace=fdatasync -e inject=fdatasync:delay_exit=%s %s "$@"\n' \
        "$IMSERVER_TEST_SYNC_DELAY" "$bin/postgres" >"$postgres"
      chmod 755 "$postgres"
    fi
    as_db "$bin/pg_ctl" -p "$postgres" -D "$pg/data" -l "$pg/log" -w -t 60 -o "-p $(cat "$pg/port") -h 127.0.0.1 -k '' \
      -c max_connections=400 -c shared_buffers=256MB -c fsync=$fsync -c log_min_messages=warning" start >/dev/null </dev/null ||
      { tail -20 "$pg/log" >&2; die "Postgres did not start"; }
    echo "$fsync" >"$dir/fsync"
    say "Postgres on port $(cat "$pg/port"), fsync=$fsync"
  elif [ -n "${IMSERVER_TEST_FSYNC:-}" ] && [ "$(cat "$dir/fsync")" != "$fsync" ]; then
    # fsync given on the command line outranks the configuration file: restart.
    as_db "$bin/pg_ctl" -D "$pg/data" -m fast -w stop >/dev/null
    pg_up
  fi
}

redis_up() {
  alive "$redis/pid" redis-server && return
  mkdir -p "$redis"
  free_port >"$redis/port"
  redis-server --port "$(cat "$redis/port")" --bind 127.0.0.1 --save '' --appendonly no --databases 1024 \
    --daemonize yes --pidfile "$redis/pid" --logfile "$redis/log" --dir "$redis" >/dev/null
  for _ in $(seq 100); do
    (exec 3<>"/dev/tcp/127.0.0.1/$(cat "$redis/port")") 2>/dev/null &&
      { say "Redis on port $(cat "$redis/port")"; return; }
    sleep 0.05
  done
  tail -20 "$redis/log" >&2
  die "Redis did not start"
}

# stop FILE NAME SIGNAL: end the process whose id is in FILE, and wait for it.
stop() {
  alive "$1" "$2" || return 0
  local pid
  pid=$(head -1 "$1")
  kill "-$3" "$pid"
  for _ in $(seq 100); do kill -0 "$pid" 2>/dev/null || return 0; sleep 0.1; done
  kill -KILL "$pid" 2>/dev/null || true
}

print_env() {
  alive "$pg/data/postmaster.pid" postgres && alive "$redis/pid" redis-server || die "not running: scripts/services.sh up"
  printf "export IMSERVER_TEST_POSTGRES_URL='%s'\n" "$(pg_url postgres)"
  printf "export IMSERVER_TEST_REDIS_URL='%s'\n" "$(redis_url)"
}

# locked makes concurrent calls wait for each other; the children do not inherit the lock.
locked() {
  mkdir -p "$dir" && chmod a+x "$dir"
  (
    flock -w 300 9 || die "another scripts/services.sh is busy"
    "$@" 9>&-
  ) 9>"$dir/lock"
}

up() { install_missing; pg_up; redis_up; }
down() {
  stop "$pg/data/postmaster.pid" postgres INT
  stop "$redis/pid" redis-server TERM
  rm -rf "$pg" "$redis" "$dir/initdb.log" "$dir/fsync"
}

case ${1:-} in
  up) locked up ;;
  down) if [ -d "$dir" ]; then locked down; fi ;;
  env) print_env ;;
  *) say "usage: services.sh up | env | down"; exit 2 ;;
esac
