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
