# In a network of its own: a card is served, and joined to it by an interface. What follows has the card.
"$RINGWAY" serve net --sandbox --ring split --vhost-user "$PLACE/card.sock" \
    --tap ringway0 --pcap "$PLACE/card.pcapng" --snap 128 >&2 &
server=$!
until [ -S "$PLACE/card.sock" ]; do "$BUSYBOX" sleep 0.1; done
"$BUSYBOX" ip addr add 192.0.2.1/24 dev ringway0
"$BUSYBOX" ip link set ringway0 up
"$BUSYBOX" nc -ll -p 7 -e "$BUSYBOX" cat &
echo=$!
"$IPERF3" -s >&2 &
iperf3=$!
"$@"
kill $echo $iperf3
kill $server
# It stops well if it was told to.
wait $server
