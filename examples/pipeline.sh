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
box=words-$$ # a folder in incoming/, and in results/
mkdir "$spool/incoming/$box"

# drop NAME: the script on standard input becomes a task. Its inputs are there already, in
# NAME.in; the rename makes the script appear whole.
drop() {
    cat >"$spool/incoming/$box/$1.part"
    mv "$spool/incoming/$box/$1.part" "$spool/incoming/$box/$1"
}

tasks=""
for file in "$@"; do
    task=$box-$(basename "$file")
    mkdir "$spool/incoming/$box/$task.in"
    cp "$file" "$spool/incoming/$box/$task.in/text"
    drop "$task" <<END
#!/bin/sh
$agents
tr -cs '[:alpha:]' '[\n*]' <text | tr '[:upper:]' '[:lower:]' | sort | uniq -c >counts
END
    tasks="$tasks $task"
done
spoolmw-ctl --spool "$spool" wait --quiet $tasks # fails if one of them failed

mkdir "$spool/incoming/$box/$box-merge.in"
for task in $tasks; do
    cp "$spool/results/$box/$task.files/counts" "$spool/incoming/$box/$box-merge.in/$task"
done
drop "$box-merge" <<END
#!/bin/sh
$agents
cat $box-* | awk '\$2 { n[\$2] += \$1 } END { for (w in n) print n[w], w }' | sort -k1,1nr -k2 | head
END
spoolmw-ctl --spool "$spool" wait --quiet "$box-merge"
cat "$spool/results/$box/$box-merge.files/stdout"
