//! The rules that znode paths obey.

/// Why a path is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    #[error("a path must start with /")]
    NotAbsolute,
    #[error("a path must not end with /")]
    TrailingSlash,
    #[error("a path must not have an empty segment")]
    EmptySegment,
    #[error("a path must not have a segment that is . or ..")]
    RelativeSegment,
    #[error("a path must not contain the character U+{0:04X}")]
    BadCharacter(u32),
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
}
