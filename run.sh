#!/usr/bin/env bash
# Runs the wolfscale command from this directory's own Python environment, and makes that when it is missing:
#   ./run.sh start --bootstrap      the first node of a new cluster
#   ./run.sh start                  any other node, and every later start
# The configuration is looked for as usual: --config, WOLFSCALE_CONFIG, ./wolfscale.toml, /etc/wolfscale/wolfscale.toml.
set -euo pipefail
root=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
environment=$root/.venv
command=$environment/bin/wolfscale

if [ -e "$command" ] && [ ! -x "$environment/bin/python" ]; then
  echo "run.sh: ${environment} was made with a Python that you cannot run; remove it, or run this as its owner" >&2
  exit 1
fi
if [ ! -x "$command" ]; then
  python=${PYTHON:-python3}
  if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    echo "run.sh: Python 3.11 or later is needed, and ${python} is not; name one with PYTHON=/path/to/python" >&2
    exit 1
  fi
  echo "run.sh: making the Python environment in ${environment}" >&2
  if ! "$python" -m venv "$environment"; then
    echo "run.sh: no environment could be made; as root, ${root}/docker/install-packages installs what is missing" >&2
    exit 1
  fi
  "$environment/bin/pip" install --quiet --disable-pip-version-check -c "$root/requirements.txt" -e "$root"
fi
exec "$command" "$@"
