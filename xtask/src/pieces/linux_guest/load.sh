# A load on the disk at $DISK that goes on until the host has written to sector $ENOUGH that it is enough.
# Whatever happens to the disk meanwhile, each request must complete, and every byte must be right.

workers=6
part=8      # requests of 256 KiB in the part of a worker
cached=16   # MiB of each of the two parts that are read through the page cache

enough() { dd if="$DISK" bs=512 skip="$ENOUGH" count=1 iflag=direct 2>/dev/null | grep -q enough; }
drop() { echo 1 >/proc/sys/vm/drop_caches; }
wrong() { echo "$*" | tee -a "$OWN/wrong"; }

# Writes a part, other bytes in each round, and reads it back.
work() {
    round=0
    until enough; do
        round=$((round + 1))
        yes "worker $1, round $round" | head -c $((part * 262144)) >"$OWN/part$1"
        dd if="$OWN/part$1" of="$DISK" bs=256k seek=$(($1 * part)) oflag=direct conv=notrunc,fsync 2>/dev/null ||
            wrong "worker $1 cannot write in round $round"
        dd if="$DISK" bs=256k skip=$(($1 * part)) count=$part iflag=direct 2>/dev/null | cmp - "$OWN/part$1" ||
            wrong "worker $1 reads other bytes in round $round"
        [ "$1" -ne 0 ] || value round "$round"
    done
}

# Reads two parts by turns. The pages are written by the device alone, and looked at after that: one whose content was
# lost holds the other part's.
part_of() { dd if="$DISK" bs=1M skip="$1" count=$cached 2>/dev/null; }
look() {
    looks=0
    until enough; do
        looks=$((looks + 1))
        at=$((32 + looks % 2 * cached))
        drop
        part_of "$at" >/dev/null
        [ "$(part_of "$at" | md5sum)" = "$(cat "$OWN/sum$at")" ] || wrong "the cache of $at MiB is wrong, look $looks"
        value looks "$looks"
    done
}

step "the disk is there" test -b "$DISK"
value features "$(cat "/sys/block/${DISK##*/}/device/features")"
for at in 32 $((32 + cached)); do
    dd if=/dev/urandom bs=1M count=$cached 2>/dev/null >"$OWN/random"
    md5sum <"$OWN/random" >"$OWN/sum$at"
    dd if="$OWN/random" of="$DISK" bs=1M seek="$at" oflag=direct conv=notrunc 2>/dev/null
done
rm "$OWN/random"
say ok "the load begins"
for worker in $(seq 0 $((workers - 1))); do work "$worker" & done
look &
wait

step "every request was right" [ ! -e "$OWN/wrong" ]
drop
part_is_there() { dd if="$DISK" bs=256k skip=$(($1 * part)) count=$part 2>/dev/null | cmp - "$OWN/part$1"; }
for worker in $(seq 0 $((workers - 1))); do
    step "what worker $worker wrote last is there" part_is_there "$worker"
done
