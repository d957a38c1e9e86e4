//! zkCli's commands that need a session.

use std::collections::BTreeSet;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::print;
use super::syntax::Parsed;
use super::{Failure, Shell, limits};
use crate::cli::access;
use crate::cli::putting::AT_ONCE;
use crate::cli::walk::paths_below;
use crate::cli::znodes::delete_from_below;
use crate::zk::{Acl, Coordinator, CreateMode, Data, Error, Reconfig, Stat, WatcherType};

pub(super) async fn execute(shell: &Shell, zk: &Coordinator, parsed: &Parsed) -> Result<(), Failure> {
    match parsed.name {
        "ls" => ls(shell, zk, parsed).await,
        "get" => get(shell, zk, parsed).await,
        "stat" => stat(shell, zk, parsed).await,
        "create" => create(zk, parsed).await,
        "set" => set(zk, parsed).await,
        "delete" => {
            let version: Option<i32> = parsed.number("v")?;
            zk.delete(parsed.path(), version).await.map_err(Failure::of(parsed.path()))
        }
        "deleteall" => {
            parsed.number::<u32>("b")?;
            let paths = subtree(zk, parsed.path()).await?;
            // The root itself, and what the servers keep below it, stays.
            let paths = paths.into_iter().filter(|path| path != "/" && !path.starts_with("/zookeeper"));
            delete_from_below(zk, paths.collect()).await.map_err(whole(parsed.path()))
        }
        "getAcl" => {
            let (list, stat) = zk.get_acl(parsed.path()).await.map_err(Failure::of(parsed.path()))?;
            list.iter().for_each(|entry| println!("{}", print::acl(entry)));
            print_stat_if(parsed.has("s"), &stat);
            Ok(())
        }
        "setAcl" => set_acl(zk, parsed).await,
        "addauth" => {
            let token = parsed.word(1).unwrap_or_default();
            zk.add_auth(parsed.path(), token.as_bytes()).await.map_err(Failure::of(parsed.path()))
        }
        "whoami" => {
            let identities = zk.who_am_i().await.map_err(Failure::of(""))?;
            println!("Auth scheme: User");
            identities.iter().for_each(|identity| println!("{}: {}", identity.scheme, identity.id));
            Ok(())
        }
        "sync" => {
            zk.sync(parsed.path()).await.map_err(Failure::of(parsed.path()))?;
            println!("Sync is OK");
            Ok(())
        }
        "getEphemerals" => {
            let paths = zk.ephemerals(parsed.path()).await.map_err(Failure::of(parsed.path()))?;
            println!("{}", print::list(&paths));
            Ok(())
        }
        "getAllChildrenNumber" => {
            let count = zk.all_children_number(parsed.path()).await.map_err(Failure::of(parsed.path()))?;
            println!("{count}");
            Ok(())
        }
        "addWatch" => add_watch(shell, zk, parsed).await,
        "removewatches" => remove_watches(zk, parsed).await,
        "setquota" => limits::set(zk, parsed).await,
        "listquota" => limits::list(zk, parsed.path()).await,
        "delquota" => limits::delete(zk, parsed).await,
        "config" => config(zk, parsed).await,
        "reconfig" => reconfig(zk, parsed).await,
        other => unreachable!("{other} needs no session"),
    }
}

/// What went wrong somewhere in a subtree.
fn whole(path: &str) -> impl Fn(anyhow::Error) -> Failure + '_ {
    move |error| match error.downcast_ref::<Error>() {
        Some(Error::NoNode) => Failure::new(print::failure(&Error::NoNode, path)),
        _ => Failure::new(format!("{error:#}")),
    }
}

/// A znode and all below it, in the order in which zkCli visits them.
async fn subtree(zk: &Coordinator, path: &str) -> Result<Vec<String>, Failure> {
    let mut paths = paths_below(zk, path).await.map_err(whole(path))?;
    // A parent before its children, these in order, each with all that is below it: a slash comes first.
    paths.sort_by(|a, b| a.split('/').cmp(b.split('/')));
    Ok(paths)
}

fn print_stat_if(wanted: bool, stat: &Stat) {
    if wanted {
        println!("{}", print::stat(stat));
    }
}

/// `ls /path watch`, as it was in old times.
fn is_watched(parsed: &Parsed) -> bool {
    let old = parsed.word(1).is_some();
    if old {
        let name = parsed.name;
        eprintln!("'{name} path [watch]' has been deprecated. Please use '{name} [-w] path' instead.");
    }
    old || parsed.has("w")
}

async fn ls(shell: &Shell, zk: &Coordinator, parsed: &Parsed) -> Result<(), Failure> {
    let path = parsed.path();
    if parsed.has("R") {
        for path in subtree(zk, path).await? {
            println!("{path}");
        }
        return Ok(());
    }
    let (mut names, stat) = if is_watched(parsed) {
        let (names, stat, watch) = zk.children_and_watch(path).await.map_err(Failure::of(path))?;
        shell.follow(watch, path, "Child");
        (names, stat)
    } else {
        zk.children(path).await.map_err(Failure::of(path))?
    };
    names.sort();
    println!("{}", print::list(&names));
    print_stat_if(parsed.has("s"), &stat);
    Ok(())
}

