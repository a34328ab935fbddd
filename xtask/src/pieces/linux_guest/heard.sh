# How many queues of packets, of either direction, have an interrupt of their own that was heard of.
value heard "$(for way in input output; do
    awk -v n="$(nproc)" -v way="-$way" '$NF ~ way { s = 0; for (i = 2; i < 2 + n; i++) s += $i; if (s) c++ } END { print c + 0 }' /proc/interrupts
done | sort -n | head -n 1)"
