//! DECODE and REPLY: sockets, and what is spoken on them.

pub mod admin;
pub mod connection;
pub mod four_letter;
pub mod listener;
pub mod peers;
pub mod tls;
