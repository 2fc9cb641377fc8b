#!/bin/bash
# One training on every host of a Cloud TPU slice. It runs on the hosts as a systemd unit, so it outlives the ssh session
# and this computer. From the project's root:
#   bash scripts/tpu/train.sh create NAME ZONE TYPE RUNTIME [--spot]    ask for the slice (a queued resource)
#   bash scripts/tpu/train.sh start NAME ZONE TRAINING...               copy the project, install it, start the training
#   bash scripts/tpu/train.sh status NAME ZONE                          what the slice and the training do
#   bash scripts/tpu/train.sh logs NAME ZONE                            follow the log of the first host (Ctrl-C ends it)
#   bash scripts/tpu/train.sh stop NAME ZONE                            save and end the training; the slice stays
#   bash scripts/tpu/train.sh keep TIMES NAME ZONE TYPE RUNTIME [--spot] -- TRAINING...
#                                                                       all of the above, and again after preemptions
# TRAINING... are the arguments of python -m echoforge_jax.train. README.md in this folder explains each step.
set -euo pipefail

readonly UNIT=echoforge
readonly POLL_S="${ECHOFORGE_POLL_S:-60}"

say() { echo "train.sh: $*" >&2; }
fail() {
  say "error: $*"
  exit 2
}

on_hosts() { # HOSTS (all, or a number) COMMAND
  gcloud compute tpus tpu-vm ssh "$name" --zone="$zone" --worker="$1" --command="$2"
}

create() { # TYPE RUNTIME [options of gcloud]
  local type="$1" runtime="$2"
  shift 2
  gcloud compute tpus queued-resources create "$name" --node-id="$name" --zone="$zone" \
    --accelerator-type="$type" --runtime-version="$runtime" "$@"
}

# WAITING_FOR_RESOURCES, PROVISIONING, ACTIVE, SUSPENDED (preempted), FAILED ...; NONE where there is no such resource,
# UNKNOWN where gcloud does not answer.
slice_state() {
  local found
  found="$(gcloud compute tpus queued-resources list --zone="$zone" --filter="name~/$name\$" \
    --format='value(state.state)')" || found=UNKNOWN
  echo "${found:-NONE}"
}

# Copies what git knows, as it lies here: neither .venv, .git, runs nor .cache. Nothing on the hosts is deleted.
copy_project() {
  local folder archive changed
  folder="$(git rev-parse --show-toplevel)" || fail "this is no git checkout; expected the project's root"
  archive="$(mktemp -d)/echoforge_jax.tar.gz"
  changed="$(git -C "$folder" stash create)" # a commit of the changed files; the checkout itself stays as it is
  git -C "$folder" archive --format=tar.gz --output="$archive" "${changed:-HEAD}"
  gcloud compute tpus tpu-vm scp "$archive" "$name:echoforge_jax.tar.gz" --zone="$zone" --worker=all
  rm -r "$(dirname "$archive")"
}

# Runs on every host. uv brings Python 3.12, because the images' own Python can be older than 3.11.
# shellcheck disable=SC2016 # the hosts expand it
readonly INSTALL='set -e
mkdir -p ~/echoforge_jax && cd ~/echoforge_jax && tar xzf ~/echoforge_jax.tar.gz
export PATH="$HOME/.local/bin:$PATH"
command -v uv >/dev/null || python3 -m pip install --quiet --user uv || python3 -m pip install --quiet --user --break-system-packages uv
[ -x .venv/bin/python ] || uv venv --quiet --python 3.12 .venv
uv pip install --quiet --python .venv/bin/python -e ".[tpu]"'

