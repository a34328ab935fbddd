//! Macros that keep two statements of one fact from disagreeing.

/// Asserts at compile time the size of a wire structure and the offset of each field.
macro_rules! layout {
    ($type:ident: $size:literal { $($($field:ident).+ = $offset:literal),+ $(,)? }) => {
        const _: () = {
            assert!(size_of::<$type>() == $size);
            $(assert!(core::mem::offset_of!($type, $($field).+) == $offset);)+
        };
    };
}

/// Declares feature bits as constants of `F`, and the table of their names, from one list.
macro_rules! features {
    (
        $(#[$f_meta:meta])* struct F;
        $(#[$names_meta:meta])* const $names:ident;
        $($(#[$meta:meta])* $name:ident = $bit:literal, $alias:literal;)*
    ) => {
        $(#[$f_meta])*
        #[derive(Clone, Copy, Debug)]
        pub struct F;

        impl F {
            $(
                $(#[$meta])*
                #[doc(alias = $alias)]
                pub const $name: $crate::Features = $crate::Features::bit($bit);
            )*
        }

        $(#[$names_meta])*
        pub const $names: &[(u32, &str)] = &[$(($bit, stringify!($name))),*];
    };
}

/// Declares the numbers of an open set, 16 bits on the wire, as constants of a newtype that
/// displays as their names, from one list.
macro_rules! codes {
    (
        $(#[$type_meta:meta])* struct $type:ident;
        $($(#[$meta:meta])* $name:ident = $number:literal, $alias:literal;)*
    ) => {
        $(#[$type_meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
        #[repr(transparent)]
        #[derive(
            zerocopy::FromBytes,
            zerocopy::IntoBytes,
            zerocopy::Immutable,
            zerocopy::KnownLayout,
            zerocopy::Unaligned,
        )]
        pub struct $type(pub $crate::le::U16);

        impl $type {
            $(
                $(#[$meta])*
                #[doc(alias = $alias)]
                pub const $name: Self = Self::from_u16($number);
            )*

            /// The one of this number.
            pub const fn from_u16(number: u16) -> Self {
                Self($crate::le::U16::new(number))
            }

            /// Its number.
            pub const fn to_u16(self) -> u16 {
                self.0.get()
            }

            /// Its name, if it has one.
            pub const fn name(self) -> Option<&'static str> {
                match self.to_u16() {
                    $($number => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        }

        impl core::fmt::Display for $type {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                match self.name() {
                    Some(name) => f.write_str(name),
                    None => write!(f, "{:#x}", self.to_u16()),
                }
            }
        }
    };
}
