#!/bin/sh
# Installs the station into a virtual environment, and nothing that trains: the step of the Dockerfile, and of a machine
# without containers.
#   deploy/install.sh /opt/muad [EXTRAS]
set -eu
target=${1:?name the folder of the virtual environment}
extras=${2:-service,postgres,parquet,mqtt,opcua}
source=$(cd "$(dirname "$0")/.." && pwd)

# Built from a copy, so that the checkout may be read-only.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -R "$source/pyproject.toml" "$source/README.md" "$source/LICENSE" "$source/NOTICE" "$source/src" "$work/"

"${PYTHON:-python3}" -m venv "$target"
"$target/bin/pip" install --no-cache-dir --disable-pip-version-check --quiet \
    --constraint "$source/constraints.txt" "$work[$extras]"
"$target/bin/muad" --version
