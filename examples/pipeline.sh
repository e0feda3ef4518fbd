#!/bin/sh
# A pipeline in shell: the ten most frequent words of some files, with nothing but cp, mv and
# spoolmw-ctl. Stage one counts each file by itself; stage two merges what stage one made.
#
#     examples/pipeline.sh [--spool DIR] [--agents NAME] FILE...
set -eu

spool=${SPOOLMW_SPOOL:-spool} agents=""
while [ $# -gt 0 ]; do
    case $1 in
        --spool) spool=$2; shift 2 ;;
        --agents) agents="#SPOOLMW place.agents = [\"$2\"]"; shift 2 ;;
        *) break ;;
    esac
done
run=pipeline-$$ # its name is also the box: a folder in incoming/ and in results/
box=$spool/incoming/$run
mkdir "$box"

# drop NAME INPUT...: the script on standard input becomes a task with these input files.
# The inputs go first, into NAME.in; the rename makes the script appear whole.
drop() {
    name=$1
    shift
    mkdir "$box/$name.in"
    cp "$@" "$box/$name.in/"
    cat >"$box/$name.part"
    mv "$box/$name.part" "$box/$name"
}

names=""
for file in "$@"; do
    name=count-$(basename "$file")
    drop "$name" "$file" <<END
#!/bin/sh
$agents
tr -cs '[:alpha:]' '[\n*]' <"$(basename "$file")" | tr '[:upper:]' '[:lower:]' | sort | uniq -c >$name.txt
END
    names="$names $name"
done
spoolmw-ctl --spool "$spool" wait --quiet $names # ends with an error if one of them failed

set --
for name in $names; do
    set -- "$@" "$spool/results/$run/$name.files/$name.txt"
done
drop merge "$@" <<END
#!/bin/sh
$agents
cat *.txt | awk '{ n[\$2] += \$1 } END { for (w in n) print n[w], w }' | sort -k1,1nr -k2 | head -n 10
END
spoolmw-ctl --spool "$spool" wait --quiet merge
cat "$spool/results/$run/merge.files/stdout"
rmdir "$box"
