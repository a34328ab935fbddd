# User-mode Linux on the host's own root, which is mounted read-only: what is written goes to memory.
"$BUSYBOX" mount -t tmpfs tmpfs "$OWN"
"$BUSYBOX" mount -t proc proc /proc
"$BUSYBOX" mkdir "$OWN/bin"
# Needs /proc, to find itself.
"$BUSYBOX" --install -s "$OWN/bin"
export PATH="$OWN/bin"
mount -t sysfs sys /sys
