//! The description language: from a list of fields to a struct that reads and writes every version of a message.

/// Describes structs field by field, in wire order:
///
/// ```text
/// name: Type [= default] [, in versions] [, null versions] [, tag number];
/// ```
///
/// `in` gives the versions that have the field (all, if left out), `null` those in which an `Option` may be null (all,
/// if left out), `tag` makes it a tagged field. Tagged fields come last, in ascending order. A struct made known with
/// `message` has versions of its own; requests and responses get theirs from the table in [`ApiKey`].
macro_rules! schema {
    ($(
        $(#[$meta:meta])*
        $name:ident $(message $versions:literal ..= $versions_to:literal $(flexible $flexible:literal)?)? {
            $(
                $(#[$field_meta:meta])*
                $field:ident : $type:ty
                    $(= $default:expr)? $(, in $in:expr)? $(, null $null:expr)? $(, tag $tag:literal)?;
            )*
        }
    )+) => {$(
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $name {
            $(
                $(#[$field_meta])*
                $(#[doc = concat!("\n\nVersions ", stringify!($in), ".")])?
                $(#[doc = concat!("\n\nMay be null in versions ", stringify!($null), ".")])?
                $(#[doc = concat!("\n\nTagged field ", stringify!($tag), ".")])?
                $(#[doc = concat!("\n\n`", stringify!($default), "` when absent.")])?
                pub $field: $type,
            )*
        }

        impl Default for $name {
            fn default() -> Self {
                $name { $($field: $crate::wire::kafka::schema::default_of!($type $(, $default)?),)* }
            }
        }

        impl $crate::wire::kafka::field::Field for $name {
            #[allow(unused_variables, unused_mut, reason = "few structs have fields of every sort")]
            fn read(
                reader: &mut $crate::wire::kafka::Reader,
                version: i16,
            ) -> Result<Self, $crate::wire::kafka::DecodeError> {
                $(
                    let present = true $(&& ($in).contains(&version))?;
                    let mut $field = if $crate::wire::kafka::schema::is_plain!($($tag)?) && present {
                        $crate::wire::kafka::schema::read!(reader, version, [$($null)?])
                            .map_err(|error| error.within(concat!(stringify!($name), ".", stringify!($field))))?
                    } else {
                        $crate::wire::kafka::schema::default_of!($type $(, $default)?)
                    };
                )*
                if reader.flexible() {
                    reader.tagged_fields(|tag, reader| {
                        $(
                            $crate::wire::kafka::schema::if_tagged!([$($tag)?] TAG {
                                if tag == TAG $(&& ($in).contains(&version))? {
                                    $field = $crate::wire::kafka::field::Field::read(reader, version)?;
                                    return Ok(true);
                                }
                            });
                        )*
                        Ok(false)
                    })
                    .map_err(|error| error.within(concat!(stringify!($name), " tagged fields")))?;
                }
                Ok($name { $($field,)* })
            }

            #[allow(unused_variables, reason = "structs whose every field is in every version")]
            fn write(&self, writer: &mut $crate::wire::kafka::Writer, version: i16) {
                $(
                    if $crate::wire::kafka::schema::is_plain!($($tag)?) $(&& ($in).contains(&version))? {
                        $crate::wire::kafka::schema::write!(self.$field, writer, version, [$($null)?]);
                    }
                )*
                if writer.flexible() {
                    // A tagged field that has its default is left out.
                    let present = 0 $(+ $crate::wire::kafka::schema::count_tagged!([$($tag)?]
                        self.$field != $crate::wire::kafka::schema::default_of!($type $(, $default)?)
                            $(&& ($in).contains(&version))?
                    ))*;
                    writer.unsigned_varint(present);
                    $(
                        $crate::wire::kafka::schema::if_tagged!([$($tag)?] TAG {
                            if self.$field != $crate::wire::kafka::schema::default_of!($type $(, $default)?)
                                $(&& ($in).contains(&version))?
                            {
                                writer.tagged_field(TAG, |writer| {
                                    $crate::wire::kafka::field::Field::write(&self.$field, writer, version);
                                });
                            }
                        });
                    )*
                }
            }
        }

        $(
            impl $crate::wire::kafka::Message for $name {
                const NAME: &'static str = stringify!($name);
                const VERSIONS: std::ops::RangeInclusive<i16> = $versions..=$versions_to;
                const FLEXIBLE_FROM: Option<i16> = $crate::wire::kafka::schema::first_of!($(Some($flexible),)? None);
            }
        )?

        #[cfg(feature = "sample")]
        impl $crate::wire::kafka::sample::Sample for $name {
            #[allow(unused_variables, reason = "requests without any field")]
            fn sample(dice: &mut $crate::wire::kafka::sample::Dice, version: i16) -> Self {
                #[allow(unused_mut, reason = "requests without any field")]
                let mut value = Self::default();
                $(
                    if true $(&& ($in).contains(&version))? {
                        value.$field = $crate::wire::kafka::schema::sample!(dice, version, [$($null)?]);
                    }
                )*
                value
            }
        }
    )+};
}

macro_rules! default_of {
    ($type:ty) => {
        <$type>::default()
    };
    ($type:ty, $default:expr) => {
        $default
    };
}

macro_rules! first_of {
    ($first:expr $(, $rest:expr)*) => {
        $first
    };
}

macro_rules! is_plain {
    () => {
        true
    };
    ($tag:literal) => {
        false
    };
}

macro_rules! if_tagged {
    ([] $name:ident $code:block) => {};
    ([$tag:literal] $name:ident $code:block) => {{
        const $name: u32 = $tag;
        $code
    }};
}

macro_rules! count_tagged {
    ([] $present:expr) => {
        0
    };
    ([$tag:literal] $present:expr) => {
        u32::from($present)
    };
}

macro_rules! read {
    ($reader:ident, $version:ident, []) => {
        $crate::wire::kafka::field::Field::read($reader, $version)
    };
    ($reader:ident, $version:ident, [$null:expr]) => {
        if ($null).contains(&$version) {
            $crate::wire::kafka::field::Field::read($reader, $version)
        } else {
            $crate::wire::kafka::field::read_present($reader, $version)
        }
    };
}

macro_rules! write {
    ($value:expr, $writer:ident, $version:ident, []) => {
        $crate::wire::kafka::field::Field::write(&$value, $writer, $version)
    };
    ($value:expr, $writer:ident, $version:ident, [$null:expr]) => {
        if ($null).contains(&$version) {
            $crate::wire::kafka::field::Field::write(&$value, $writer, $version)
        } else {
            $crate::wire::kafka::field::write_present(&$value, $writer, $version)
        }
    };
}

#[cfg(feature = "sample")]
macro_rules! sample {
    ($dice:ident, $version:ident, []) => {
        $crate::wire::kafka::sample::Sample::sample($dice, $version)
    };
    ($dice:ident, $version:ident, [$null:expr]) => {
        if ($null).contains(&$version) {
            $crate::wire::kafka::sample::Sample::sample($dice, $version)
        } else {
            Some($crate::wire::kafka::sample::Sample::sample($dice, $version))
        }
    };
}

#[cfg(feature = "sample")]
pub(crate) use sample;
pub(crate) use {count_tagged, default_of, first_of, if_tagged, is_plain, read, schema, write};
