//! Who a client is: pure checks of what it shows. No sockets, clocks or random numbers.

pub mod digest_md5;
pub mod x509_name;
