//! Socket device: connections between driver's and device's side. Spec: VIRTIO 1.4 §5.10 "Socket
//! Device".

use crate::Features;

/// Features that need another: none.
pub const DEPENDENCIES: &[(Features, Features)] = &[];

features! {
    /// Feature bits (§5.10.3). `VIRTIO_VSOCK_F_STREAM` is spelled `vsock::F::STREAM`.
    struct F;
    /// The bits of [`F`] by name.
    const NAMES;

    /// There are sockets of type stream. Taken as agreed to if no feature is.
    STREAM = 0, "VIRTIO_VSOCK_F_STREAM";
    /// There are sockets of type seqpacket.
    SEQPACKET = 1, "VIRTIO_VSOCK_F_SEQPACKET";
    /// There are sockets of type stream only with [`STREAM`](Self::STREAM).
    NO_IMPLIED_STREAM = 2, "VIRTIO_VSOCK_F_NO_IMPLIED_STREAM";
}
