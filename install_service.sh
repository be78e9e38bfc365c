#!/usr/bin/env bash
# Installs WolfScale as a systemd service:
#   ./install_service.sh node                 a node of the cluster: wolfscale-node.service
#   ./install_service.sh node --bootstrap     the same on the cluster's first machine, which makes the cluster, once
#   ./install_service.sh proxy                a proxy on a machine without a node: wolfscale-proxy.service
# It asks for a configuration where there is none (by `wolfscale init`), never overwrites one, and can be run again:
# to update the program, or to fit the unit to a changed configuration. A running service is restarted only if one of the
# two changed. Changes of your own to the unit belong into a drop-in (`systemctl edit wolfscale-node`): the unit itself is
# written anew each time.
#
# Who runs it. A node with a managed MariaDB, a witness and a proxy run as the system user `wolfscale`, who owns
# /var/lib/wolfscale and nothing else: the node and its server need no right that another user has not. Two kinds of node
# run as root, with the few capabilities that they need: one with an external server, whose unit it starts, stops
# and kills and whose files it replaces; and one that ran as root before, whose MariaDB belongs to the user mysql.
#
# The unit never has --bootstrap. A flag that founds a cluster and is left in a unit file could found a second one
# on a new disk; so the founding is one run of the node in the foreground, before the unit is started.
set -euo pipefail

root=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
kind=
config=/etc/wolfscale/wolfscale.toml
prefix=/opt/wolfscale
unit_dir=/etc/systemd/system
user=
in_place=
bootstrap=
start=yes
dry_run=
init_options=()
changed=

usage() {
  cat <<'TEXT'
usage: install_service.sh node|proxy [options] [-- options for `wolfscale init`]
  --bootstrap        make a new cluster with this node, once; only on the cluster's first machine
  --config FILE      the configuration (/etc/wolfscale/wolfscale.toml)
  --prefix DIR       where the program is installed (/opt/wolfscale)
  --in-place         run the program from this directory instead
  --user NAME        who runs it, instead of the user that this script would choose
  --unit-dir DIR     where the unit is written (/etc/systemd/system)
  --no-start         write the unit, and neither enable nor start it
  --dry-run          print what would be done, and the unit; change nothing
TEXT
}

fail() { # message, next step
  echo "install_service.sh: $1" >&2
  [ -z "${2:-}" ] || echo "  next: $2" >&2
  exit "${3:-1}"
}

say() { echo "install_service.sh: $*"; }

# Runs a command, or prints it.
run() {
  if [ -n "$dry_run" ]; then
    printf 'would run:'
    printf ' %q' "$@"
    printf '\n'
  else
    "$@"
  fi
}

need_value() { # option, its value
  [ -n "${2:-}" ] || fail "$1 needs a value" "install_service.sh --help explains the options" 2
}

while [ $# -gt 0 ]; do
  case $1 in
    node | proxy) kind=$1 ;;
    --bootstrap) bootstrap=yes ;;
    --config | --prefix | --user | --unit-dir)
      need_value "$@"
      case $1 in --config) config=$2 ;; --prefix) prefix=$2 ;; --user) user=$2 ;; --unit-dir) unit_dir=$2 ;; esac
      shift
      ;;
    --in-place) in_place=yes ;;
    --no-start) start= ;;
    --dry-run) dry_run=yes ;;
    -h | --help) usage && exit 0 ;;
    --)
      shift
      init_options=("$@")
      break
      ;;
    *) usage >&2 && fail "unknown argument $1" "" 2 ;;
  esac
  shift
done
[ -n "$kind" ] || { usage >&2 && fail "say which service: node or proxy" "" 2; }
[ -z "$bootstrap" ] || [ "$kind" = node ] || fail "a proxy makes no cluster" "leave --bootstrap out" 2
[ -z "$bootstrap" ] || [ -n "$start" ] || fail "--bootstrap and --no-start contradict each other" "leave one out" 2
case $config$prefix$unit_dir in *[[:space:]%]*) fail "paths with blanks or % are not supported" "choose others" 2 ;; esac
config=$(realpath -m "$config")
if [ -z "$dry_run" ] && [ "$(id -u)" != 0 ]; then
  fail "a service can only be installed by root" "run it with sudo, or try --dry-run"
fi

name=wolfscale-$kind
unit=$unit_dir/$name.service

