//! Strings that are slices of the frame they came in.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::num::NonZeroU32;
use std::ops::Deref;
use std::sync::Arc;

use bytes::Bytes;

/// Text in shared bytes: cloning copies no text.
///
/// Lists of short names are what makes a message larger in memory than on the wire, so this is half the size of `Bytes`,
/// and an `Option` of it is no larger.
///
/// Invariant: the bytes it stands for lie within the shared ones and are UTF-8; every constructor has checked. A decoded
/// `Str` keeps its whole frame in memory, so what lives longer than the request is kept as a `String`, or as a `Str` made
/// from one.
#[derive(Clone)]
pub struct Str {
    /// `None` for the empty text.
    shared: Option<Arc<Bytes>>,
    start: u32,
    /// One more than there are bytes.
    length_and_one: NonZeroU32,
}

const _: () = assert!(size_of::<Option<Str>>() == 16);

impl Str {
    /// The text at that place, if it is UTF-8. Longer texts than `u32` can say are not made.
    pub(crate) fn slice(shared: &Arc<Bytes>, start: usize, length: usize) -> Option<Str> {
        std::str::from_utf8(shared.get(start..start.checked_add(length)?)?).ok()?;
        if length == 0 {
            return Some(Str::default());
        }
        Some(Str {
            shared: Some(Arc::clone(shared)),
            start: u32::try_from(start).ok()?,
            length_and_one: NonZeroU32::new(u32::try_from(length).ok()?.checked_add(1)?)?,
        })
    }

    /// Without unsafe code this is a second look at bytes already checked; names are short.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).expect("checked when it was made")
    }

    pub fn as_bytes(&self) -> &[u8] {
        match &self.shared {
            None => &[],
            Some(shared) => {
                let start = self.start as usize;
                &shared[start..start + (self.length_and_one.get() - 1) as usize]
            }
        }
    }
}

impl Default for Str {
    fn default() -> Str {
        Str { shared: None, start: 0, length_and_one: NonZeroU32::MIN }
    }
}

impl PartialEq for Str {
    fn eq(&self, other: &Str) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Str {}

impl PartialOrd for Str {
    fn partial_cmp(&self, other: &Str) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Str {
    fn cmp(&self, other: &Str) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl Deref for Str {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for Str {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

/// UTF-8 sorts as its bytes do, so maps keyed by `Str` can be asked with a `&str`.
impl Borrow<str> for Str {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl Hash for Str {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl From<&str> for Str {
    fn from(text: &str) -> Str {
        text.to_owned().into()
    }
}

/// # Panics
/// If the text has 4 GiB or more.
impl From<String> for Str {
    fn from(text: String) -> Str {
        let length = text.len();
        Str::slice(&Arc::new(Bytes::from(text)), 0, length).expect("a text shorter than 4 GiB")
    }
}

impl PartialEq<str> for Str {
    fn eq(&self, other: &str) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl PartialEq<&str> for Str {
    fn eq(&self, other: &&str) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl fmt::Debug for Str {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Str {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.as_str(), f)
    }
}
