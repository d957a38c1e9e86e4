//! DECODE and REPLY: sockets, and what is spoken on them.

pub mod tls;
