#!/bin/sh
# Starts the runner in a batch job: launch.sh [pilot ORDER] ARCHIVE BUNDLE PYTHON...
# in the job's folder; for one attempt, or with an order as a pilot. BUNDLE is the Python that travels (pythonX.Y-...-DIGEST.tgz), or "-"; the
# first PYTHON from 3.9 on is taken otherwise. Signals reach what it becomes. Exit code 81: none.

scratch=${_CONDOR_SCRATCH_DIR:-${SLURM_TMPDIR:-.}}

# What, why, what to do.
no() {
    why=$(printf "%s" "$2" | tr -d '\000-\037\042\134' | head -c 300)
    echo "spoolmw: $1; $why; $3" >&2
    printf '{"code":81,"what":"%s","why":"%s","fix":"%s","host":"%s"}' \
        "$1" "$why" "$3" "$(uname -n)" >out/trouble.json
    exit 81
}

fits() {
    "$1" -I -S -c "import sys; sys.exit(sys.version_info < (3, 9))" </dev/null >/dev/null 2>&1
}

# Unpack the bundle, if that was not done at an earlier start, and set $python.
unpack() {
    name=${bundle##*/}
    here="$scratch/${name%.tgz}"
    python="$here/bin/${name%%-*}"
    "$python" -I -S "$here/check.py" </dev/null >/dev/null 2>&1 && return
    for tool in rm mkdir tar gzip sha256sum; do
        command -v $tool >/dev/null || no "no Python can be unpacked here" \
            "the host has no $tool" "name a Python that it has, or exclude the host"
    done
    sum=$(sha256sum <"$bundle") || no "the Python did not arrive" "$name is not there" "try again"
    case "$name" in
    *-"$(printf %.32s "$sum").tgz") ;;
    *) no "the Python arrived damaged" "its digest is another" "try again" ;;
    esac
    rm -rf "$here"
    mkdir "$here" && gzip -dc "$bundle" | tar -xof - -C "$here" ||
        no "the Python cannot be unpacked here" "is the disk full?" "ask for more of it"
    why=$("$python" -I -S "$here/check.py" 2>&1 </dev/null) ||
        no "the Python that was sent does not run here" \
            "$why" "is this another architecture, or may no programs be run in $scratch?"
}

# Become the runner.
become() {
    if [ -n "$order" ]; then
        exec "$1" -I -S "$archive" pilot "$order"
    fi
    exec "$1" -I -S "$archive" one . "$scratch"
}

mkdir -p out checkpoints # some systems hold a job that leaves less than was announced
order=
if [ "$1" = pilot ]; then
    order=$2
    shift 2
fi
archive=$1
bundle=$2
shift 2
if [ "$bundle" != - ]; then
    unpack
    become "$python"
fi
# By its whole path: a Python that was found by its name knows itself only where PATH is exported.
for name; do
    python=$(command -v "$name") || continue
    fits "$python" && become "$python"
done
no "this host has no Python from 3.9 on" "none of $* was found or fits" \
    "install one there, name one, or have the Python of the daemon sent along"
