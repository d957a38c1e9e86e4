//! How each type of field is written on the wire.

use bytes::Bytes;

use super::error_code::ErrorCode;
use super::reader::{DecodeError, Problem, Reader};
use super::records::Records;
use super::text::Str;
use super::uuid::Uuid;
use super::writer::Writer;

/// A type that a message's field can have. Structs pass the version on to their own fields.
pub trait Field: Sized {
    /// The fewest bytes a value can take, whatever the version; never zero.
    const BYTES_MIN: usize = 1;

    fn read(reader: &mut Reader, version: i16) -> Result<Self, DecodeError>;
    fn write(&self, writer: &mut Writer, version: i16);
}

/// A type that has a null on the wire; fields that may be null are `Option`s of it.
pub trait Nullable: Sized {
    fn read_nullable(reader: &mut Reader, version: i16) -> Result<Option<Self>, DecodeError>;
    fn write_nullable(value: Option<&Self>, writer: &mut Writer, version: i16);
}

macro_rules! numbers {
    ($($number:ty)+) => {$(
        impl Field for $number {
            const BYTES_MIN: usize = size_of::<$number>();

            fn read(reader: &mut Reader, _: i16) -> Result<Self, DecodeError> {
                Ok(<$number>::from_be_bytes(reader.array()?))
            }

            fn write(&self, writer: &mut Writer, _: i16) {
                writer.raw(&self.to_be_bytes());
            }
        }
    )+};
}

numbers! { i8 i16 i32 i64 f64 }

impl Field for bool {
    fn read(reader: &mut Reader, _: i16) -> Result<Self, DecodeError> {
        Ok(reader.array()? != [0])
    }

    fn write(&self, writer: &mut Writer, _: i16) {
        writer.raw(&[u8::from(*self)]);
    }
}

impl Field for ErrorCode {
    const BYTES_MIN: usize = 2;

    fn read(reader: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        i16::read(reader, version).map(ErrorCode)
    }

    fn write(&self, writer: &mut Writer, _version: i16) {
        writer.error_code(*self);
    }
}

impl Field for Uuid {
    const BYTES_MIN: usize = 16;

    fn read(reader: &mut Reader, _: i16) -> Result<Self, DecodeError> {
        Ok(Uuid(reader.array()?))
    }

    fn write(&self, writer: &mut Writer, _: i16) {
        writer.raw(&self.0);
    }
}

impl Nullable for Str {
    fn read_nullable(reader: &mut Reader, _: i16) -> Result<Option<Self>, DecodeError> {
        Ok(reader.string()?)
    }

    fn write_nullable(value: Option<&Self>, writer: &mut Writer, _: i16) {
        writer.string(value.map(Str::as_bytes));
    }
}

impl Nullable for Bytes {
    fn read_nullable(reader: &mut Reader, _: i16) -> Result<Option<Self>, DecodeError> {
        Ok(reader.bytes()?)
    }

    fn write_nullable(value: Option<&Self>, writer: &mut Writer, _: i16) {
        writer.bytes(value.map(|bytes| &bytes[..]));
    }
}

impl Nullable for Records {
    fn read_nullable(reader: &mut Reader, _: i16) -> Result<Option<Self>, DecodeError> {
        Ok(reader.bytes()?.map(Records::Bytes))
    }

    fn write_nullable(value: Option<&Self>, writer: &mut Writer, _: i16) {
        writer.records(value);
    }
}

impl<T: Field> Nullable for Vec<T> {
    fn read_nullable(reader: &mut Reader, version: i16) -> Result<Option<Self>, DecodeError> {
        let Some((count, mut elements)) = reader.vector(T::BYTES_MIN)? else { return Ok(None) };
        for _ in 0..count {
            elements.push(T::read(reader, version)?);
        }
        Ok(Some(elements))
    }

    fn write_nullable(value: Option<&Self>, writer: &mut Writer, version: i16) {
        writer.count(value.map(Vec::len));
        for element in value.into_iter().flatten() {
            element.write(writer, version);
        }
    }
}

impl<T: Nullable> Field for Option<T> {
    fn read(reader: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        T::read_nullable(reader, version)
    }

    fn write(&self, writer: &mut Writer, version: i16) {
        T::write_nullable(self.as_ref(), writer, version);
    }
}

macro_rules! never_null {
    ($($type:ty $(, $t:ident)?;)+) => {$(
        impl$(<$t: Field>)? Field for $type {
            fn read(reader: &mut Reader, version: i16) -> Result<Self, DecodeError> {
                Ok(Self::read_nullable(reader, version)?.ok_or(Problem::UnexpectedNull)?)
            }

            fn write(&self, writer: &mut Writer, version: i16) {
                Self::write_nullable(Some(self), writer, version);
            }
        }
    )+};
}

never_null! { Str; Bytes; Records; Vec<T>, T; }

/// An optional field in a version that does not let it be null yet.
pub(crate) fn read_present<T: Nullable>(reader: &mut Reader, version: i16) -> Result<Option<T>, DecodeError> {
    match T::read_nullable(reader, version)? {
        None => Err(Problem::UnexpectedNull.into()),
        some => Ok(some),
    }
}

/// Null is written as empty where a version has no null.
pub(crate) fn write_present<T: Nullable + Default>(value: &Option<T>, writer: &mut Writer, version: i16) {
    match value {
        None => T::write_nullable(Some(&T::default()), writer, version),
        some => T::write_nullable(some.as_ref(), writer, version),
    }
}
