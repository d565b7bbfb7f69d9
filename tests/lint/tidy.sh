#!/usr/bin/env bash
# tidy.sh: what a reviewer should not have to say. Prints each offence, and fails.
source "$(dirname "${BASH_SOURCE[0]}")/sources.sh"

bad=0
LINES_MAX=600 # past it a file usually holds two ideas

while read -r count file; do
    [ "$file" = total ] || [ "$count" -le $LINES_MAX ] || {
        echo "$file: $count lines; past $LINES_MAX look for the seam"
        bad=$((bad + 1))
    }
done < <(c_files | xargs wc -l)

forbid() { # REASON PATTERN: standard input is the list of files
    local found
    found=$(grep -v '^tests/lint/' | tr '\n' '\0' | xargs -0 -r grep -nHE -e "$2" || true)
    [ -n "$found" ] || return 0
    printf '%s\n' "$found" | sed "s|\$|    <- $1|"
    bad=$((bad + $(printf '%s\n' "$found" | wc -l)))
}

forbid "say it in an issue, or do it" '\b(TODO|FIXME|XXX|HACK)\b' < <(text_files)
forbid "a path of one machine" '(/home/[a-z]|/root/|/work/|/Users/|/tmp/[a-z]+/[a-z])' < <(text_files)
forbid "trailing blanks" '[[:blank:]]+$' < <(text_files)
forbid "a tab" $'\t' < <(c_files)
forbid "wait for what is meant, not for time" '\b(sleep|usleep|nanosleep|clock_nanosleep|thrd_sleep)\(' < <(c_files tests)
forbid "the caller decides about the process" '\b(exit|system|popen)\(' < <(c_files base proto storage broker client)
forbid "unbounded" '\b(gets|strcpy|strcat|sprintf|vsprintf|alloca)\(' < <(
    c_files base proto storage broker client tools examples bench)

while read -r file; do
    [ "$(tail -c 1 "$file" | wc -l)" -eq 1 ] || {
        echo "$file: no line end at its end"
        bad=$((bad + 1))
    }
done < <(text_files)

while read -r file; do
    head -n 1 "$file" | grep -q '^/\*' || {
        echo "$file: does not open by saying what it is for"
        bad=$((bad + 1))
    }
done < <(c_files)

[ $bad -eq 0 ] || {
    echo "tidy: $bad offences"
    exit 1
}
