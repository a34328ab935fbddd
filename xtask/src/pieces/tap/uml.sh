# A TAP interface, and what judges it. What is below /dev is the host's otherwise.
step "the driver of such interfaces is loaded" insmod "$TUN"
mount -t tmpfs tmpfs /dev
mkdir /dev/net
mknod /dev/null c 1 3
mknod /dev/urandom c 1 9
mknod /dev/net/tun c 10 200
"$JUDGE" "$BUSYBOX" || halt
finish
