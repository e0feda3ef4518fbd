#!/bin/sh
#SPOOLMW checkpoint.exit_code = 85
# Adds up the squares of 1 to 1000, a hundred at a time. After each hundred it saves what it has
# and ends with 85: "I saved, start me again". Kill it at any moment: the sum is right all the same.
#
#     cp examples/drops/resumable.sh spool/incoming/
state=$SPOOLMW_CHECKPOINT_DIR/state # this folder is kept from one start to the next
next=1 sum=0
[ -e "$state" ] && read -r next sum <"$state"
if [ "$next" -gt 1000 ]; then
    echo "$sum"
    exit 0
fi

last=$((next + 99))
while [ "$next" -le "$last" ]; do
    sum=$((sum + next * next)) next=$((next + 1))
done
echo "$next $sum" >"$state.tmp" # whole or not at all: written beside it, then renamed
mv "$state.tmp" "$state"
exit 85