async fn get(shell: &Shell, zk: &Coordinator, parsed: &Parsed) -> Result<(), Failure> {
    let path = parsed.path();
    let (data, stat) = if is_watched(parsed) {
        let (data, stat, watch) = zk.get_and_watch(path).await.map_err(Failure::of(path))?;
        shell.follow(watch, path, "Data");
        (data, stat)
    } else {
        zk.get(path).await.map_err(Failure::of(path))?
    };
    // As it stands there, whatever the output is made of.
    let data = if data.is_null() { Data::from(&b"null"[..]) } else { data };
    if parsed.has("x") {
        println!("{}", print::hexdump(&data));
    } else if parsed.has("b") {
        println!("{}", BASE64_STANDARD.encode(&data));
    } else {
        println!("{}", String::from_utf8_lossy(&data));
    }
    print_stat_if(parsed.has("s"), &stat);
    Ok(())
}

async fn stat(shell: &Shell, zk: &Coordinator, parsed: &Parsed) -> Result<(), Failure> {
    let path = parsed.path();
    let stat = if is_watched(parsed) {
        let (stat, watch) = zk.exists_and_watch(path).await.map_err(Failure::of(path))?;
        shell.follow(watch, path, "Data");
        stat
    } else {
        zk.exists(path).await.map_err(Failure::of(path))?
    };
    print_stat_if(true, &stat.ok_or(Error::NoNode).map_err(Failure::of(path))?);
    Ok(())
}

/// Entries that make no sense are named and left out, as zkCli does.
fn acl(text: &str) -> Vec<Acl<'static>> {
    let mut list = Vec::new();
    for entry in text.split(',') {
        match access::parse(entry) {
            Ok(entry) => list.extend(entry),
            Err(_) => eprintln!("{entry} does not have the form scheme:id:perm"),
        }
    }
    list
}

async fn create(zk: &Coordinator, parsed: &Parsed) -> Result<(), Failure> {
    let path = parsed.path();
    let ttl: Option<u64> = match parsed.value("t") {
        Some(_) => Some(parsed.number("t")?.ok_or_else(|| Failure::new("-t argument must be a long value"))?),
        None => None,
    };
    let ttl = ttl.map(Duration::from_millis);
    let refuse = |message: &str| Err(Failure::new(message));
    let mode = match (parsed.has("e"), parsed.has("s"), parsed.has("c"), ttl) {
        (true, _, true, _) | (_, true, true, _) => {
            return refuse(
                "-c cannot be combined with -s or -e. Containers cannot be ephemeral or sequential.",
            );
        }
        (true, _, _, Some(_)) => return refuse("TTLs cannot be used with Ephemeral znodes"),
        (_, _, true, Some(_)) => return refuse("TTLs cannot be used with Container znodes"),
        (true, true, ..) => CreateMode::EphemeralSequential,
        (true, false, ..) => CreateMode::Ephemeral,
        (_, true, _, Some(ttl)) => CreateMode::TtlSequential(ttl),
        (_, true, _, None) => CreateMode::PersistentSequential,
        (_, _, true, _) => CreateMode::Container,
        (_, _, _, Some(ttl)) => CreateMode::Ttl(ttl),
        _ => CreateMode::Persistent,
    };
    let acl = parsed.word(2).map_or_else(|| vec![Acl::open()], acl);
    let data = parsed.word(1).map_or(Data::NULL, |text| text.as_bytes().into());
    let created = zk.create(path, &data, mode.acl(acl)).await.map_err(Failure::of(path))?;
    eprintln!("Created {}", created.path);
    Ok(())
}

async fn set(zk: &Coordinator, parsed: &Parsed) -> Result<(), Failure> {
    let (path, text) = (parsed.path(), parsed.word(1).unwrap_or_default());
    let data = if parsed.has("b") {
        BASE64_STANDARD.decode(text).map_err(|error| Failure::new(error.to_string()))?
    } else {
        text.as_bytes().to_vec()
    };
    let version: Option<i32> = parsed.number("v")?;
    let stat = zk.set(path, &data, version).await.map_err(Failure::of(path))?;
    print_stat_if(parsed.has("s"), &stat);
    Ok(())
}

