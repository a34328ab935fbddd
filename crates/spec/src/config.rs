//! Typed places in configuration space. Spec: VIRTIO 1.4 §2.5 "Device Configuration Space".
//!
//! A field is what one access reaches: an integer, or an array of bytes. Structures inside a
//! configuration are declared field by field, because a driver must reach each with an access of
//! its own width (§4.1.3.1, §4.2.2.2).

use core::fmt;
use core::marker::PhantomData;

use crate::{DeviceId, Features};

/// A field that every device of the type has.
pub struct Field<T> {
    offset: usize,
    ty: PhantomData<fn() -> T>,
}

/// A field that exists only with a feature.
pub struct Gated<T> {
    field: Field<T>,
    gate: Features,
}

impl<T> Field<T> {
    /// A field of type `T`, `offset` bytes from the start of configuration space.
    pub const fn at(offset: usize) -> Self {
        Self {
            offset,
            ty: PhantomData,
        }
    }

    /// Ties the field's type to that of the structure it is in; see [`field!`](crate::field).
    pub const fn typed<S>(offset: usize, _: fn(&S) -> &T) -> Self {
        Self::at(offset)
    }

    /// This field, existing only with any of the features of `gate`.
    pub const fn when(self, gate: Features) -> Gated<T> {
        Gated { field: self, gate }
    }

    /// Bytes from the start of configuration space.
    pub const fn offset(self) -> usize {
        self.offset
    }
}

impl<T> Gated<T> {
    /// Where the field is, if it exists.
    pub const fn field(self) -> Field<T> {
        self.field
    }

    /// The features that make the field exist: any one of them does.
    pub const fn gate(self) -> Features {
        self.gate
    }

    /// Whether the field exists with `features`: those offered before negotiation (§2.5.1), those
    /// negotiated after.
    pub const fn exists(self, features: Features) -> bool {
        features.intersects(self.gate)
    }
}

/// A field of whatever type, for those who show it: an integer of `len` bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named {
    /// What the specification calls it.
    pub name: &'static str,
    /// Bytes from the start of configuration space.
    pub offset: usize,
    /// Bytes of the field: 1, 2, 4 or 8.
    pub len: usize,
    /// The features that make it exist: any one of them does. `None` if every device of the type
    /// has it.
    pub gate: Option<Features>,
}

impl Named {
    /// Whether the field exists with `features`, as [`Gated::exists`].
    pub const fn exists(&self, features: Features) -> bool {
        match self.gate {
            Some(gate) => features.intersects(gate),
            None => true,
        }
    }
}

impl<T> Field<T> {
    /// This field, under its name.
    pub const fn named(self, name: &'static str) -> Named {
        Named {
            name,
            offset: self.offset,
            len: size_of::<T>(),
            gate: None,
        }
    }
}

impl<T> Gated<T> {
    /// This field, under its name.
    pub const fn named(self, name: &'static str) -> Named {
        let gate = Some(self.gate);
        Named {
            gate,
            ..self.field.named(name)
        }
    }
}

/// The fields of a device of type `id`, in the order of their places. None for types that have none,
/// and for those whose configuration is not known here.
pub const fn fields(id: DeviceId) -> &'static [Named] {
    match id {
        DeviceId::NETWORK => crate::net::FIELDS,
        DeviceId::BLOCK => crate::blk::FIELDS,
        _ => &[],
    }
}

// Derives would ask the same of `T`, of which there is none here.
impl<T> Clone for Field<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Field<T> {}

impl<T> fmt::Debug for Field<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Field")
            .field("offset", &self.offset)
            .finish_non_exhaustive()
    }
}

impl<T> Clone for Gated<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Gated<T> {}

impl<T> fmt::Debug for Gated<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gated")
            .field("field", &self.field)
            .field("gate", &self.gate)
            .finish()
    }
}

/// The [`Field`] at a field of a structure, possibly a nested one.
///
/// The closure makes the compiler check the type, so that offset and type cannot disagree.
///
/// ```
/// use ringway_spec::config::Field;
/// use ringway_spec::field;
/// use ringway_spec::le::U32;
///
/// #[repr(C)]
/// struct Config {
///     first: U32,
///     second: U32,
/// }
///
/// const SECOND: Field<U32> = field!(Config.second);
///
/// assert_eq!(SECOND.offset(), 4);
/// ```
#[macro_export]
macro_rules! field {
    ($type:ident . $($field:ident).+) => {
        $crate::config::Field::typed::<$type>(
            ::core::mem::offset_of!($type, $($field).+),
            |config| &config.$($field).+,
        )
    };
}

pub use crate::field;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::le::{U16, U32};

    #[repr(C)]
    struct Outer {
        first: U32,
        inner: Inner,
    }

    #[repr(C)]
    struct Inner {
        skipped: u8,
        wanted: U16,
    }

    #[test]
    fn a_nested_field_counts_from_the_start_of_the_whole() {
        const WANTED: Field<U16> = field!(Outer.inner.wanted);

        assert_eq!(WANTED.offset(), 5);
    }

    #[test]
    fn named_fields_are_integers_in_the_order_of_their_places() {
        let mut end = 0;

        for field in fields(DeviceId::BLOCK) {
            assert!(field.offset >= end, "{field:?}");
            assert!([1, 2, 4, 8].contains(&field.len), "{field:?}");
            end = field.offset + field.len;
        }

        assert!(end <= size_of::<crate::blk::Config>());
        assert!(fields(DeviceId::ENTROPY).is_empty());
    }

    #[test]
    fn a_gated_field_exists_with_any_feature_of_its_gate() {
        let gate = Features::bit(1) | Features::bit(70);
        let gated: Gated<U32> = field!(Outer.first).when(gate);

        assert!(gated.exists(Features::bit(70)));
        assert!(!gated.exists(Features::bit(2)));
        assert_eq!(gated.gate(), gate);
    }
}
