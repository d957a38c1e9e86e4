//! The rules that znode paths obey.

use std::fmt;
use std::str::FromStr;

/// Why a path is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    #[error("a path must start with /")]
    /// It does not start with `/`.
    NotAbsolute,
    #[error("a path must not end with /")]
    /// It ends with `/`.
    TrailingSlash,
    #[error("a path must not have an empty segment")]
    /// Two `/` follow each other.
    EmptySegment,
    #[error("a path must not have a segment that is . or ..")]
    /// A segment is `.` or `..`.
    RelativeSegment,
    #[error("a path must not contain the character U+{0:04X}")]
    /// A character that no path may contain.
    BadCharacter(u32),
}

/// A path that has been checked.
///
/// ```
/// use client::wire::zk::path::{PathError, ZnodePath};
///
/// let locks: ZnodePath = "/locks".parse()?;
/// assert_eq!(locks.child("ledger")?.as_str(), "/locks/ledger");
/// assert_eq!("/locks/".parse::<ZnodePath>(), Err(PathError::TrailingSlash));
/// # Ok::<(), PathError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ZnodePath(String);

impl ZnodePath {
    /// The path of the root, `/`.
    pub fn root() -> ZnodePath {
        ZnodePath("/".to_owned())
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What comes after the last slash; empty for the root.
    pub fn name(&self) -> &str {
        name(&self.0)
    }

    /// The znode above; the root has none.
    pub fn parent(&self) -> Option<ZnodePath> {
        match parent(&self.0)? {
            _ if self.0 == "/" => None,
            "" => Some(ZnodePath::root()),
            parent => Some(ZnodePath(parent.to_owned())),
        }
    }

    /// A znode below this one. Only what is added is checked; it may have several segments.
    pub fn child(&self, name: &str) -> Result<ZnodePath, PathError> {
        let added = format!("/{name}");
        if name.is_empty() {
            return Err(PathError::EmptySegment);
        }
        check(&added)?;
        Ok(ZnodePath(if self.0 == "/" { added } else { format!("{}{added}", self.0) }))
    }
}

impl TryFrom<String> for ZnodePath {
    type Error = PathError;

    fn try_from(path: String) -> Result<ZnodePath, PathError> {
        check(&path)?;
        Ok(ZnodePath(path))
    }
}

impl TryFrom<&str> for ZnodePath {
    type Error = PathError;

    fn try_from(path: &str) -> Result<ZnodePath, PathError> {
        path.to_owned().try_into()
    }
}

impl FromStr for ZnodePath {
    type Err = PathError;

    fn from_str(path: &str) -> Result<ZnodePath, PathError> {
        path.try_into()
    }
}

impl From<ZnodePath> for String {
    fn from(path: ZnodePath) -> String {
        path.0
    }
}

impl AsRef<str> for ZnodePath {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ZnodePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Checks a full path.
pub fn check(path: &str) -> Result<(), PathError> {
    let Some(rest) = path.strip_prefix('/') else {
        return Err(PathError::NotAbsolute);
    };
    if rest.is_empty() {
        return Ok(());
    }
    if rest.ends_with('/') {
        return Err(PathError::TrailingSlash);
    }
    for segment in rest.split('/') {
        match segment {
            "" => return Err(PathError::EmptySegment),
            "." | ".." => return Err(PathError::RelativeSegment),
            _ => {}
        }
    }
    // Plain printable ASCII, the usual case, needs no look at single characters.
    if path.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
        return Ok(());
    }
    match path.chars().find(|character| !is_allowed(*character)) {
        Some(character) => Err(PathError::BadCharacter(character as u32)),
        None => Ok(()),
    }
}

fn is_allowed(character: char) -> bool {
    // Above U+FFFF a path would need surrogates in Java's strings, and those are refused there.
    !matches!(character as u32, 0..=0x1f | 0x7f..=0x9f | 0xd800..=0xf8ff | 0xfff0..)
}

/// What comes before the last slash: `""` for a child of the root. `None` when there is no slash.
pub fn parent(path: &str) -> Option<&str> {
    path.rfind('/').map(|at| &path[..at])
}

/// What comes after the last slash.
pub fn name(path: &str) -> &str {
    path.rfind('/').map_or(path, |at| &path[at + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules() {
        for good in ["/", "/a", "/a/b", "/a b", "/zażółć", "/..a", "/a."] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for (bad, why) in [
            ("", PathError::NotAbsolute),
            ("a", PathError::NotAbsolute),
            ("/a/", PathError::TrailingSlash),
            ("//", PathError::TrailingSlash),
            ("/a//b", PathError::EmptySegment),
            ("/a/./b", PathError::RelativeSegment),
            ("/..", PathError::RelativeSegment),
            ("/a\0", PathError::BadCharacter(0)),
            ("/a\u{1}", PathError::BadCharacter(1)),
            ("/a\u{7f}", PathError::BadCharacter(0x7f)),
            ("/a\u{f8ff}", PathError::BadCharacter(0xf8ff)),
            ("/a\u{fffd}", PathError::BadCharacter(0xfffd)),
            ("/a\u{1f426}", PathError::BadCharacter(0x1f426)),
        ] {
            assert_eq!(check(bad), Err(why), "{bad:?}");
        }
    }

    #[test]
    fn parent_and_name() {
        assert_eq!((parent("/a"), name("/a")), (Some(""), "a"));
        assert_eq!((parent("/a/b"), name("/a/b")), (Some("/a"), "b"));
        assert_eq!((parent("/"), name("/")), (Some(""), ""));
        assert_eq!((parent("a"), name("a")), (None, "a"));
    }

    #[test]
    fn checked_paths_stay_checked() {
        let root = ZnodePath::root();
        let a = root.child("a").unwrap();
        let c = a.child("b/c").unwrap();
        assert_eq!((a.as_str(), c.as_str()), ("/a", "/a/b/c"));
        assert_eq!(c.parent().and_then(|b| b.parent()), Some(a.clone()));
        assert_eq!((a.parent(), root.parent()), (Some(root.clone()), None));
        for bad in ["", "/", "b/", "..", "b//c", "\0"] {
            assert!(a.child(bad).is_err() && root.child(bad).is_err(), "{bad:?}");
        }
    }
}
