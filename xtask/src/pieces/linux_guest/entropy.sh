# The source of random bytes.
rng=/sys/class/misc/hw_random

step "the entropy device is there" grep -q virtio_rng "$rng/rng_available"
step "it is taken" [ "$(cat "$rng/rng_current")" = virtio_rng.0 ]
head -c 65536 /dev/hwrng >"$OWN/first"
head -c 65536 /dev/hwrng >"$OWN/second"
step "it gives what is asked for" [ "$(cat "$OWN/first" "$OWN/second" | wc -c)" -eq 131072 ]
differ() { ! cmp -s "$1" "$2"; }
step "it does not repeat itself" differ "$OWN/first" "$OWN/second"
step "it gives every byte" [ "$(od -An -v -tu1 -w1 "$OWN/first" | sort -u | wc -l)" -eq 256 ]
