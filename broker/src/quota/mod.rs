//! Who is too fast, and how long must they wait?
//!
//! [`Quotas`] knows the limits that were set for users, client ids and both, chooses the one that holds for a client, and
//! measures what the client does. The limits of addresses are about connections: [`Connections`].

mod connections;
mod entity;
mod limits;
mod rate;
mod tokens;

pub use connections::{Admission, Connections};
pub use entity::{BadEntity, Entity, Name};
pub use limits::{Kind, Quotas, Who};
pub use rate::Windows;

/// Nobody waits longer, however small the limit: it may be raised meanwhile.
const WAIT_MS_MAX: u64 = 60 * 60 * 1000;

/// A wait in whole milliseconds.
fn wait_ms(ms: f64) -> u64 {
    // Also where a limit of zero makes it infinite.
    (ms.round().max(0.0) as u64).min(WAIT_MS_MAX)
}
