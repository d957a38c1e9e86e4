//! Who may do what: lists as text, and the commands about them.

use std::io::Write;

use anyhow::{Context, Result, bail};

use super::flags::Format;
use super::output::Table;
use super::putting::each;
use super::walk::paths_below;
use crate::zk::{Acl, Coordinator, Identity, perms};

/// Letters of permissions, in the order in which they are written.
const LETTERS: [(char, i32); 5] = [
    ('c', perms::CREATE),
    ('d', perms::DELETE),
    ('r', perms::READ),
    ('w', perms::WRITE),
    ('a', perms::ADMIN),
];

/// Reads `scheme:id:perms,…`. Ids may have colons in them.
pub(super) fn parse(text: &str) -> Result<Vec<Acl<'static>>> {
    text.split(',').map(entry).collect()
}

fn entry(text: &str) -> Result<Acl<'static>> {
    let parts = text.split_once(':').and_then(|(scheme, rest)| Some((scheme, rest.rsplit_once(':')?)));
    let Some((scheme, (id, letters))) = parts else { bail!("{text:?} is not scheme:id:perms") };
    let mut perms = 0;
    for letter in letters.chars() {
        let Some((_, bit)) = LETTERS.iter().find(|(known, _)| *known == letter) else {
            bail!("{letter:?} in {text:?} is no permission; those are c, d, r, w and a");
        };
        perms |= bit;
    }
    Ok(Acl { perms, identity: Identity::new(scheme.to_owned(), id.to_owned()) })
}

/// The same back to text.
pub(super) fn print(list: &[Acl<'_>]) -> String {
    let entry = |acl: &Acl<'_>| format!("{}:{}:{}", acl.identity.scheme, acl.identity.id, letters(acl.perms));
    list.iter().map(entry).collect::<Vec<_>>().join(",")
}

pub(super) fn letters(perms: i32) -> String {
    LETTERS.iter().filter(|(_, bit)| perms & bit != 0).map(|(letter, _)| letter).collect()
}

pub(super) async fn acl(
    zk: &Coordinator,
    path: &str,
    new: Option<&str>,
    recursive: bool,
    format: Format,
) -> Result<()> {
    let Some(new) = new else {
        let (list, _) = zk.get_acl(path).await.with_context(|| path.to_owned())?;
        if format == Format::Table {
            writeln!(std::io::stdout(), "{}", print(&list))?;
            return Ok(());
        }
        let mut table = Table::new(&["scheme", "id", "perms"]);
        for acl in &list {
            let Identity { scheme, id } = &acl.identity;
            table.row([scheme.as_ref().into(), id.as_ref().into(), letters(acl.perms).into()]);
        }
        return Ok(table.print(format)?);
    };
    let new = parse(new)?;
    if !recursive {
        zk.set_acl(path, &new, None).await.with_context(|| path.to_owned())?;
        return Ok(());
    }
    let mut paths = paths_below(zk, path).await?;
    // From below, so that we can still read what we have not come to yet.
    paths.reverse();
    each("acl", &paths, |path| zk.set_acl(path, &new, None)).await
}

pub(super) async fn whoami(zk: &Coordinator, format: Format) -> Result<()> {
    let mut table = Table::new(&["scheme", "id"]);
    for Identity { scheme, id } in zk.who_am_i().await? {
        table.row([scheme.into_owned().into(), id.into_owned().into()]);
    }
    Ok(table.print(format)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_survive_as_text() {
        for text in ["world:anyone:cdrwa", "digest:u:hash=:r,ip:10.0.0.0/8:rw", "ip:::1:r", "sasl:bob:"] {
            assert_eq!(print(&parse(text).unwrap()), text);
        }
        for bad in ["", "world", "world:anyone", "world:anyone:x", "world:anyone:r,"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
