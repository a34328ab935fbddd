# A network card, whose neighbour at $PEER is `ringway serve net --peer`. Here it is at $HERE, and at $HERE6, if there is that.
# $BYTES bytes go each way; what is written here goes below $OWN.

card=/sys/class/net/eth0
step "the card is there" test -d "$card"
value features "$(cat "$card/device/features")"
mtu=$(cat "$card/mtu")
value mtu "$mtu"
value address "$(cat "$card/address")"
step "an address is given" ip addr add "$HERE/24" dev eth0
step "it is up" ip link set eth0 up
step "the peer answers" ping -c 3 -W 5 "$PEER"
step "it answers the longest" ping -c 3 -W 5 -s $((mtu - 28)) "$PEER"

sum() { sha256sum | cut -d ' ' -f 1; }
count() { cat "$card/statistics/$1"; }
dd if=/dev/urandom of="$OWN/bytes" bs=64k count=$((BYTES / 65536)) 2>/dev/null
sent=$(sum <"$OWN/bytes")

# What is sent, as the peer has it.
sunk() { [ "$(nc "$1" 9 <"$OWN/bytes")" = "$sent $BYTES" ]; }
# What is received, by the peer's own word.
sourced() {
    echo "$BYTES" | nc "$1" 19 >"$OWN/$2"
    [ "$(head -c "$BYTES" "$OWN/$2" | sum)" = "$(tail -c 65 "$OWN/$2")" ]
}
# Files go in large pieces, which nc itself does not send.
echoed() {
    nc "$1" 7 -e sh -c 'cat "$0" & exec head -c "$1" >"$2"' "$OWN/bytes" "$BYTES" "$OWN/back"
    cmp "$OWN/bytes" "$OWN/back"
}

step "what is sent arrives" sunk "$PEER"
packets=$(count tx_packets)
bytes=$(count tx_bytes)
step "what is returned is what was sent" echoed "$PEER"
each=$((($(count tx_bytes) - bytes) / ($(count tx_packets) - packets)))
value each "$each"
# Packets that the other end cuts are longer than the wire has them.
if [ "$each" -gt $((mtu + 14)) ]; then value cut there; else value cut here; fi
step "what is asked for comes" sourced "$PEER" four

if [ -d /proc/sys/net/ipv6 ]; then
    step "an address of IPv6 is given" ip addr add "$HERE6/64" dev eth0
    # Until nobody else has it.
    answers6() { for _ in 1 2 3 4 5 6 7 8 9; do ping -6 -c 1 -W 2 "$PEER6" && return; sleep 1; done; false; }
    step "the peer answers to IPv6" answers6
    step "what is sent by IPv6 arrives" sunk "$PEER6"
    step "what is asked for by IPv6 comes" sourced "$PEER6" six
    value ipv6 yes
fi

# One flow for each processor.
flows() {
    for processor in $(seq 0 $(($(nproc) - 1))); do
        (
            taskset -c "$processor" nc "$PEER" 9 <"$OWN/bytes" >"$OWN/sunk.$processor"
            echo "$BYTES" | taskset -c "$processor" nc "$PEER" 19 >"$OWN/flow.$processor"
            [ "$(cat "$OWN/sunk.$processor")" = "$sent $BYTES" ] || echo "$processor" >>"$OWN/wrong"
            [ "$(head -c "$BYTES" "$OWN/flow.$processor" | sum)" = "$(tail -c 65 "$OWN/flow.$processor")" ] || echo "$processor" >>"$OWN/wrong"
            rm "$OWN/flow.$processor"
        ) &
    done
    wait
    [ ! -e "$OWN/wrong" ]
}
step "flows of all processors arrive, in both directions" flows

for name in rx_errors tx_errors rx_dropped tx_dropped rx_length_errors; do
    value "$name" "$(count "$name")"
done