# --- The program ------------------------------------------------------------------------------------------

install_program() {
  if [ "$kind" = node ] && command -v apt-get >/dev/null; then
    run "$root/docker/install-packages"
  fi
  if [ -n "$in_place" ]; then
    program=$root/.venv/bin/wolfscale
    [ -x "$program" ] || run "$root/run.sh" --version
    return
  fi
  program=$prefix/bin/wolfscale
  # The system's own before one of root's PATH, which may be in root's home, where the service cannot go.
  local python=${PYTHON:-/usr/bin/python3}
  [ -x "$python" ] || python=python3
  if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    fail "Python 3.11 or later is needed, and ${python} is not" "name one with PYTHON=/path/to/python"
  fi
  # Two states of the program may have one version; what is installed is known by what it was made of.
  local sum_file=$prefix/installed-from sum
  sum=$(find "$root/src" "$root/pyproject.toml" "$root/requirements.txt" -type f ! -name '*.pyc' ! -path '*.egg-info/*' -print0 |
    sort -z | xargs -0 sha256sum | sha256sum)
  if [ -x "$program" ] && [ "$sum" = "$(cat "$sum_file" 2>/dev/null)" ]; then
    say "$program is up to date"
    return
  fi
  changed=yes
  [ -x "$prefix/bin/python" ] || run "$python" -m venv "$prefix"
  run "$prefix/bin/pip" install --quiet --disable-pip-version-check -c "$root/requirements.txt" "$root"
  run "$prefix/bin/pip" install --quiet --disable-pip-version-check --no-deps --force-reinstall "$root"
  [ -n "$dry_run" ] || echo "$sum" >"$sum_file"
  [ -e /usr/local/bin/wolfscale ] || run ln -s "$program" /usr/local/bin/wolfscale
}

# --- The configuration ------------------------------------------------------------------------------------

