//! Crypto device: an accelerator of ciphers, hashes and signatures. Spec: VIRTIO 1.4 §5.9 "Crypto
//! Device".

use crate::Features;
use crate::names::any;

/// Features that need another (§5.9.3.1).
pub const DEPENDENCIES: &[(Features, Features)] = &[(
    any(&[
        F::CIPHER_STATELESS_MODE,
        F::HASH_STATELESS_MODE,
        F::MAC_STATELESS_MODE,
        F::AEAD_STATELESS_MODE,
        F::AKCIPHER_STATELESS_MODE,
    ]),
    F::REVISION_1,
)];

features! {
    /// Feature bits (§5.9.3). `VIRTIO_CRYPTO_F_REVISION_1` is spelled `crypto::F::REVISION_1`.
    struct F;
    /// The bits of [`F`] by name.
    const NAMES;

    /// Requests have the format of revision 1.
    REVISION_1 = 0, "VIRTIO_CRYPTO_F_REVISION_1";
    /// Ciphers may be asked for without a session.
    CIPHER_STATELESS_MODE = 1, "VIRTIO_CRYPTO_F_CIPHER_STATELESS_MODE";
    /// Hashes may be asked for without a session.
    HASH_STATELESS_MODE = 2, "VIRTIO_CRYPTO_F_HASH_STATELESS_MODE";
    /// Authentication codes may be asked for without a session.
    MAC_STATELESS_MODE = 3, "VIRTIO_CRYPTO_F_MAC_STATELESS_MODE";
    /// Authenticated encryption may be asked for without a session.
    AEAD_STATELESS_MODE = 4, "VIRTIO_CRYPTO_F_AEAD_STATELESS_MODE";
    /// Asymmetric ciphers may be asked for without a session.
    AKCIPHER_STATELESS_MODE = 5, "VIRTIO_CRYPTO_F_AKCIPHER_STATELESS_MODE";
}
