#!/bin/sh
# Counts the words of the .md files in this folder; writes "word <tab> count" lines into the file $1.
cat ./*.md | tr '[:upper:]' '[:lower:]' | tr -cs '[:lower:]' '[\n*]' | sort | uniq -c | sort -rn |
    awk '$2 { print $2 "\t" $1 }' >"$1"