async fn set_acl(zk: &Coordinator, parsed: &Parsed) -> Result<(), Failure> {
    let (path, list) = (parsed.path(), acl(parsed.word(1).unwrap_or_default()));
    let version: Option<i32> = parsed.number("v")?;
    if parsed.has("R") {
        for batch in subtree(zk, path).await?.chunks(AT_ONCE) {
            let answers: Vec<_> = batch.iter().map(|path| zk.set_acl(path, &list, version)).collect();
            for (path, answer) in batch.iter().zip(answers) {
                if let Err(error) = answer.await {
                    println!("{}", print::failure(&error, path));
                }
            }
        }
        return Ok(());
    }
    let stat = zk.set_acl(path, &list, version).await.map_err(Failure::of(path))?;
    print_stat_if(parsed.has("s"), &stat);
    Ok(())
}

async fn add_watch(shell: &Shell, zk: &Coordinator, parsed: &Parsed) -> Result<(), Failure> {
    let path = parsed.path();
    let watch = match parsed.value("m").map(str::to_uppercase).as_deref() {
        None | Some("PERSISTENT_RECURSIVE") => zk.watch_recursive(path),
        Some("PERSISTENT") => zk.watch(path),
        Some(other) => return Err(Failure::new(format!("{other} is no mode of addWatch"))),
    };
    shell.follow(watch.await.map_err(Failure::of(path))?, path, "Persistent");
    Ok(())
}

async fn remove_watches(zk: &Coordinator, parsed: &Parsed) -> Result<(), Failure> {
    let kinds = [
        ("c", WatcherType::Children),
        ("d", WatcherType::Data),
        ("p", WatcherType::Persistent),
        ("r", WatcherType::PersistentRecursive),
    ];
    let kind =
        kinds.into_iter().find(|(option, _)| parsed.has(option)).map_or(WatcherType::Any, |(_, kind)| kind);
    zk.remove_watches(parsed.path(), kind).await.map_err(Failure::of(parsed.path()))
}

async fn config(zk: &Coordinator, parsed: &Parsed) -> Result<(), Failure> {
    let (data, stat) = zk.config().await.map_err(Failure::of("/zookeeper/config"))?;
    let text = String::from_utf8_lossy(&data);
    if parsed.has("c") {
        println!("{}", connect_string(&text));
    } else {
        println!("{text}");
    }
    print_stat_if(parsed.has("s"), &stat);
    Ok(())
}

/// Where clients connect to, by a configuration's words: addresses behind the last semicolon, and the version.
fn connect_string(config: &str) -> String {
    let mut addresses = BTreeSet::new();
    let mut version = "";
    for line in config.lines() {
        if let Some(found) = line.strip_prefix("version=") {
            version = found;
        } else if let Some((_, client)) = line.rsplit_once(';') {
            // `server.1=host:2888:3888:participant;port` has the address of the other ports.
            let host =
                line.split_once('=').and_then(|(_, rest)| rest.split_once(':')).map_or("", |(host, _)| host);
            addresses.insert(if client.contains(':') {
                client.to_owned()
            } else {
                format!("{host}:{client}")
            });
        }
    }
    format!("{version} {}", addresses.into_iter().collect::<Vec<_>>().join(","))
}

async fn reconfig(zk: &Coordinator, parsed: &Parsed) -> Result<(), Failure> {
    let list = |option: &str| -> Vec<String> {
        let text = parsed.value(option).unwrap_or_default().to_lowercase();
        text.split(',').filter(|entry| !entry.is_empty()).map(str::to_owned).collect()
    };
    let (whole, parts) =
        (parsed.has("members") || parsed.has("file"), parsed.has("add") || parsed.has("remove"));
    let mut change = match (whole, parts) {
        (false, false) => return Err(Failure::new("reconfig needs -file, -members, -add or -remove")),
        (true, true) => {
            return Err(Failure::new(
                "Can't use -file or -members together with -add or -remove (mixing incremental and \
                 non-incremental modes is not allowed)",
            ));
        }
        (false, true) => Reconfig::change(list("add"), list("remove")),
        (true, false) => match parsed.value("file") {
            None => Reconfig::replace(list("members")),
            Some(file) => {
                let text = std::fs::read_to_string(file)
                    .map_err(|error| Failure::new(format!("Error processing {file}: {error}")))?;
                let members = text.lines().map(str::trim).filter(|line| line.starts_with("server."));
                Reconfig::replace(members.map(str::to_owned).collect::<Vec<_>>())
            }
        },
    };
    if let Some(version) = parsed.value("v") {
        let version = i64::from_str_radix(version, 16)
            .map_err(|_| Failure::new("-v must be followed by a long (configuration version)"))?;
        change = change.if_version(version);
    }
    let (data, stat) = zk.reconfig(change).await.map_err(Failure::of("/zookeeper/config"))?;
    println!("Committed new configuration:\n{}", String::from_utf8_lossy(&data));
    print_stat_if(parsed.has("s"), &stat);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_tells_where_to_connect() {
        let config = "server.1=a:2888:3888:participant;0.0.0.0:2181\nserver.2=b:2888:3888;2182\nversion=1f";
        assert_eq!(connect_string(config), "1f 0.0.0.0:2181,b:2182");
    }
}