# An earlier training of this slice is saved and ended first. SIGTERM (a preemption, systemctl stop) saves the training. It is started again on its host
# after 75 (interrupted and saved) and after a lost process (76, or SIGABRT), twenty times at most; not after 1 (a bug),
# 2 (configuration or data), 3 (non-finite loss), 74 (storage) and 77 (another command took the folder over).
start() { # TRAINING...
  local arguments
  printf -v arguments '%q ' "$@"
  on_hosts all "sudo systemctl stop $UNIT 2>/dev/null; sudo systemctl reset-failed $UNIT 2>/dev/null; true"
  copy_project
  say "installing on all hosts (a few minutes the first time)"
  on_hosts all "$INSTALL"
  on_hosts all "cd ~/echoforge_jax && sudo systemd-run --unit=$UNIT --uid=\"\$(id -u)\" --gid=\"\$(id -g)\" --remain-after-exit \
--property=WorkingDirectory=\"\$PWD\" --property=KillMode=mixed --property=TimeoutStopSec=300 \
--property=Restart=on-failure --property=RestartSec=10 --property='RestartPreventExitStatus=1 2 3 74 77' \
--property=StartLimitIntervalSec=infinity --property=StartLimitBurst=21 \
--property=StandardOutput=append:\"\$HOME/echoforge.log\" --property=StandardError=append:\"\$HOME/echoforge.log\" \
--setenv=HOME=\"\$HOME\" --setenv=JAX_COMPILATION_CACHE_DIR=\"\$PWD/.cache/xla\" \
\"\$PWD/.venv/bin/python\" -m echoforge_jax.train --distributed=on $arguments"
  say "started; it runs on without this computer. Next: train.sh logs $name $zone"
}

# running, exited (done), failed, auto-restart, or dead (never started); then the exit code.
training_state() { # HOSTS
  on_hosts "$1" "systemctl show $UNIT --property=SubState --property=ExecMainStatus | cut -d= -f2 | sort -r | xargs"
}

stop() {
  say "saving and ending on all hosts (up to five minutes)"
  on_hosts all "sudo systemctl stop $UNIT"
}

status() {
  local state
  state="$(slice_state)"
  say "slice: $state"
  [ "$state" = ACTIVE ] || return 0
  on_hosts all "echo \"\$(hostname): \$(systemctl show $UNIT --property=SubState --property=ExecMainStatus | xargs)\"
tail -n 1 ~/echoforge.log 2>/dev/null || true"
}

# Asks for the slice, starts the training, and does both again after a preemption, until the training has ended.
keep() { # TIMES TYPE RUNTIME [options of gcloud] -- TRAINING...
  local left="$1" request=() training
  shift
  while [ "$#" -gt 0 ] && [ "$1" != -- ]; do
    request+=("$1")
    shift
  done
  [ "$#" -gt 1 ] || fail "expected -- and then the arguments of python -m echoforge_jax.train"
  shift
  while true; do
    case "$(slice_state)" in
      NONE) create "${request[@]}" ;;
      SUSPENDED | FAILED) # its machines are gone already; only the request of this name is left
        [ "$left" -gt 0 ] || fail "the slice is gone, and it was asked for again as often as you allowed"
        left=$((left - 1))
        say "the slice is gone; asking for it again ($left times left)"
        gcloud compute tpus queued-resources delete "$name" --zone="$zone" --quiet
        ;;
      ACTIVE)
        training="$(training_state 0)" || training=unknown # a host that is being preempted does not answer
        case "$training" in
          dead*) bash "$0" start "$name" "$zone" "$@" || say "the start failed; trying again" ;;
          exited*)
            say "the training is done. The slice still costs money: gcloud compute tpus queued-resources delete $name" \
              "--zone=$zone --force"
            return 0
            ;;
          *75) fail "the training was stopped and saved; train.sh start $name $zone ... continues it" ;;
          failed*) fail "the training has failed (state and exit code: $training); look at train.sh logs $name $zone" ;;
        esac
        ;;
    esac
    sleep "$POLL_S"
  done
}

usage() {
  sed -n '2,13s/^# \{0,1\}//p' "$0" >&2
  exit 2
}

[ "$#" -ge 3 ] || usage
readonly command="$1"
shift
times=""
if [ "$command" = keep ]; then
  times="$1"
  case "$times" in '' | *[!0-9]*) fail "keep $times: expected how often the slice may be asked for again" ;; esac
  shift
fi
[ "$#" -ge 2 ] || usage
readonly name="$1" zone="$2"
shift 2
case "$command" in
  create) [ "$#" -ge 2 ] || usage && create "$@" ;;
  start) [ "$#" -ge 1 ] || usage && start "$@" ;;
  status) status ;;
  logs) on_hosts 0 "tail -n 50 -F ~/echoforge.log" ;;
  stop) stop ;;
  keep) [ "$#" -ge 3 ] || usage && keep "$times" "$@" ;;
  *) usage ;;
esac
