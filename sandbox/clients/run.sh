#!/usr/bin/env bash
# Runs Google's official clients (Python and Node) against the stand-in. Exits non-zero when anything behaves otherwise
# than with Google.
#
#   sandbox/clients/run.sh ROOT TOKEN CALENDAR_ID   against a stand-in that runs already
#   sandbox/clients/run.sh                          starts one ($SLOTD, or the debug build of this checkout)
#
# The clients are installed, pinned, below target/clients. Needs python3 with venv, node 18 or later, and npm.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
installed=$top/target/clients
mkdir -p "$installed/node"
"$top/tools/need" 'node --version && npm --version' nodejs npm

(
    # Two runs at once must not both install.
    flock 9
    if ! cmp -s "$here/package-lock.json" "$installed/node/installed.json"; then
        cp "$here/package.json" "$here/package-lock.json" "$installed/node/"
        npm --prefix "$installed/node" ci --silent --no-audit --no-fund
        cp "$here/package-lock.json" "$installed/node/installed.json"
    fi
) 9>"$installed/lock"

if [ $# -eq 0 ]; then
    slotd=${SLOTD:-$top/target/debug/slotd}
    [ -n "${SLOTD:-}" ] || cargo build --quiet --locked --manifest-path "$top/Cargo.toml"
    exec 3< <(exec "$slotd" sandbox --json --port 0)
    standin=$!
    trap 'kill "$standin" 2>/dev/null || true' EXIT
    if ! IFS= read -r -t 60 -u 3 line; then
        echo "$slotd sandbox --json ended, or printed no line within 60 s" >&2
        exit 1
    fi
    facts=$(python3 -c '
import json, sys
facts = json.loads(sys.argv[1])
print(facts["sandbox"], facts["google_token"], facts["calendars"][0]["id"])' "$line")
    read -r -a arguments <<<"$facts"
    set -- "${arguments[@]}"
elif [ $# -ne 3 ]; then
    echo "usage: $0 [ROOT TOKEN CALENDAR_ID]" >&2
    exit 2
fi

"$here/python" check.py "$@"
NODE_PATH=$installed/node/node_modules node "$here/check.cjs" "$@"
