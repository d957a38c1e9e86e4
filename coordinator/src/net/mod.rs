//! DECODE and REPLY: sockets, and what is spoken on them.

pub mod admin;
pub mod connection;
pub mod four_letter;
pub mod listener;
pub mod tls;

pub mod peers {
    #[derive(Debug)]
    pub struct Peers;
    impl Peers {
        pub fn send(&self, _to: crate::zab::MemberId, _frame: bytes::Bytes) -> bool {
            false
        }
    }
}
