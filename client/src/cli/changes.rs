//! `coordctl watch`: changes as they happen.

use anyhow::{Result, bail};
use serde_json::Value;

use super::flags::Format;
use super::output::print_line;
use crate::zk::{Coordinator, EventType, Notice};

pub(super) async fn watch(zk: &Coordinator, path: &str, recursive: bool, format: Format) -> Result<()> {
    let mut watch = if recursive { zk.watch_recursive(path).await? } else { zk.watch(path).await? };
    let columns = &["event", "path", "zxid"];
    loop {
        let Some(notice) = watch.next().await else { return Ok(()) };
        let (what, path, zxid) = match notice {
            Notice::Changed(event) => {
                let what = match event.kind {
                    EventType::NodeCreated => "created",
                    EventType::NodeDeleted => "deleted",
                    EventType::NodeDataChanged => "changed",
                    EventType::NodeChildrenChanged => "children",
                };
                let zxid = event.zxid.map_or(Value::Null, |zxid| zxid.to_string().into());
                (what, event.path.into(), zxid)
            }
            Notice::Suspended => ("suspended", Value::Null, Value::Null),
            Notice::Resumed => ("resumed", Value::Null, Value::Null),
            Notice::Lagged(count) => ("lagged", format!("{count} events were dropped").into(), Value::Null),
            Notice::Removed | Notice::Closed => return Ok(()),
            Notice::Expired => bail!("the session has expired"),
        };
        print_line(format, columns, &[what.into(), path, zxid])?;
    }
}
