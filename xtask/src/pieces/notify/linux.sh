# Reads of a disk, past all caches, as many at a time as there are to be.
looks=0
while [ ! -b "$DISK" ] && [ $looks -lt 200 ]; do
    looks=$((looks + 1))
    sleep 0.1
done
step 'the disk is there' test -b "$DISK"
own=${DISK#/dev/}
value sectors "$(cat /sys/block/$own/size)"

# Reads number $1 of $DEPTH readers, its share of all, when the gate opens.
reader() {
    count=$(((READS + DEPTH - 1 - $1) / DEPTH))
    : </own/gate
    dd if="$DISK" of=/dev/null bs=4k count=$count skip=$((count * $1)) iflag=direct || : >/own/failed
}

mkfifo /own/gate
number=0
while [ $number -lt "$DEPTH" ]; do
    reader $number 2>/dev/null &
    number=$((number + 1))
done
sleep 1
: >/own/gate
wait
step 'every reader read' test ! -e /own/failed
