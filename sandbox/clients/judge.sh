#!/usr/bin/env bash
# Judges the stand-in by Google's discovery document: a tour through everything that it answers is recorded, and each
# exchange is held against the document. Then the judge itself is tried with spoiled exchanges.
#
#   sandbox/clients/judge.sh          starts a stand-in ($SLOTD, or the debug build of this checkout)
#   sandbox/clients/judge.sh FILE…    judges what a client has exchanged with a stand-in, also the client's requests
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)

if [ $# -gt 0 ]; then
    exec "$here/python" judge.py --client "$@"
fi

"$here/python" discovery.py --check
slotd=${SLOTD:-$top/target/debug/slotd}
[ -n "${SLOTD:-}" ] || cargo build --quiet --locked --manifest-path "$top/Cargo.toml"
folder=$(mktemp -d)
exec 3< <(exec "$slotd" sandbox --json --port 0 --auto-approve --record "$folder/tour.jsonl")
standin=$!
trap 'kill "$standin" 2>/dev/null || true; rm -rf "$folder"' EXIT
if ! IFS= read -r -t 60 -u 3 line; then
    echo "$slotd sandbox --json ended, or printed no line within 60 s" >&2
    exit 1
fi
"$here/python" tour.py "$line"
"$here/python" judge.py --complete "$folder/tour.jsonl"
"$here/python" sabotage.py "$folder/tour.jsonl"
