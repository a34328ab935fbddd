# A network card at eth0, whose neighbour at 192.0.2.1 returns what comes to port 7 of TCP, and has iperf3.
# What is written here goes below $OWN.
for module in net/core/failover drivers/net/net_failover drivers/net/virtio_net; do
    step "a driver is loaded" insmod "$MODULES/$module.ko"
done
export TMPDIR="$OWN"
step "an address is given" ip addr add 192.0.2.2/24 dev eth0
step "the card is up" ip link set eth0 up
value features "$(cat /sys/class/net/eth0/device/features)"
step "Linux answers" ping -c 3 -s 1400 -W 10 192.0.2.1
dd if=/dev/urandom of="$OWN/bytes" bs=64k count=256 2>/dev/null
echoed() { nc 192.0.2.1 7 <"$OWN/bytes" | cmp - "$OWN/bytes"; }
step "what is returned is what was sent" echoed

# The last line with both a number and a unit is what arrived.
measure() {
    name=$1
    shift
    "$IPERF3" -c 192.0.2.1 -f m "$@" >"$OWN/said" || { cat "$OWN/said"; return 1; }
    value "$name" "$(sed -n 's/.* \([0-9.]*\) Mbits\/sec.*/\1/p' "$OWN/said" | tail -n 1 | cut -d . -f 1)"
}
count() { cat "/sys/class/net/eth0/statistics/$1"; }
packets=$(count tx_packets)
bytes=$(count tx_bytes)
step "bytes are sent" measure there -n 256M
value each "$((($(count tx_bytes) - bytes) / ($(count tx_packets) - packets)))"
step "bytes are received" measure back -R -n 256M
step "datagrams are sent" measure datagrams -u -b 0 -n 32M
