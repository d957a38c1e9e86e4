//! The coordinator server.

use coordinator::config::Sources;

fn main() -> anyhow::Result<()> {
    let mut flags = Vec::new();
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let name = arg.trim_start_matches("--").to_owned();
        flags.push((name, args.next().unwrap_or_default()));
    }
    let loaded = Sources::of_process(None, flags).load()?;
    coordinator::logging::start(&loaded.config.log).map_err(anyhow::Error::msg)?;
    coordinator::server::run(loaded.config)
}
