#!/bin/sh
# A parameter sweep: one file, 50 tasks. How often do three dice show more than 15, by seed?
#
#   cp examples/drops/array.sh spool/incoming/sweep
#   spoolmw-ctl wait sweep
#   cat spool/results/sweep.*.files/stdout | sort -n
#
#SPOOLMW array = 1-50
#SPOOLMW time = 1m
awk -v seed="$SPOOLMW_ARRAY_INDEX" 'BEGIN {
    srand(seed)
    for (n = 0; n < 10000; n++)
        high += int(1 + 6 * rand()) + int(1 + 6 * rand()) + int(1 + 6 * rand()) > 15
    print seed, high / 10000
}'
