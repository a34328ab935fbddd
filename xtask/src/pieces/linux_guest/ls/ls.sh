# What `ringway ls` says of this system, and what the system itself says of each device, for the host to compare.

ringway() { /bin/loader --library-path /bin /bin/ringway "$@"; }
word() { cat "$1" 2>/dev/null || echo -; }
link() { if [ -L "$1" ]; then basename "$(readlink "$1")"; else echo -; fi; }

for device in /sys/bus/virtio/devices/*; do
    said=
    for attribute in device vendor status modalias features; do said="$said $(word "$device/$attribute")"; done
    value "${device##*/}" "$(link "$device/driver")$said"
done

step "it lists this system" ringway ls
step "it lists it in full" ringway ls --verbose
ringway ls --json >"$OWN/tree"
step "it lists it for programs" test -s "$OWN/tree"
value tree "$(cat "$OWN/tree")"
step "it finds a device by its type's name" [ "$(ringway ls --json entropy | grep -c '"device":4')" -eq 1 ]
refuses() { ! ringway ls vdz 2>"$OWN/said" && grep -q vdz "$OWN/said"; }
step "it refuses what is not there" refuses

say end
# The host looks at the devices from its side, and ends the machine.
while :; do sleep 1; done