ask_for_configuration() {
  if [ -e "$config" ]; then
    say "$config is there and stays as it is"
    return
  fi
  local options=(--config "$config")
  if [ "$kind" = proxy ]; then options+=(--proxy); else options+=(--data-dir /var/lib/wolfscale/node); fi
  options+=("${init_options[@]}")
  if [ -z "$dry_run" ] && [ ${#init_options[@]} -eq 0 ] && [ ! -t 0 ]; then
    fail "there is no configuration $config, and nobody to ask for one" \
      "give answers: install_service.sh $kind -- --yes --id NAME --peer HOST:PORT; \`wolfscale init --help\` lists them"
  fi
  run "$program" init "${options[@]}"
  new_configuration=yes
}

# What is configured, as root sees it; nothing where there is no configuration yet.
read_settings() {
  local teller=$program
  [ -x "$teller" ] || teller=$root/.venv/bin/wolfscale
  settings=
  if [ -e "$config" ] && [ -x "$teller" ]; then
    settings=$("$teller" info --json --config "$config")
  fi
}

setting() { sed -nE 's/^ *"'"$1"'": "(.*)",?$/\1/p' <<<"$settings"; }

choose_user() {
  data_dir=$(setting 'data directory')
  [ -n "$data_dir" ] || data_dir=/var/lib/wolfscale/node
  mode=$(setting MariaDB)
  if [ -n "$user" ]; then
    :
  elif [ "$kind" = proxy ]; then
    user=wolfscale
  elif [[ $mode == external* ]]; then
    user=root
  elif [ -n "$(ls -A "$data_dir" 2>/dev/null)" ]; then
    user=$(stat -c %U "$data_dir") # whose data it is
  else
    user=wolfscale
  fi
  group=$(id -gn "$user" 2>/dev/null || echo "$user")
}

# Sets the words before a command that run it as the service will; a unit's HOME is its user's. An array and not a
# function, so that a command in the background is the process itself.
choose_words() {
  as_user=(env)
  if [ "$user" != root ]; then
    local home
    home=$(getent passwd "$user" | cut -d: -f6) || true
    as_user=(setpriv "--reuid=$user" "--regid=$group" --init-groups env "HOME=${home:-/var/lib/wolfscale}")
  fi
}

make_user() {
  if [ "$user" = wolfscale ] && ! getent passwd wolfscale >/dev/null; then
    run useradd --system --home-dir /var/lib/wolfscale --no-create-home --shell /usr/sbin/nologin wolfscale
  fi
  # Only with a configuration that was made just now: an existing one, and its secret, keep owner and mode.
  if [ -n "${new_configuration:-}" ] && [ "$user" != root ]; then
    run chgrp "$group" "$config"
    run chmod 0640 "$config"
    local secret_file
    secret_file=$(setting cluster.secret_file)
    if [[ $secret_file == /etc/wolfscale/* ]] && [ -e "$secret_file" ]; then
      run chgrp "$group" "$secret_file"
      run chmod 0640 "$secret_file"
    fi
  fi
  if [ "$kind" = node ]; then
    # Beside the configuration the node notes that a cluster exists. With the sticky bit it can make files there and
    # change nobody else's.
    if [ "$user" != root ] && [ "$(dirname "$config")" = /etc/wolfscale ]; then
      run chgrp "$group" /etc/wolfscale
      run chmod 1775 /etc/wolfscale
    fi
    if [ "$user" = wolfscale ]; then
      run install -d -m 0711 -o wolfscale -g "$group" /var/lib/wolfscale
    fi
    # Where none is configured, the node makes its own below its user's home.
    if [ -n "$(setting node.data_dir)" ] && [ -z "$(ls -A "$data_dir" 2>/dev/null)" ]; then
      run install -d -m 0700 -o "$user" -g "$group" "$data_dir"
    fi
  fi
}


check_configuration() {
  if [ -n "$dry_run" ]; then
    run "${as_user[@]}" "$program" validate --config "$config"
    return
  fi
  "${as_user[@]}" "$program" --version >/dev/null ||
    fail "the user $user cannot run $program" \
      "program and Python must be where $user may go, as in /opt: leave --in-place out, or name another PYTHON="
  "${as_user[@]}" "$program" validate --config "$config" ||
    fail "the service, run by $user, cannot use $config" \
      "correct it; files that it names must be readable by $user (chgrp $user FILE; chmod 0640 FILE); then run this again" 2
}

# --- The unit ---------------------------------------------------------------------------------------------

is_home() { [[ $1 == /home/* || $1 == /root/* || $1 == /run/user/* ]]; }

write_unit() {
  local command="$program start --config $config" description="WolfScale node" port low_ports=
  [ "$kind" = node ] || command="$program proxy --config $config" description="WolfScale proxy"
  for port in "$(setting proxy.bind_address)" "$(setting api.bind_address)" "$(setting node.bind_address)"; do
    port=${port##*:}
    [ -z "$port" ] || [ "$port" -ge 1024 ] || low_ports=yes
  done
  cat <<UNIT
# Written by install_service.sh, which writes it anew: put changes into a drop-in (systemctl edit $name).
[Unit]
Description=$description
Documentation=file:$root/README.md
Wants=network-online.target
After=network-online.target
# A database is started again and again, however long its disk or its network is away.
StartLimitIntervalSec=0

[Service]
Type=exec
User=$user
ExecStart=$command
# Without --bootstrap, on purpose: install_service.sh says why.
Restart=on-failure
RestartSec=5
UNIT
  if [ "$(systemctl --version 2>/dev/null | sed -nE '1s/systemd ([0-9]+).*/\1/p')" -ge 254 ] 2>/dev/null; then
    echo "RestartSteps=5"
    echo "RestartMaxDelaySec=60"
  fi
  cat <<UNIT
# Exit code 2: the configuration cannot be used, and will not be any better in five seconds.
RestartPreventExitStatus=2
# Only the node gets SIGTERM: it hands its leadership over and stops MariaDB itself, within 60 s. A SIGTERM to MariaDB
# would let it commit what no majority has. What is left after the time is killed, which loses nothing.
KillMode=mixed
TimeoutStopSec=120
# MariaDB killed for want of memory is the node's to deal with, not the end of the unit.
OOMPolicy=continue
LimitNOFILE=262144
TasksMax=16384
UMask=0027
NoNewPrivileges=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
PrivateDevices=yes
LockPersonality=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
# Netlink: how the C library learns which kinds of address this machine has.
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
UNIT
  if is_home "$program" || is_home "$(realpath -m "$(dirname "$program")/python")" || is_home "$config" || is_home "$data_dir" || is_home "$(setting database.data_dir)"; then
    echo "# Something that it needs is in a home directory."
    echo "ProtectHome=no"
  else
    echo "ProtectHome=yes"
  fi
  if [ "$user" = root ]; then
    # The files and the processes of MariaDB are another user's; an external server's directory and socket may be anywhere.
    echo "ProtectSystem=full"
    echo "ReadWritePaths=-$(dirname "$config")"
    echo "CapabilityBoundingSet=CAP_CHOWN CAP_DAC_OVERRIDE CAP_FOWNER CAP_KILL CAP_SETGID CAP_SETUID CAP_SYS_PTRACE${low_ports:+ CAP_NET_BIND_SERVICE}"
  else
    echo "ProtectSystem=strict"
    [ "$kind" != node ] || echo "ReadWritePaths=-/var/lib/wolfscale -$data_dir -$(dirname "$config")"
    echo "PrivateTmp=yes"
    echo "ProtectProc=invisible"
    echo "RemoveIPC=yes"
    echo "CapabilityBoundingSet=${low_ports:+CAP_NET_BIND_SERVICE}"
    [ -z "$low_ports" ] || echo "AmbientCapabilities=CAP_NET_BIND_SERVICE"
  fi
  cat <<'UNIT'

[Install]
WantedBy=multi-user.target
UNIT
}

install_unit() {
  local text
  text=$(write_unit)
  if [ -n "$dry_run" ]; then
    echo "would write $unit:"
    echo "$text"
    return
  fi
  mkdir -p "$unit_dir"
  if [ "$text" = "$(cat "$unit" 2>/dev/null)" ]; then
    say "$unit is as it should be"
  else
    printf '%s\n' "$text" >"$unit.new"
    chmod 0644 "$unit.new"
    mv "$unit.new" "$unit"
    changed=yes
    say "wrote $unit"
  fi
}

# --- Founding and starting --------------------------------------------------------------------------------

found_cluster() {
  if [ -n "$dry_run" ]; then
    echo "would run once, until it takes writes: $program start --config $config --bootstrap"
    return
  fi
  [ "$(setting api.enabled)" != false ] ||
    fail "whether the cluster is made can only be seen over HTTP, and enabled = false in [api]" \
      "run once by hand, until it takes writes: $program start --config $config --bootstrap"
  say "making the cluster"
  "${as_user[@]}" "$program" start --config "$config" --bootstrap &
  local node=$! waited=0
  trap 'kill -TERM "$node" 2>/dev/null || true' EXIT
  until "$program" status --config "$config" >/dev/null 2>&1; do
    kill -0 "$node" 2>/dev/null || fail "the node ended before it had made the cluster" "see its words above"
    [ "$waited" -lt 600 ] || { kill "$node" && fail "the node does not take writes after 600 s" "see its words above"; }
    sleep 1
    waited=$((waited + 1))
  done
  read_settings
  kill -TERM "$node"
  wait "$node" || fail "the node did not end in good order" "see its words above"
  trap - EXIT
  say "the cluster is made; its secret: $(setting 'cluster secret')"
  say "every other machine needs a copy of it before its node can join"
}

start_service() {
  if [ -n "$start" ] && [ -z "$dry_run" ] && [[ $(setting 'cluster secret') == "none yet"* ]]; then
    fail "the cluster's secret is missing here, so that $name would end at once" \
      "copy the first node's file cluster-secret to ${data_dir}/cluster-secret, readable by $user alone; then run this again"
  fi
  if [ -z "$start" ]; then
    say "not started, as wanted: systemctl enable --now $name"
  elif [ -n "$dry_run" ] || [ -d /run/systemd/system ]; then
    run systemctl daemon-reload
    run systemctl enable "$name"
    if [ -z "$changed" ] && is_running; then
      say "$name runs, and nothing changed here; after a change of the configuration: systemctl restart $name"
    else
      run systemctl restart "$name"
    fi
    say "what it does: journalctl -u $name -f; how the cluster is: wolfscale status"
  else
    say "systemd does not run here: start the service where it does"
  fi
}

is_running() { [ -d /run/systemd/system ] && systemctl is-active --quiet "$name"; }

install_program
ask_for_configuration
read_settings
choose_user
make_user
choose_words
check_configuration
install_unit
if [ -n "$bootstrap" ]; then
  if is_running; then
    fail "$name runs already: it is a member of a cluster, or is trying to become one" "leave --bootstrap out"
  fi
  found_cluster
fi
start_service
