//! What operations take and give: paths and data.

use std::fmt;
use std::ops::Deref;

use bytes::Bytes;

use crate::wire::zk::path::ZnodePath;

/// What a znode holds: bytes, or null, which servers tell from no bytes.
///
/// It can be used like the bytes; null looks like none of them.
///
/// ```
/// use client::zk::Data;
///
/// let data = Data::from(b"hello".as_slice());
/// assert!(data.starts_with(b"he") && !data.is_null());
/// assert!(Data::NULL.is_empty() && Data::NULL != Data::from(b"".as_slice()));
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Data(Option<Bytes>);

impl Data {
    /// Null, as Java's client writes it when it is given no array.
    pub const NULL: Data = Data(None);

    /// Whether it is null.
    pub fn is_null(&self) -> bool {
        self.0.is_none()
    }

    /// The bytes, without a copy; none of null.
    pub fn into_bytes(self) -> Bytes {
        self.0.unwrap_or_default()
    }

    /// A field of a record that lies in `frame`.
    pub(crate) fn within(frame: &Bytes, field: Option<&[u8]>) -> Data {
        Data(field.map(|bytes| frame.slice_ref(bytes)))
    }
}

impl Deref for Data {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0.as_deref().unwrap_or_default()
    }
}

impl AsRef<[u8]> for Data {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl From<Bytes> for Data {
    fn from(bytes: Bytes) -> Data {
        Data(Some(bytes))
    }
}

impl From<Vec<u8>> for Data {
    fn from(bytes: Vec<u8>) -> Data {
        Bytes::from(bytes).into()
    }
}

impl From<&[u8]> for Data {
    fn from(bytes: &[u8]) -> Data {
        Bytes::copy_from_slice(bytes).into()
    }
}

impl fmt::Debug for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(bytes) => bytes.fmt(f),
            None => f.write_str("null"),
        }
    }
}

mod sealed {
    pub trait Sealed {}
}

/// What operations take as data: bytes, or [`Data`], which may be null.
pub trait AsData: sealed::Sealed {
    /// The bytes, or null.
    #[doc(hidden)]
    fn field(&self) -> Option<&[u8]>;
}

macro_rules! bytes_are_data {
    ($($kind:ty $(, $size:ident)?;)*) => {$(
        impl $(<const $size: usize>)? sealed::Sealed for $kind {}
        impl $(<const $size: usize>)? AsData for $kind {
            fn field(&self) -> Option<&[u8]> {
                Some(self)
            }
        }
    )*};
}

bytes_are_data! {
    [u8];
    [u8; N], N;
    Vec<u8>;
    Bytes;
}

impl sealed::Sealed for Data {}
impl AsData for Data {
    fn field(&self) -> Option<&[u8]> {
        self.0.as_deref()
    }
}

/// What operations take as a path: text, which is checked at every call, or a [`ZnodePath`], which has been.
pub trait AsPath: sealed::Sealed {
    /// The path, and whether it was checked.
    #[doc(hidden)]
    fn text(&self) -> (&str, bool);
}

impl sealed::Sealed for str {}
impl AsPath for str {
    fn text(&self) -> (&str, bool) {
        (self, false)
    }
}

impl sealed::Sealed for String {}
impl AsPath for String {
    fn text(&self) -> (&str, bool) {
        (self, false)
    }
}

impl sealed::Sealed for ZnodePath {}
impl AsPath for ZnodePath {
    fn text(&self) -> (&str, bool) {
        (self.as_str(), true)
    }
}

impl<T: sealed::Sealed + ?Sized> sealed::Sealed for &T {}
impl<T: AsData + ?Sized> AsData for &T {
    fn field(&self) -> Option<&[u8]> {
        T::field(self)
    }
}
impl<T: AsPath + ?Sized> AsPath for &T {
    fn text(&self) -> (&str, bool) {
        T::text(self)
    }
}
