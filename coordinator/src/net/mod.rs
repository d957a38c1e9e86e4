//! DECODE and REPLY: sockets, and what is spoken on them.

pub mod four_letter;
pub mod tls;
