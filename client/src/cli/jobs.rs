//! `coordctl queue`: elements in, and out to a command.

use std::io::Write;
use std::time::Duration;

use anyhow::{Context, Result};

use super::flags::{QueueCommand, Take};
use super::run::{NOT_HELD, Turn, Wrapped, checked, our_turn, session_is_over, some};
use super::znodes::data_of;
use crate::zk::Coordinator;

pub(super) async fn queue(zk: &Coordinator, command: &QueueCommand) -> Result<u8> {
    match command {
        QueueCommand::Put { path, data, priority } => {
            let element = data_of(data).await?;
            zk.locking_queue(checked(path)?).put(&element, *priority).await.with_context(|| path.clone())?;
            Ok(0)
        }
        QueueCommand::Take(take) => take_one(zk, take).await,
    }
}

async fn take_one(zk: &Coordinator, Take { path, wait, command }: &Take) -> Result<u8> {
    let named = || path.clone();
    let queue = zk.locking_queue(checked(path)?);
    let turn = match *wait {
        Some(Duration::ZERO) => our_turn(None, queue.try_take()).await,
        wait => our_turn(wait, some(queue.take())).await,
    };
    let held = match turn.with_context(named)? {
        Turn::Ours(held) => held,
        Turn::TooLate => {
            eprintln!("coordctl: there is nothing in {path}");
            return Ok(NOT_HELD);
        }
        Turn::Ended(code) => return Ok(code),
    };
    if command.is_empty() {
        let mut out = std::io::stdout().lock();
        out.write_all(held.data())?;
        writeln!(out)?;
        out.flush()?;
    } else {
        let mut child = Wrapped::new(command);
        child.input = Some(held.data().clone());
        let code = child.run(session_is_over(zk), "the session is over, and the element free").await?;
        if code != 0 {
            return Ok(code);
        }
    }
    held.consume().await.with_context(named)?;
    Ok(0)
}
