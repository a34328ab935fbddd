# Every line that is for xtask begins with `ringway: `.
say() { echo "ringway: $*"; }

# A value that xtask may have an opinion about.
value() { say value "$1" "$2"; }

# Does what follows the name, which must go well.
step() {
    what=$1
    shift
    if "$@"; then say ok "$what"; else say failed "$what: $*"; halt; fi
}

# The end, reached by a script whose every step went well.
finish() {
    say end
    halt
}

# The machine goes off at once; until then, this process must not end.
halt() {
    poweroff -f
    while :; do sleep 1; done
}
