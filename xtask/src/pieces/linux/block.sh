# A disk at $DISK, with a file system in its first $FILES bytes, made by $MKE2FS or already there. $TREE is worth copying.
# What is written here goes to the disk, and below $OWN.

device=${DISK##*/}
after=$((FILES / 1048576))
queue=/sys/block/$device/queue

step "the disk is there" test -b "$DISK"
value features "$(cat "/sys/block/$device/device/features")"
value queues "$(ls "/sys/block/$device/mq" | wc -l)"
value sectors "$(cat "/sys/block/$device/size")"

# Sectors, past the page cache: as they are written so they are read.
write() { dd if="$OWN/bytes" of="$DISK" bs="$1" seek="$2" oflag=direct conv=notrunc 2>&1 | tail -n 1; }
read_back() { dd if="$DISK" bs="$1" skip="$2" count="$3" iflag=direct 2>/dev/null; }
same() { read_back "$1" "$2" "$3" | cmp - "$OWN/bytes"; }
empty() { [ "$(read_back "$1" "$2" "$3" | tr -d '\000' | wc -c)" -eq 0 ]; }

dd if=/dev/urandom of="$OWN/bytes" bs=1M count=8 2>/dev/null
write 1M "$after"
step "large requests are read as they were written" same 1M "$after" 8
write 4k "$(((after + 8) * 256))"
step "small requests are read as they were written" same 4k "$(((after + 8) * 256))" 2048
step "small requests are read by large ones" same 1M "$((after + 8))" 8

# One writer for each processor, and so for each queue.
processors=$(nproc)
writers() {
    for processor in $(seq 0 $((processors - 1))); do
        (
            at=$(((after + 16 + processor * 4) * 16))
            taskset -c "$processor" dd if="$OWN/bytes" of="$DISK" bs=64k count=64 seek="$at" oflag=direct conv=notrunc
            taskset -c "$processor" dd if="$DISK" bs=64k count=64 skip="$at" iflag=direct | cmp -n 4194304 - "$OWN/bytes"
        ) 2>/dev/null || echo "$processor" >>"$OWN/wrong" &
    done
    wait
    [ ! -e "$OWN/wrong" ]
}
step "every queue reads what it has written" writers

step "discard is offered" [ "$(cat "$queue/discard_max_bytes")" -gt 0 ]
step "writing zeroes is offered" [ "$(cat "$queue/write_zeroes_max_bytes")" -gt 0 ]
step "sectors are discarded" blkdiscard -o "$((FILES + 1048576))" -l 2097152 "$DISK"
step "sectors that were discarded are zero" empty 1M "$((after + 1))" 2
step "their neighbours are not" [ "$(read_back 4k "$((after * 256 + 255))" 1 | tr -d '\000' | wc -c)" -gt 0 ]

# Files, through the page cache.
sums() { (cd "$1" && find . -type f -exec sha256sum {} + | sort -k 2); }
mount_disk() { mount -t ext4 -o discard "$DISK" "$OWN/disk"; }

[ -z "$MKE2FS" ] || step "a file system is made" "$MKE2FS" -q -F -t ext4 "$DISK" "$((FILES / 1024))"
mkdir -p "$OWN/disk"
step "it is mounted" mount_disk
step "a tree is copied" cp -a "$TREE" "$OWN/disk/tree"
step "a large file is written" cp "$OWN/bytes" "$OWN/disk/bytes"
step "a file that is not kept is written" cp "$OWN/bytes" "$OWN/disk/gone"
sync
step "the file is removed" rm "$OWN/disk/gone"
step "free blocks are trimmed" fstrim "$OWN/disk"
sums "$TREE" >"$OWN/own"
sums "$OWN/disk" >"$OWN/before"
value files "$(wc -l <"$OWN/before")"
step "it is unmounted" umount "$OWN/disk"
[ -z "$E2FSCK" ] || step "the file system is whole" "$E2FSCK" -fn "$DISK"
step "it is mounted again" mount_disk
sums "$OWN/disk" >"$OWN/after"
step "every file is what it was" cmp "$OWN/before" "$OWN/after"
sums "$OWN/disk/tree" >"$OWN/copied"
step "the copy is the tree" cmp "$OWN/own" "$OWN/copied"
step "it is unmounted in the end" umount "$OWN/disk"
