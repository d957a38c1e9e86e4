//! zkCli's commands about quotas.

use super::syntax::Parsed;
use super::{Failure, print};
use crate::cli::quota::{self, Limits, Numbers};
use crate::zk::{Coordinator, Error};

/// Options, and which limit each is about.
fn limits(value: impl Fn(&str) -> Option<i64>) -> Limits {
    Limits { count: value("n"), bytes: value("b"), hard_count: value("N"), hard_bytes: value("B") }
}

pub(super) async fn set(zk: &Coordinator, parsed: &Parsed) -> Result<(), Failure> {
    let named: Vec<&str> = ["n", "b", "N", "B"].into_iter().filter(|option| parsed.has(option)).collect();
    let [option] = named[..] else {
        return Err(Failure::new(
            "org.apache.commons.cli.MissingOptionException: Missing required option: [-n num soft quota, -b bytes soft quota, -N num hard quota, -B bytes hard quota]",
        ));
    };
    let number: i64 = parsed.number(option)?.unwrap_or(-1);
    let path = parsed.path();
    if path.starts_with("/zookeeper/quota") {
        eprintln!("cannot set a quota under the path: /zookeeper/quota");
    } else if number < 0 || (number == 0 && matches!(option, "n" | "N")) {
        eprintln!(
            "{}",
            match option {
                "n" | "N" => "the num quota must be greater than zero",
                _ => "the bytes quota must be greater than or equal to zero",
            }
        );
    } else {
        if zk.exists(path).await.map_err(Failure::of(path))?.is_none() {
            return Err(Failure::new(format!("{path} does not exist.")));
        }
        quota::set(zk, path, limits(|name| (name == option).then_some(number)))
            .await
            .map_err(|error| Failure::new(format!("{error:#}")))?;
    }
    Ok(())
}

pub(super) async fn list(zk: &Coordinator, path: &str) -> Result<(), Failure> {
    let (limits, stats) = quota::znodes(path);
    eprintln!("absolute path is {limits}");
    match quota::numbers(zk, &limits).await.map_err(Failure::of(path))? {
        None => eprintln!("quota for {path} does not exist."),
        Some(numbers) => {
            let hard = |name: &str| numbers.get(name).copied().unwrap_or(-1);
            println!(
                "Output quota for {path} {}=;byteHardLimit={};countHardLimit={}",
                soft(&numbers),
                hard("byteHardLimit"),
                hard("countHardLimit")
            );
            let stats = quota::numbers(zk, &stats).await.map_err(Failure::of(path))?.unwrap_or_default();
            println!("Output stat for {path} {}", soft(&stats));
        }
    }
    Ok(())
}

fn soft(numbers: &Numbers) -> String {
    let number = |name: &str| numbers.get(name).copied().unwrap_or(-1);
    format!("count={},bytes={}", number("count"), number("bytes"))
}

pub(super) async fn delete(zk: &Coordinator, parsed: &Parsed) -> Result<(), Failure> {
    let path = parsed.path();
    let (znode, _) = quota::znodes(path);
    if quota::numbers(zk, &znode).await.map_err(Failure::of(path))?.is_none() {
        println!("Quota does not exist for {path}");
        return Ok(());
    }
    let given = limits(|name| parsed.has(name).then_some(-1));
    let outcome =
        if given.is_empty() { quota::remove(zk, path).await } else { quota::set(zk, path, given).await };
    outcome.map_err(|error| match error.downcast_ref::<Error>() {
        Some(error) => Failure::new(print::failure(error, path)),
        None => Failure::new(format!("{error:#}")),
    })
}
