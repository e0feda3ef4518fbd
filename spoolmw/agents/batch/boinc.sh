#!/bin/sh
# The application that a BOINC client runs in a slot: this script, and behind it the archive of the
# runner, which the script becomes. It takes the Python that came as python.tgz, if one did, else
# the first from 3.9 on of this host. Where there is none it says so in the file that goes back.

LC_ALL=C

# Where a file of the slot is: of one that is the project's the client writes the path there.
place() {
    target=$(head -c 4000 "$1" 2>/dev/null |
        sed -n 's|^ *<soft_link>\([^<]*\)</soft_link>.*|\1|p')
    printf '%s' "${target:-$1}"
}

plain() {
    printf '%s' "$1" | tr -d '\000-\037\042\134\177-\377' | head -c 300
}

# What, why, what to do.
no() {
    why=$(plain "$2")
    echo "spoolmw: $1; $why; $3" >&2
    text=$(printf '{"code":81,"what":"%s","why":"%s","fix":"%s","host":"%s"}' \
        "$1" "$why" "$3" "$(plain "$(uname -n)")")
    printf '{"format":1,"files":[["trouble.json",%d]]}\n%s' "${#text}" "$text" \
        >"$(place out.bin)" && printf '0\n' >boinc_finish_called || exit 81
    exit 0
}

fits() {
    "$1" -I -S -c "import sys; sys.exit(sys.version_info < (3, 9))" </dev/null >/dev/null 2>&1
}

# Find the Python of the bundle: $python, if all of it is there.
unpacked() {
    for python in "$PWD"/python/bin/python3*; do
        "$python" -I -S python/check.py </dev/null >/dev/null 2>&1 && return
    done
    return 1
}

# Unpack the bundle, if that was not done at an earlier start. Aside: two may be at it.
unpack() {
    unpacked && return
    for tool in rm mv mkdir tar gzip; do
        command -v $tool >/dev/null || no "no Python can be unpacked here" \
            "the host has no $tool" "install a Python from 3.9 on there"
    done
    rm -rf python
    half=unpacking.$$
    mkdir "$half" && gzip -dc "$(place python.tgz)" | tar -xof - -C "$half" &&
        mv "$half" python ||
        no "the Python that was sent cannot be unpacked here" "is the disk full?" \
            "give BOINC more of it there"
    unpacked || no "the Python that was sent does not run here" \
        "$("$PWD"/python/bin/python3* -I -S python/check.py 2>&1 </dev/null)" \
        "is this another architecture, or may no programs be run in BOINC's folder?"
}

if [ -e python.tgz ]; then
    unpack
    exec "$python" -I -S "$0" boinc
fi
names="python3 python3.14 python3.13 python3.12 python3.11 python3.10 python3.9"
# By its whole path: a Python that was found by its name knows itself only where PATH is exported.
for name in $names /usr/local/bin/python3 /usr/bin/python3; do
    python=$(command -v "$name") || continue
    fits "$python" && exec "$python" -I -S "$0" boinc
done
no "this host has no Python from 3.9 on" "none of $names was found or fits" \
    "install one there, or have the server send one along"
exit 81
