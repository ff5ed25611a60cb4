# shellcheck shell=bash
# Steps that all run, whichever of them fail. To be sourced by bash:
#
#   step <name> <command> [argument…]   runs a command; what it says is shown and kept
#   steps_slowest                       names the ten slowest tests
#   steps_table                         says how each step went, and how long it took
#   steps_counts                        adds up the closing lines of all test binaries, in cargo's own words
#
# STEPS_STATUS is 0 if every step succeeded, otherwise the worst status. STEPS_LOG is a file to be removed at the end.

STEPS_LOG=$(mktemp)
STEPS_STATUS=0
STEPS_TABLE=()

step() {
    local name=$1 begun=$SECONDS status=0
    shift
    printf '==> %s\n' "$name"
    # The times that tests/timed adds to cargo's lines are kept, not shown.
    "$@" </dev/null 2>&1 | tee -a "$STEPS_LOG" | sed -uE 's/^(test .+ \.\.\. [a-zA-Z]+) <[0-9.]+s>$/\1/' ||
        status=${PIPESTATUS[0]}
    [ "$status" -le "$STEPS_STATUS" ] || STEPS_STATUS=$status
    STEPS_TABLE+=("$(printf '%-6s %5d s  %s' "$([ "$status" = 0 ] && echo ok || echo FAILED)" $((SECONDS - begun)) "$name")")
}

steps_table() {
    printf '\nsteps:\n'
    printf '  %s\n' "${STEPS_TABLE[@]}"
}

steps_slowest() {
    local slowest
    slowest=$(sed -nE 's/^test (.+) \.\.\. [a-zA-Z]+ <([0-9.]+)s>$/\2 \1/p' "$STEPS_LOG" | sort -rn | head -n 10) || true
    [ -n "$slowest" ] || return 0
    printf '\nthe slowest tests:\n'
    while read -r seconds name; do printf '  %8.1f s  %s\n' "$seconds" "$name"; done <<<"$slowest"
}

steps_counts() {
    awk -v status="$STEPS_STATUS" '
        /^test result: / {
            for (field = 4; field < NF; field += 1) {
                count = $field
                if (count !~ /^[0-9]+$/) continue
                if ($(field + 1) == "passed;") passed += count
                if ($(field + 1) == "failed;") failed += count
                if ($(field + 1) == "ignored;") ignored += count
                if ($(field + 1) == "measured;") measured += count
                if ($(field + 1) == "filtered") filtered += count
            }
            sub(/s$/, "", $NF)
            seconds += $NF
            found = 1
        }
        END {
            if (!found) exit
            verdict = failed || status ? "FAILED" : "ok"
            printf "\ntest result: %s. %d passed; %d failed; %d ignored; %d measured; %d filtered out; finished in %.2fs\n",
                verdict, passed, failed, ignored, measured, filtered, seconds
        }' "$STEPS_LOG"
}
