# One of two on a switch: $WHO, at $HERE. $BYTES bytes go to $THERE, and as many come from there.
# What is written here goes below $OWN.

card=/sys/class/net/eth0
step "the card is there" test -d "$card"
value features "$(cat "$card/device/features")"
step "an address is given" ip addr add "$HERE/24" dev eth0
step "it is up" ip link set eth0 up

sum() { sha256sum | cut -d ' ' -f 1; }
count() { cat "$card/statistics/$1"; }
dd if=/dev/urandom of="$OWN/bytes" bs=64k count=$((BYTES / 65536)) 2>/dev/null
value sent "$(sum <"$OWN/bytes")"

take() {
    packets=$(count rx_packets)
    bytes=$(count rx_bytes)
    # It has nothing to say, and does not say so: the other one would end.
    mkfifo "$OWN/silence"
    nc -l -p 5000 >"$OWN/came" <>"$OWN/silence"
    value each $((($(count rx_bytes) - bytes) / ($(count rx_packets) - packets)))
}
# The other one may not listen yet.
give() {
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
        # In large pieces, which nc itself does not send.
        nc "$THERE" 5000 -e cat "$OWN/bytes" && return
        sleep 1
    done
    false
}
# Each has its turn.
if [ "$WHO" = first ]; then
    step "bytes come" take
    step "bytes go" give
else
    step "bytes go" give
    step "bytes come" take
fi
value came "$(sum <"$OWN/came")"
for name in rx_errors tx_errors tx_dropped rx_length_errors; do
    value "$name" "$(count "$name")"
done
