#!/usr/bin/env bash
# Runs commands at the same time, and begins each line that they print with the name of the command. If one fails, the others are ended.
#
#   scripts/side_by_side.sh one="make one" two="make two"
set -uo pipefail

# Each command is a process group of its own, so that all of it can be ended.
set -m
started=$SECONDS
declare -A names
for argument in "$@"; do
    name=${argument%%=*}
    { bash -c "${argument#*=}" 2>&1 | sed -u "s/^/$name: /"; } </dev/null &
    names[$!]=$name
done

end() {
    for pid in "${!names[@]}"; do
        kill -TERM -- "-$pid" 2>/dev/null
    done
    wait
}
trap 'end; exit 130' INT TERM

while [ ${#names[@]} -gt 0 ]; do
    wait -n -p ended "${!names[@]}"
    status=$?
    name=${names[$ended]}
    unset "names[$ended]"
    if [ "$status" != 0 ]; then
        echo "side_by_side.sh: $name failed with exit code $status; the rest is ended" >&2
        end
        exit 1
    fi
    echo "$name: done after $((SECONDS - started)) s"
done
