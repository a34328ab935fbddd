# How many queues have an interrupt of their own, and how many of those were heard of.
value vectors "$(grep -c 'MSI.*virtio.*-req' /proc/interrupts)"
value heard "$(awk -v n="$(nproc)" '/virtio.*-req/ { s = 0; for (i = 2; i < 2 + n; i++) s += $i; if (s) c++ } END { print c + 0 }' /proc/interrupts)"
