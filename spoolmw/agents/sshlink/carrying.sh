# Unpacks a Python on a host that has none, and becomes it. Read from standard input by /bin/sh.
# Next on standard input: one line of what it is, then its bytes, if it is not there.
# What `say` prints is read by `bootstrap`. Every path that is removed begins with $base/runner/.

room="make room there, or set folder in the agent section"
other="install a Python from 3.9 on there, and leave out runner_python"

say() { printf "SPOOLMW-LANDED %s\n" "$1"; }

# What, why, what to do: plain text without quotes and backslashes.
no() {
    say "{\"what\":\"$1\",\"why\":\"$2\",\"fix\":\"$3\"}"
    exit 0
}

fail() {
    rm -rf "$aside" "$aside.tgz"
    no "$@"
}

# Make a folder that is this user's alone, or see that it is.
own() {
    [ -d "$1" ] || mkdir "$1" 2>/dev/null
    [ -d "$1" ] || no "$1 cannot be made" "a file stands there, or what is above it is full" "$room"
    case "$(ls -ld "$1")" in d????-??-*) mine=yes ;; *) mine=no ;; esac
    [ ! -L "$1" ] && [ -O "$1" ] || mine=no
    [ $mine = yes ] || no "$1 may be changed by others" \
        "it is a link, belongs to another user, or others may write into it" \
        "remove it, or set folder in the agent section to one that is yours alone"
}

# Whether all of it is there, and runs; says what is wrong.
try() { "$1/$python" -I -S "$1/check.py" 2>&1 </dev/null; }

take() {
    head -c "$size" >"$aside.tgz" ||
        fail "the Python does not fit there" "it takes four times $size bytes in $base" "$room"
    [ "$(sha256sum <"$aside.tgz")" = "$digest  -" ] ||
        fail "the Python arrived damaged" "its digest is another" "try again"
    mkdir "$aside" && gzip -dc "$aside.tgz" | tar -xof - -C "$aside" ||
        fail "the Python cannot be unpacked there" "is the disk full?" "$room"
    rm -f "$aside.tgz"
    why=$(try "$aside") || fail "the Python that was sent does not run there" \
        "$(printf "%s" "$why" | tr -d "\000-\037\042\134" | head -c 300)" \
        "may programs be run in $base (noexec)? else set folder"
    sync
    [ ! -d "$here" ] || mv "$here" "$aside.old"
    mv "$aside" "$here" || fail "$here cannot be made" "it could not be renamed" "$room"
    rm -rf "$aside.old"
}

IFS=" " read -r base version name size digest machine program
for tool in mkdir rm mv ls id uname head tr tar gzip sha256sum sync; do
    command -v $tool >/dev/null ||
        no "no Python can be unpacked there" "the host has no $tool" "install it, or a Python from 3.9 on"
done
[ "$(uname -m)" = "$machine" ] || no "the Python that travels does not run there" \
    "it is for $machine, and the host is $(uname -m)" "$other"
[ "$base" != - ] || base=/var/tmp/spoolmw-$(id -u)
mask=$(umask)
umask 077
own "$base"
own "$base/runner"
here="$base/runner/$name"
aside="$here.$$"
python="bin/$version"
if try "$here" >/dev/null; then
    say "{\"need\":false}"
else
    say "{\"need\":true}"
    take
    say "{\"ready\":true}"
fi
umask "$mask"
exec "$here/$python" -I -S -c "$program"
